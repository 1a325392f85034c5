"""Keras 3 on its JAX backend: `keras.applications`, compiled by `jax.jit`, in large pages as ours.

Its networks have weights of their own (random ones) and its preprocessing, and its ResNet-50 strides where the first
version of the paper did, so its logits are not compared; the work is that of the networks of the same name.
"""

import jax
import jax.numpy as jnp
from keras import applications

from experiments.benchmark.draw import draw_images
from experiments.benchmark.rows import Row
from experiments.benchmark.worker import Context, Work

NETWORKS = {
    "mobilenet_v2": (applications.MobileNetV2, applications.mobilenet_v2.preprocess_input),
    "resnet50": (applications.ResNet50, applications.resnet.preprocess_input),
    "vgg16": (applications.VGG16, applications.vgg16.preprocess_input),
}


def make(peer: str, row: Row, context: Context) -> Work:
    """What this peer does for a row."""
    build, preprocess = NETWORKS[row.model]
    top = {"classifier_activation": None} if row.model != "vgg16" or row.size == 224 else {"include_top": False}
    model = build(weights=None, input_shape=(row.size, row.size, 3), **top)
    trained, others = ([variable.value for variable in some] for some in (
        model.trainable_variables, model.non_trainable_variables
    ))  # fmt: skip

    def logits(images: jax.Array, trained: list, others: list) -> jax.Array:
        x = preprocess(images * 255.0, data_format="channels_last")
        return model.stateless_call(trained, others, x, training=False)[0]

    def score(images: jax.Array, trained: list, others: list) -> jax.Array:
        return logits(images, trained, others)[..., 3].sum()

    images = jnp.asarray(draw_images(row.size, row.size, row.count))
    call = jax.jit(logits if row.task == "forward" else jax.grad(score))
    return Work(lambda: jax.block_until_ready(call(images, trained, others)))
