"""Parity with the frameworks that the weights come from, by the public way of loading a file.

The reference values are float64 results of torchvision and of independent torch code (`tests/golden/make.py`), and of
Keras 3 (`tests/golden/make_keras.py`).
"""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

import tljax
from experiments.benchmark.draw import draw_images, draw_state
from tests.golden import table

MOBILE_STAGES = {
    "mobilenet_v2": (1, 2, 3, 4, 3, 3, 1),
    "efficientnet_lite0": (1, 2, 2, 3, 3, 4, 1),
    "efficientnet_lite1": (1, 3, 3, 4, 4, 5, 1),
    "efficientnet_lite2": (1, 3, 3, 4, 4, 5, 1),
}


@pytest.fixture(scope="module")
def net(request, tmp_path_factory):
    """The network of the stored results, loaded once for all tests that ask for its name."""
    name, folder = request.param, tmp_path_factory.mktemp("weights")
    return table.load(name, table.golden_state(name), table.NETWORKS[name], folder)


SLOW = (  # large, or variants of networks that are in the faster tests
    *("vgg16", "vgg19", "resnet34", "resnet101", "resnet152", "efficientnet_lite1", "efficientnet_lite2"),
    *("vgg16.keras", "vgg19.keras", "resnet50.keras", "vgg11_bn", "resnext50_32x4d"),
)


def for_networks(*names):
    marked = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in names]
    return pytest.mark.parametrize("net", marked, indirect=True, scope="module")


def test_the_table_has_every_network_or_another_size_of_it():
    """All sizes, and what is not stored, are compared by `tests.golden.on_the_spot`, which needs torch."""
    kinds = {kind(name) for name in table.NETWORKS}
    assert set(table.NETWORKS) <= set(tljax.list_models())
    missing = {kind(name) for name in tljax.list_models()} - kinds
    assert {family for family, _, _ in missing} == {"efficientnet_v2"}


def kind(name: str) -> tuple:
    """What all sizes of a network have in common."""
    spec = tljax.get_spec(name)
    return spec.family, spec.origin, bool(spec.classes)


@for_networks(*table.NETWORKS)
def test_every_result_equals_the_original(net):
    errors = table.errors(net, net.spec.name)
    assert len([key for key in errors if key.startswith("logits_" if net.spec.classes else "embed_")]) == 2
    assert max(errors.values()) <= table.TOLERANCE, errors


def test_four_gradients_are_compared():
    assert sum("gradient" in table.golden(name) for name in table.NETWORKS) >= 4


@pytest.mark.parametrize("name", table.NETWORKS)
def test_the_reference_is_alive(name):
    """A dead layer would hide any mistake in it; logits far from order 1 would hide or magnify it."""
    stored = table.golden(name)
    output = "logits_" if tljax.get_spec(name).classes else "embed_"
    logits = [value for key, value in stored.items() if key.startswith(output)]
    assert stored["alive"] >= 50 * table.TOLERANCE
    assert all(0.1 <= value.std() <= 10 for value in logits)
    assert all(np.abs(value[0] - value[1]).max() >= 1e-2 * np.abs(value).max() for value in logits)


@for_networks("resnet18", "efficientnet_lite0", "squeezenet1_1", "resnet50.keras", "mobilenet_v2.keras")
def test_the_form_for_inference_equals_the_original(net):
    fast, stored = tljax.for_inference(net), table.golden(net.spec.name)
    height, width = map(int, stored["sizes"][1])
    with jax.default_matmul_precision("highest"):
        logits = fast.apply(fast.variables, draw_images(height, width))
    assert table.relative_error(logits, stored[f"logits_{height}x{width}"]) <= table.TOLERANCE


@for_networks("mobilenet_v2", "squeezenet1_1")
@pytest.mark.parametrize("container", ["zip", "stream", "tar", "safetensors"])
def test_every_container_gives_the_same_bits(net, container, tmp_path):
    name = net.spec.name
    assert identical(net.variables, table.load(name, table.golden_state(name), container, tmp_path).variables)


