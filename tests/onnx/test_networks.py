"""Whole networks in ONNX Runtime against the same in JAX: each family, and the parts of those to come."""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import tljax
from tests.onnx.runtime import assert_same, run
from tljax.data.images import decode, preprocess
from tljax.transfer.export import resized


def largest_difference(net, images):
    """Of logits in ONNX Runtime and in JAX, in units of the largest; and whether the labels are equal."""
    plain = net.replace(plain=True)
    shape = (("b", *images.shape[1:]), "float32")
    logits = run(tljax.onnx.export(lambda images: plain.apply(plain.variables, images), shape), images)[0]
    expected = np.asarray(net.apply(net.variables, images))
    return np.abs(logits - expected).max() / np.abs(expected).max(), (logits.argmax(-1) == expected.argmax(-1)).all()


@pytest.mark.parametrize(
    ("name", "size", "folded"),
    [
        ("resnet18", 65, True),
        ("resnet18", 64, False),
        ("resnet50.keras", 64, True),
        ("mobilenet_v2", 64, True),
        ("efficientnet_lite0", 65, True),
        ("squeezenet1_1", 60, True),
        ("squeezenet1_1.caffe", 64, True),
    ],
)
def test_families(name, size, folded):
    net = tljax.init_network(name, key=jax.random.key(0), classes=7)
    net = tljax.for_inference(net) if folded else net
    images = np.asarray(jax.random.uniform(jax.random.key(1), (3, size, size, 3)))
    difference, equal = largest_difference(net, images)
    assert difference < 1e-4
    assert equal


def test_grad_cam():
    """A heat map with its gradient inside is a pure function like any other."""
    net = tljax.for_inference(tljax.init_network("squeezenet1_1", key=jax.random.key(0), classes=7))
    net = net.replace(plain=True)

    layer = net.spec.last_layer

    def best(perturbations, images):
        scores = net.scores({**net.variables, "perturbations": {layer: perturbations}}, images)
        return scores.max(-1).sum(), scores

    def heat(images):
        maps = net.intermediates(net.variables, images)[layer]
        slopes, scores = jax.grad(best, has_aux=True)(jnp.zeros_like(maps), images)
        return scores, jax.nn.relu((maps * slopes.mean((1, 2), keepdims=True)).sum(-1))

    assert_same(heat, np.asarray(jax.random.uniform(jax.random.key(1), (2, 64, 64, 3))), tolerance=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg16", "vgg19.keras", "resnet152", "efficientnet_lite2"])
def test_large_networks(name):
    net = tljax.for_inference(tljax.init_network(name, key=jax.random.key(0)))
    difference, equal = largest_difference(net, np.asarray(jax.random.uniform(jax.random.key(1), (1, 224, 224, 3))))
    assert difference < 1e-4
    assert equal


def test_the_fast_form_exports_as_the_plain_one():
    """Where a function has a form for each platform, ONNX gets that of any other."""
    net = tljax.for_inference(tljax.init_network("mobilenet_v2", key=jax.random.key(0), classes=7))
    shape = (("b", 32, 32, 3), "float32")
    plain, fast = (
        tljax.onnx.export(lambda images, net=form: net.apply(net.variables, images), shape)
        for form in (net.replace(plain=True), net)
    )
    images = np.asarray(jax.random.uniform(jax.random.key(1), (2, 32, 32, 3)))
    np.testing.assert_array_equal(run(plain, images)[0], run(fast, images)[0])


def test_one_transposition_for_all_convolutions():
    onnx = pytest.importorskip("onnx")
    net = tljax.for_inference(tljax.init_network("efficientnet_lite0", key=jax.random.key(0), classes=7))
    net = net.replace(plain=True)
    model = tljax.onnx.export(lambda images: net.apply(net.variables, images), (("b", 64, 64, 3), "float32"))
    operators = [node.op_type for node in onnx.load_from_string(model).graph.node]
    assert operators.count("Transpose") == 1
    assert operators.count("Conv") == 49
    assert operators.count("Clip") == 33  # none is left as a comparison and a choice
    assert operators.count("Add") == 9 + 1  # skip connections and the head's bias


def test_real_weights_on_photos(sample_data):
    """EfficientNet-Lite0 from pixels of any size to probabilities: the resize is exact, the labels are equal."""
    net = tljax.for_inference(tljax.load_pretrained("efficientnet_lite0"))
    plain = net.replace(plain=True)

    def classify(pictures):
        pixels = resized(pictures, net.spec)
        logits = plain.apply(plain.variables, pixels.astype(jnp.float32) / 255)
        return {"logits": logits, "probs": jax.nn.softmax(logits), "pixels": pixels}

    with jax.enable_x64(True):
        model = tljax.onnx.export(classify, (("b", "h", "w", 3), "uint8"))
    with open(sample_data / "imagenet_samples" / "labels.csv") as table:
        files = [row["file"] for row in csv.DictReader(table)][::60]
    for file in files:
        picture = decode((sample_data / "imagenet_samples" / file).read_bytes())
        logits, pixels, probs = run(model, picture[None])
        expected = preprocess(picture, net.spec)
        np.testing.assert_array_equal(pixels[0], expected)
        wanted = np.asarray(net.apply(net.variables, expected[None].astype(np.float32) / 255))
        assert np.abs(logits - wanted).max() < 1e-4 * np.abs(wanted).max()
        assert logits.argmax() == wanted.argmax()
        np.testing.assert_allclose(probs.sum(), 1, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (701, 2), (224, 224), (255, 257), (333, 1000)])
