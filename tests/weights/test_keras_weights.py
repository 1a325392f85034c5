"""Keras Applications: which array becomes which leaf, by name and by order, and the forms that only Keras has."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tljax
from tests.golden import table
from tljax import trees
from tljax.errors import InputError
from tljax.models.inputs import normalise
from tljax.models.network import abstract_variables, make_network
from tljax.models.resnet import ResNetConfig
from tljax.models.spec import get_spec, list_models
from tljax.weights.convert import convert

NETWORKS = [name for name in list_models() if name.endswith(".keras")]


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    """ "LAYER/array" -> shape, in the order of Keras 3's own model."""
    stored = table.golden(name)
    return {str(n): tuple(filter(None, row.tolist())) for n, row in zip(stored["names"], stored["shapes"], strict=True)}


def source(name: str, rename=lambda layer: layer) -> dict[str, np.ndarray]:
    """What the reader gives of such a file; each array is filled with its number."""
    layers: dict[str, list[np.ndarray]] = {}
    for i, (key, shape) in enumerate(shapes(name).items()):
        layers.setdefault(key.split("/")[0], []).append(np.broadcast_to(np.float32(i), shape))
    return {
        f"{k}:{rename(layer)}/{i}": array
        for k, (layer, arrays) in enumerate(layers.items())
        for i, array in enumerate(arrays)
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_names_and_order_say_the_same(name):
    spec = get_spec(name)
    abstract = abstract_variables(spec)
    by_name = trees.flatten(convert(source(name), spec, abstract))
    by_order = trees.flatten(convert(source(name, lambda layer: f"older_{layer}"), spec, abstract))
    assert by_name.keys() == trees.flatten(abstract).keys()
    assert all((by_name[path].flat[0] == leaf.flat[0]) for path, leaf in by_order.items())
    assert sum(leaf.size for path, leaf in by_name.items() if path.startswith("params/")) == spec.params


def test_names_win_over_order():
    name = "resnet50.keras"
    given = source(name)
    swapped = {re.sub(r"^\d+", lambda number: str(200 - int(number[0])), key): array for key, array in given.items()}
    spec = get_spec(name)
    flat = trees.flatten(convert(swapped, spec, abstract_variables(spec)))
    expected = list(shapes(name)).index("conv3_block1_0_bn/moving_mean")
    assert (flat["batch_stats/stage2_block0/shortcut/norm/mean"] == expected).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_without_the_classifier_says_so(name):
    spec = get_spec(name)
    notop = {key: array for key, array in source(name).items() if not re.search(r":(fc\d|predictions)/", key)}
    with pytest.raises(InputError, match=r"has no source.*only the classifier is missing.*without _notop"):
        convert(notop, spec, abstract_variables(spec))


def test_all_mismatches_come_at_once():
    spec = get_spec("mobilenet_v2.keras")
    given = source(spec.name)
    key = next(key for key in given if ":block_3_depthwise/" in key)
    given[key] = np.zeros((3, 3, 1, 144), np.float32)
    given["200:more/0"] = np.zeros(3, np.float32)
    del given[next(key for key in given if key.endswith(":Conv_1_bn/3"))]
    with pytest.raises(InputError) as caught:
        convert(given, spec, abstract_variables(spec))
    for part in (
        "3 mismatches",
        f"{key} (3, 3, 1, 144) does not fit params/stage3_block0/depthwise/kernel, which is (3, 3, 1, 144)",
        "200:more/0 (3,) has no place",
        "batch_stats/top/norm/var (1280,) has no source",
    ):
        assert part in str(caught.value)


def test_weights_of_keras_only_with_its_preprocessing(tmp_path):
    pytest.importorskip("h5py")
    name = "mobilenet_v2.keras"
    path = tmp_path / "w.h5"
    table.WRITERS["h5 of 2018"](path, table.golden_state(name))
    with pytest.raises(InputError, match=r"not the weights of mobilenet_v2: .*it looks like mobilenet_v2\.keras"):
        tljax.load_pretrained("mobilenet_v2", weights=path)


def test_keras_preprocessing():
    image = np.full((1, 32, 32, 3), [255, 128, 0], np.float32)
    caffe = [0 - 103.939, 128 - 116.779, 255 - 123.68]
    for name in ("vgg16.keras", "vgg19.keras", "resnet50.keras"):
        np.testing.assert_allclose(normalise(get_spec(name), image / 255)[0, 0, 0], caffe, rtol=1e-5)
    expected = image[0, 0, 0] / 127.5 - 1
    np.testing.assert_allclose(normalise(get_spec("mobilenet_v2.keras"), image / 255)[0, 0, 0], expected, atol=1e-6)


@pytest.fixture(scope="module")
def small():
    """Keras' ResNet with one block in each stage; biases and statistics are not those of a fresh network."""
    config = ResNetConfig("bottleneck", (1, 1, 1, 1), stride_first=True, bias=True, eps=1.001e-5)
    spec = dataclasses.replace(get_spec("resnet50.keras"), config=config, classes=("a", "b", "c"))
    random = np.random.default_rng(0)
    leaves = trees.flatten(abstract_variables(spec))
    flat = {path: random.uniform(0.5, 1.5, leaf.shape).astype(np.float32) for path, leaf in leaves.items()}
    flat |= {path: leaf / np.prod(leaf.shape[:-1]) for path, leaf in flat.items() if path.endswith("/kernel")}
    return make_network(spec, jax.tree.map(jnp.asarray, trees.unflatten(flat)))


def test_biases_before_batch_norm_count_and_are_folded(small):
    fast = tljax.for_inference(small)
    images = jnp.asarray(np.random.default_rng(1).random((2, 33, 40, 3)), jnp.float32)
    expected = small.apply(small.variables, images)
    flat = trees.flatten(small.variables)
    others = trees.unflatten({path: leaf + path.endswith("conv1/bias") for path, leaf in flat.items()})
    assert (small.apply(others, images) != expected).any()
    got = fast.apply(fast.variables, images)
    assert float(jnp.abs(got - expected).max()) <= 1e-5 * float(jnp.abs(expected).max())
    assert not any("norm" in path for path in trees.flatten(fast.variables))


def test_the_stride_is_on_the_first_convolution(small):
    """Pixels that a 1x1 convolution of stride 2 steps over play no part; a strided 3x3 would see them."""
    images = jnp.zeros((1, 64, 64, 3))
    expected = small.scores(small.variables, images)
    ones = jnp.ones_like(small.intermediates(small.variables, images)["stage1_block0"])
    skipped, kept = ones.at[:, ::2, ::2].set(0.0), ones.at[:, 1::2].set(0.0)
    for perturbation, same in ((skipped, True), (kept, False)):
        perturbed = {**small.variables, "perturbations": {"stage1_block0": perturbation}}
        assert bool((small.scores(perturbed, images) == expected).all()) == same
