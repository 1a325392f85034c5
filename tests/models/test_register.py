"""A family from outside: one call of `register`, and everything knows it."""

from dataclasses import replace
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import tljax
from tests.photos import make_photos
from tljax import trees
from tljax.errors import InputError
from tljax.models import (
    ConvNorm,
    Execution,
    Family,
    Head,
    ModelSpec,
    Outputs,
    Taps,
    dropout,
    register,
    spatial_mean,
)
from tljax.models import spec as registry
from tljax.models.rules import dense, layer, normed
from tljax.transfer import train
from tljax.transfer.freeze import FROZEN, finetune_rules, label_variables

pytestmark = pytest.mark.usefixtures("quick_to_compile")


class ToyConfig(NamedTuple):
    widths: tuple[int, ...]
    eps: float


class ToyNet(nn.Module):
    config: ToyConfig
    classes: int
    head: str
    execution: Execution

    @nn.compact
    def __call__(self, x, tap: Taps):
        for i, width in enumerate(self.config.widths):
            conv = ConvNorm(width, 3, 2, 1, eps=self.config.eps, execution=self.execution, name=f"block{i}")
            x = tap(f"block{i}", conv(x))
        embed = spatial_mean(x)
        name = "head" if self.head == "linear" else "classifier"
        logits = Head(self.classes, name=name)(dropout(embed, 0.1, self.execution))
        return Outputs(embed, logits, logits, tap.maps)


def toy_rules(spec):
    return {"torch": [*normed(r"conv(\d)", r"bn(\d)", r"block\1"), *layer("fc", "classifier", dense)]}


SPEC = ModelSpec(
    name="toy_small",
    family="toy",
    config=ToyConfig((6, 8), eps=1e-3),
    feature_dim=8,
    last_layer="block1",
    params=3 * 6 * 9 + 12 + 6 * 8 * 9 + 16 + 8 * 5 + 5,
    classes=tuple("abcde"),
    input_size=32,
    crop_pct=1.0,
)
TOY = Family(
    name="toy",
    module=ToyNet,
    blocks=("block0", "block1"),
    rules=toy_rules,
    networks=(SPEC,),
    head=("classifier",),
    min_input_size=4,
)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))
    register(TOY)


@pytest.fixture
def state():
    """Weights by the names and in the layout of torch."""
    random = np.random.default_rng(0)
    arrays = {"fc.weight": random.normal(size=(5, 8)), "fc.bias": random.normal(size=5)}
    for i, (inputs, width) in enumerate(((3, 6), (6, 8))):
        arrays[f"conv{i}.weight"] = random.normal(size=(width, inputs, 3, 3)) / (3 * inputs**0.5)
        for name in ("weight", "bias", "running_mean", "running_var"):
            arrays[f"bn{i}.{name}"] = random.uniform(0.5, 1.5, width)
    return {name: array.astype(np.float32) for name, array in arrays.items()}


@pytest.fixture
def weights(state, tmp_path):
    save_file(state, tmp_path / "toy.safetensors")
    return tmp_path / "toy.safetensors"


def in_torch_layout(state, images):
    """What the weights compute, with nothing of the code under test."""
    x = ((images - np.float32(SPEC.mean)) / np.float32(SPEC.std)).transpose(0, 3, 1, 2)
    for i in range(2):
        x = jax.lax.conv(jnp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), state[f"conv{i}.weight"], (2, 2), "VALID")
        scale, bias, mean, var = (
            state[f"bn{i}.{name}"][:, None, None] for name in ("weight", "bias", "running_mean", "running_var")
        )
        x = jnp.maximum((x - mean) / np.sqrt(var + 1e-3) * scale + bias, 0)
    return x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]


def test_weights_become_a_network_that_computes_what_they_mean(weights, state):
    net = tljax.load_pretrained("toy_small", weights=weights)
    images = np.random.default_rng(1).random((3, 32, 32, 3), np.float32)
    expected = in_torch_layout(state, images)
    np.testing.assert_allclose(net.apply(net.variables, images), expected, rtol=1e-4, atol=1e-5)
    fast = tljax.for_inference(net)
    np.testing.assert_allclose(fast.apply(fast.variables, images), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="at least 4 pixels"):
        net.apply(net.variables, images[:, :3])