@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18"])
def test_resize_is_exact(name, shape):
    spec = tljax.get_spec(name)
    with jax.enable_x64(True):
        model = tljax.onnx.export(lambda pictures: resized(pictures, spec), (("b", "h", "w", 3), "uint8"))
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    np.testing.assert_array_equal(run(model, picture[None])[0][0], preprocess(picture, spec))


def normal(*shape):
    return (np.random.default_rng(sum(shape)).normal(size=shape) / shape[-1] ** 0.5).astype(np.float32)


def layer_norm(x):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + 1e-6) * normal(x.shape[-1]) + normal(x.shape[-1])


def test_vision_transformer_block():
    def block(images):
        x = lax.conv_general_dilated(images, normal(4, 4, 3, 16), (4, 4), "VALID", dimension_numbers=_CHANNELS_LAST)
        x = x.reshape(x.shape[0], -1, 16)
        x = jnp.concatenate([jnp.broadcast_to(normal(1, 1, 16), (x.shape[0], 1, 16)), x], 1) + normal(1, 17, 16)
        q, k, v = jnp.split(layer_norm(x) @ normal(16, 48), 3, -1)
        q, k, v = (part.reshape(*part.shape[:2], 4, 4) for part in (q, k, v))
        weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k) / 2)
        x = x + jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(x.shape) @ normal(16, 16)
        x = x + jax.nn.gelu(layer_norm(x) @ normal(16, 64), approximate=False) @ normal(64, 16)
        return layer_norm(x)[:, 0] @ normal(16, 5), jax.nn.dot_product_attention(q, k, v)

    assert_same(block, normal(2, 16, 16, 3))


def test_convnext_block():
    def block(images):
        x = lax.conv_general_dilated(images, normal(4, 4, 3, 16), (4, 4), "VALID", dimension_numbers=_CHANNELS_LAST)
        x = layer_norm(x)
        y = lax.conv_general_dilated(
            x, normal(7, 7, 1, 16), (1, 1), "SAME", dimension_numbers=_CHANNELS_LAST, feature_group_count=16
        )
        y = jax.nn.gelu(layer_norm(y + normal(16)) @ normal(16, 64), approximate=False) @ normal(64, 16)
        x = x + y * normal(16)
        return layer_norm(x.mean((1, 2)))

    assert_same(block, normal(2, 32, 32, 3))


_CHANNELS_LAST = ("NHWC", "HWIO", "NHWC")