@for_networks("vgg16", *MOBILE_STAGES)
def test_names_of_timm_give_the_same_bits(net, tmp_path):
    name = net.spec.name
    state = table.golden_state(name)
    renamed = timm_state(name, state)
    assert not set(renamed) & {key for key in state if not (name == "vgg16" and key.startswith("features."))}
    assert identical(net.variables, table.load(name, renamed, "safetensors", tmp_path).variables)


def test_an_error_counts_from_the_largest_value_and_nan_is_infinite():
    expected = np.array([1.0, -4.0])
    assert table.relative_error(np.array([1.0, -3.0]), expected) == 0.25
    assert table.relative_error(np.array([np.nan, -4.0]), expected) == np.inf
    with pytest.raises(ValueError, match="shape"):
        table.relative_error(np.zeros(3), expected)


def test_weights_depend_on_their_name_only():
    shapes = {"a.weight": (4, 3, 3, 3), "b.bias": (5,), "c.running_var": (6,)}
    forwards, backwards = draw_state(shapes), draw_state(dict(reversed(shapes.items())))
    assert all((forwards[name] == backwards[name]).all() for name in shapes)
    assert (draw_state(shapes, seed=1)["b.bias"] != forwards["b.bias"]).any()


def test_weights_are_the_same_bits_everywhere():
    """Guards the stored results against a generator that changes: the weights are not stored with them."""
    state = draw_state({"conv.weight": (2, 1, 1, 1), "bn.running_var": (2,)})
    assert state["conv.weight"].ravel().tolist() == [1.96857488155365, -1.3991830348968506]
    assert state["bn.running_var"].tolist() == [1.281114101409912, 1.7140182256698608]


def test_the_originals_are_small_files():
    folder = Path(table.__file__).parent
    assert sum(path.stat().st_size for path in folder.glob("*.npz")) < 2**20


def identical(a, b) -> bool:
    """Whether two trees have the same structure and the same bits."""
    same = jax.tree.map(lambda x, y: x.dtype == y.dtype and np.array_equal(x, y), a, b)
    return all(jax.tree.leaves(same))


def timm_state(name: str, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same weights by timm's names and in its shapes, without the counts of batches, which timm leaves out."""
    state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    if name.startswith("vgg"):
        shapes = {"pre_logits.fc1.weight": (4096, 512, 7, 7), "pre_logits.fc2.weight": (4096, 4096, 1, 1)}
        names = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}
        renamed = {re.sub(r"classifier\.\d", lambda m: names[m[0]], key): value for key, value in state.items()}
        return {key: value.reshape(shapes.get(key, value.shape)) for key, value in renamed.items()}
    rename = _timm_of_mobilenet if name == "mobilenet_v2" else _timm_of_lite
    blocks = [f"blocks.{s}.{b}" for s, repeats in enumerate(MOBILE_STAGES[name]) for b in range(repeats)]
    return {rename(key, blocks): value for key, value in state.items()}


_OUTER = {
    "features.0.0": "conv_stem",
    "features.0.1": "bn1",
    "features.18.0": "conv_head",
    "features.18.1": "bn2",
    "classifier.1": "classifier",
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_EXPANDED = ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")
_FIRST = ("conv_dw", "bn1", "conv_pw", "bn2")  # the first block has no expansion


def _timm_of_mobilenet(key: str, blocks: list[str]) -> str:
    layer, leaf = key.rsplit(".", 1)
    if layer in _OUTER:
        return f"{_OUTER[layer]}.{leaf}"
    number, part = re.fullmatch(r"features\.(\d+)\.conv\.(.+)", layer).groups()
    if number == "1":
        inner = _FIRST[("0.0", "0.1", "1", "2").index(part)]
    else:
        inner = _EXPANDED[("0.0", "0.1", "1.0", "1.1", "2", "3").index(part)]
    return f"{blocks[int(number) - 1]}.{inner}.{leaf}"


def _timm_of_lite(key: str, blocks: list[str]) -> str:
    layer, leaf = key.rsplit(".", 1)
    if layer in _OUTER:
        return f"{_OUTER[layer]}.{leaf}"
    number, part = re.fullmatch(r"_blocks\.(\d+)\.(.+)", layer).groups()
    originals = ("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2")
    index = originals.index(part)
    return f"{blocks[int(number)]}.{_FIRST[index - 2] if number == '0' else _EXPANDED[index]}.{leaf}"