def test_it_is_listed_and_can_be_drawn():
    assert "toy_small" in tljax.list_models()
    assert tljax.get_spec("toy_small") is SPEC
    net = tljax.init_network("toy_small", key=jax.random.key(0), classes=5)
    assert net.spec is SPEC
    assert sum(leaf.size for leaf in jax.tree.leaves(net.variables["params"])) == SPEC.params
    assert list(net.intermediates(net.variables, jnp.zeros((1, 8, 8, 3)))) == ["block0", "block1"]


def test_other_weights_are_refused_by_its_own_head_and_recognised(weights, state, tmp_path):
    save_file(state | {"fc.weight": state["fc.weight"][:2]}, tmp_path / "two")
    with pytest.raises(InputError, match=r"1 mismatch: fc\.weight.*only the classifier differs: toy_small has 5"):
        tljax.load_pretrained("toy_small", weights=tmp_path / "two")
    with pytest.raises(InputError, match="it looks like toy_small"):
        tljax.load_pretrained("resnet18", weights=weights)
    with pytest.raises(InputError, match="toy_small has no published weights: pass a file"):
        tljax.load_pretrained("toy_small")


@pytest.mark.parametrize("mode", ["linear_probe", "finetune"])
def test_it_is_trained_by_its_blocks_and_read_back(weights, tmp_path, mode):
    photos = make_photos(tmp_path / "photos", {"red": 8, "blue": 8}, size=40)
    options = {"epochs": 1, "lr": 0.01} if mode == "finetune" else {}
    result = train(photos, tmp_path / "run", model="toy_small", weights=str(weights), mode=mode, **options)
    assert result["classes"] == ["blue", "red"]
    before = trees.flatten(tljax.load_pretrained("toy_small", weights=weights).variables["params"])
    net = tljax.load_run(tmp_path / "run")
    assert (net.spec.classes, net.spec.head) == (("blue", "red"), "linear")
    after = trees.flatten(net.variables["params"])
    np.testing.assert_array_equal(after["block0/kernel"], before["block0/kernel"])
    assert np.array_equal(after["block1/kernel"], before["block1/kernel"]) == (mode == "linear_probe")
    assert net.apply(net.variables, jnp.zeros((1, 32, 32, 3))).shape == (1, 2)


def test_its_earlier_blocks_freeze_by_default():
    from tljax.models.network import abstract_variables

    spec = replace(SPEC, head="linear", classes=("a", "b"))
    labels = label_variables(abstract_variables(spec), finetune_rules(spec))["params"]
    assert {name: set(jax.tree.leaves(layer)) for name, layer in labels.items()} == {
        "block0": {FROZEN},
        "block1": {1},
        "head": {0},
    }


def test_the_same_again_changes_nothing_and_a_name_is_taken_once():
    before = tljax.list_models()
    register(replace(TOY))
    for other, said in [
        (replace(TOY, min_input_size=8), 'another family named "toy"'),
        (replace(TOY, name="toys"), 'says that its family is "toy", not "toys"'),
        (replace(TOY, name="toys", networks=(replace(SPEC, family="toys"),)), 'a network named "toy_small" is'),
        (replace(TOY, name="toys", networks=(replace(SPEC, family="toys", name="new"),) * 2), '"new" is registered'),
    ]:
        with pytest.raises(InputError, match=said):
            register(other)
    assert tljax.list_models() == before


def test_a_specification_of_no_family_is_refused():
    with pytest.raises(InputError, match='no family named "toys": registered are vgg, resnet, '):
        tljax.models.network.make_network(replace(SPEC, family="toys"), {}).apply({}, jnp.zeros((1, 8, 8, 3)))


def test_every_public_name_is_there():
    for package in (tljax.models, tljax.weights):
        assert package.__all__ == sorted(package.__all__, key=lambda name: (name[0].islower(), name))
        assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Convolution'"):
        _ = tljax.models.Convolution
