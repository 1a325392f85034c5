"""Writes the reference values of Keras Applications: `python -m tests.golden.make_keras [NAME...]`.

Needs the extra `parity` and runs Keras 3 on its JAX backend. The files hold what those of `make.py` hold, by Keras'
names and in the order of Keras' layers; results are float64 of Keras' own models, rounded to float32.

A model of Keras with its classifier takes images of one shape, so there is one for each shape. VGG's odd size gives a
7x7 map like the native one. Its small image gives a 1x1 map, which the first dense layer here meets 7x7 times: there
the Keras model gets the sum of that layer's 7x7 kernels.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np
from keras import applications

from experiments.benchmark.draw import draw_images, draw_projection, draw_state
from tests.golden.table import FOLDER, relative_error

GRADIENT_SIZE = (49, 57)
SEEDS = 200
State = dict[str, np.ndarray]


@dataclass(frozen=True)
class Reference:
    """A model of Keras Applications, its preprocessing, its last convolutional layer, and the odd size."""

    build: Callable[..., keras.Model]
    preprocess: Callable
    last: str
    odd: tuple[int, int] = (169, 199)


REFERENCES = {
    "vgg16.keras": Reference(applications.VGG16, applications.vgg16.preprocess_input, "block5_conv3", (231, 239)),
    "vgg19.keras": Reference(applications.VGG19, applications.vgg19.preprocess_input, "block5_conv4", (231, 239)),
    "resnet50.keras": Reference(applications.ResNet50, applications.resnet.preprocess_input, "conv5_block3_out"),
    "mobilenet_v2.keras": Reference(applications.MobileNetV2, applications.mobilenet_v2.preprocess_input, "out_relu"),
}


def make(name: str) -> State:
    """The contents of one file."""
    sizes = [(224, 224), REFERENCES[name].odd]
    shapes = state_shapes(name)
    results = compute(name, draw_state(shapes), sizes, "float64")
    rounded = compute(name, draw_state(shapes), sizes, "float32", int(results["gradient_seed"]))
    compared = [key for key in results if key.startswith("logits") or key == "gradient"]
    return {
        "names": np.array(list(shapes)),
        "shapes": np.array([(*shape, 0, 0, 0, 0)[:4] for shape in shapes.values()], np.int32),
        "sizes": np.array(sizes, np.int32),
        **{key: np.asarray(value, np.float32 if np.ndim(value) else None) for key, value in results.items()},
        "torch_error": np.array([relative_error(rounded[key], results[key]) for key in compared]),
        "versions": np.array(f"keras {keras.__version__}, jax {jax.__version__}"),
    }


def state_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """ "LAYER/array" -> shape, in the order of Keras' layers and of the arrays in each."""
    model = build(name, (224, 224), "float32")
    return {f"{layer.name}/{weight.name}": tuple(weight.shape) for layer, weight in weights(model)}


def weights(model: keras.Model):
    """Every layer with each of its weights, in the order of a `.h5` file: those that train first."""
    for layer in model.layers:
        yield from ((layer, weight) for weight in layer.trainable_weights + layer.non_trainable_weights)


@cache
def build(name: str, size: tuple[int, int], dtype: str) -> keras.Model:
    """The model for one shape, with two outputs: the last convolutional map and the logits."""
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    model = REFERENCES[name].build(weights=None, input_shape=(*size, 3), classifier_activation=None)
    return keras.Model(model.input, [model.get_layer(REFERENCES[name].last).output, model.output])


def load(name: str, state: State, size: tuple[int, int], dtype: str) -> tuple[Callable, list]:
    """(function of weights and images -> (map, logits), weights) of the model for `size`; images are RGB in [0, 1]."""
    model = build(name, size, dtype)
    values = {}
    for layer, weight in weights(model):
        value = state[f"{layer.name}/{weight.name}"].astype(dtype)
        if layer.name == "fc1" and weight.name == "kernel" and weight.shape[0] == 512:
            value = value.reshape(49, 512, -1).sum(0)
        values[weight.path] = jax.numpy.asarray(value)
    trainable = [values[weight.path] for weight in model.trainable_variables]
    others = [values[weight.path] for weight in model.non_trainable_variables]

    def call(trainable: list, images: jax.Array) -> list:
        x = REFERENCES[name].preprocess(images * 255.0, data_format="channels_last")
        return model.stateless_call(trainable, others, x, training=False)[0]

    return call, trainable


def compute(
    name: str, state: State, sizes: list[tuple[int, int]], dtype: str, seed: int | None = None
) -> dict[str, np.ndarray]:
    """All results of a network in `dtype`; `seed` is that of the gradient's image, None to find one."""
    results = {}
    for size in sizes:
        call, values = load(name, state, size, dtype)
        maps, logits = jax.jit(call)(values, draw_images(*size).astype(dtype))
        results["logits_{}x{}".format(*size)] = np.asarray(logits)
    results["embed_{}x{}".format(*sizes[-1])] = np.asarray(maps.mean((1, 2)))
    call, values = load(name, state, GRADIENT_SIZE, dtype)
    projection = draw_projection(1000).astype(dtype)

    def objective(images: jax.Array, values: list) -> jax.Array:
        return (call(values, images)[1] * projection).sum()

    gradient = partial(jax.jit(jax.grad(objective)), values=values)
    seed = smooth_seed(gradient) if seed is None else seed
    image = draw_images(*GRADIENT_SIZE, batch=1, seed=seed).astype(dtype)
    results |= {"gradient": np.asarray(gradient(image)), "gradient_seed": np.array(seed)}
    slopes = jax.jit(jax.grad(objective, argnums=1))(image, values)
    least = min(float(abs(np.linalg.norm(slope * value))) for slope, value in zip(slopes, values, strict=True))
    results["alive"] = np.array(least / np.linalg.norm(call(values, image)[1]))
    return results


def smooth_seed(gradient: Callable) -> int:
    """The first seed whose image lies well inside a region where the network is linear; see `make.smooth_seed`."""
    for seed in range(SEEDS):
        image = draw_images(*GRADIENT_SIZE, batch=1, seed=seed).astype(np.float64)
        expected, random = np.asarray(gradient(image)), np.random.default_rng(seed)
        noise = (1e-6 * random.normal(size=image.shape) for _ in range(4))
        if all(relative_error(gradient(image + n), expected) < 1e-9 for n in noise):
            return seed
    raise RuntimeError(f"no smooth image in {SEEDS} seeds")


def main() -> None:
    """Make the files of the named networks."""
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_default_matmul_precision", "highest")
    for name in sys.argv[1:] or REFERENCES:
        contents = make(name)
        path = FOLDER / f"{name}.npz"
        np.savez_compressed(path, **contents)
        largest = max(np.abs(contents[key]).max() for key in contents if key.startswith("logits"))
        error, alive, seed = (contents[key] for key in ("torch_error", "alive", "gradient_seed"))
        print(
            f"{name}: {path.stat().st_size} bytes, max |logit| {largest:.3g}, alive {alive:.2g}, seed {seed}, "
            f"Keras' float32 {error}",
            flush=True,
        )
        build.cache_clear()


if __name__ == "__main__":
    main()
