"""The examples in docstrings run, and every public name has one."""

import doctest
import importlib
import pkgutil

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

import tljax
from tljax.models import ConvNorm, Execution, Family, Head, ModelSpec, Outputs, Taps, register, spatial_mean
from tljax.models import spec as registry
from tljax.models.rules import dense, layer, normed

pytestmark = pytest.mark.usefixtures("quick_to_compile")

PACKAGES = ("tljax", "tljax.transfer", "tljax.synth", "tljax.models", "tljax.weights", "tljax.data", "tljax.report")
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
STILL_WITHOUT: frozenset[str] = frozenset()
"""Public names that have no example yet. It only shrinks."""


class Toy(nn.Module):
    """One convolution."""

    config: float
    classes: int
    head: str
    execution: Execution

    @nn.compact
    def __call__(self, x, tap: Taps):
        embed = spatial_mean(tap("block", ConvNorm(8, 3, 2, 1, execution=self.execution, name="block")(x)))
        logits = Head(self.classes, name="head")(embed)
        return Outputs(embed, logits, logits, tap.maps)


class Config(float):
    """What `for_inference` asks of a configuration."""

    eps = 1e-5


SPEC = ModelSpec(
    name="toy",
    family="toy",
    config=Config(),
    feature_dim=8,
    last_layer="block",
    params=3 * 8 * 9 + 16 + 8 * 2 + 2,
    classes=("cat", "dog"),
    input_size=32,
    crop_pct=1.0,
    head="linear",
)
RULES = {"torch": [*normed("conv", "norm", "block"), *layer("fc", "head", dense)]}
TOY = Family("toy", Toy, blocks=("block",), rules=lambda spec: RULES, networks=(SPEC,))


@pytest.fixture
def names(monkeypatch, tmp_path):
    """What examples take for granted: `net` is a network of two classes, whose photos these are."""
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TLJAX_CACHE", "cache")
    register(TOY)
    photos = np.random.default_rng(0).integers(60, 196, (8, 32, 32, 3), np.uint8)
    photos[::2, ..., 0] += 40  # cats are red, and dogs are blue
    photos[1::2, ..., 2] += 40
    for i, photo in enumerate(photos):
        place = tmp_path / "photos" / SPEC.classes[i % 2] / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(place)
    random = np.random.default_rng(1)
    shapes = {"conv.weight": (8, 3, 3, 3), "fc.weight": (2, 8), "fc.bias": (2,)}
    shapes |= {f"norm.{name}": (8,) for name in ("weight", "bias", "running_mean", "running_var")}
    save_file(
        {name: random.uniform(0.1, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}, "toy.safetensors"
    )
    return {
        "jax": jax,
        "jnp": jnp,
        "np": np,
        "tljax": tljax,
        "net": tljax.init_network("toy", key=jax.random.key(0), classes=2),
        "photos": photos,
        "images": photos.astype(np.float32) / 255,
        "labels": np.arange(8, dtype=np.int32) % 2,
        "Toy": Toy,
    }


def modules() -> list[str]:
    """The modules with an example somewhere in their source, none of which is imported for that."""
    found = [module.name for module in pkgutil.walk_packages(tljax.__path__, "tljax.")]
    return [name for name in ["tljax", *found] if ">>>" in (importlib.util.find_spec(name).loader.get_source(name))]


@pytest.mark.parametrize("module", modules())
def test_examples_run(module, names):
    found = importlib.import_module(module)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    examples = [test for test in doctest.DocTestFinder(exclude_empty=True).find(found, module) if test.examples]
    assert examples, "none was found where the source has >>>"
    for test in examples:
        test.globs = dict(names)  # nothing of the module itself: as a user writes it
        runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)


def test_every_public_name_has_an_example():
    without = {
        f"{package}.{name}"
        for package in PACKAGES
        for name in getattr(importlib.import_module(package), "__all__", ())
        if (public := getattr(importlib.import_module(package), name)) is not None
        if not isinstance(public, type(pytest)) and ">>>" not in (public.__doc__ or "")
    }
    assert without == STILL_WITHOUT
