"""Networks of inverted residual blocks and DenseNet: their sizes, their names, and what folding leaves alone."""

import re

import jax
import numpy as np
import pytest

import tljax
from tljax import trees
from tljax.models import densenet, efficientnet, efficientnet_lite, efficientnet_v2, mobilenet, mobilenet_v3
from tljax.models.inverted import Row, divisible, stages
from tljax.models.network import abstract_variables
from tljax.models.spec import get_family, get_spec

NEW = ("mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0", "efficientnet_v2_s", "densenet121")


@pytest.mark.parametrize("name", NEW)
def test_parameters_are_as_many_as_torchvision_says(name):
    """`params` are those of torchvision's own table, and nothing here counts them otherwise."""
    leaves = jax.tree.leaves(abstract_variables(get_spec(name))["params"])
    assert sum(leaf.size for leaf in leaves) == get_spec(name).params


@pytest.mark.parametrize("name", NEW)
def test_every_layer_has_a_depth_and_each_frozen_pattern_a_layer(name):
    spec = get_spec(name)
    family = get_family(spec.family)
    tops = set(abstract_variables(spec)["params"]) - set(family.head)
    assert all(any(re.fullmatch(block, top) for block in family.blocks) for top in tops)
    half = family.blocks[: len(family.blocks) // 2]
    assert all(any(re.fullmatch(block, top) for top in tops) for block in half)


def test_channels_are_multiples_of_eight_and_never_much_less():
    assert [divisible(channels) for channels in (16 * 0.75, 40 * 1.1, 1, 88.08)] == [16, 48, 8, 88]
    assert divisible(11.9, least=0.0) == 8
    assert divisible(11.9) == 16


def test_a_row_becomes_blocks():
    (first, second), (other,) = stages(((Row(0, 16, 2, 2, 3),), (Row(4, 24, 1, 1, 5, True),)), 8)
    assert (first.stride, second.stride) == (2, 1)
    assert first.parts == ("depthwise", "project")
    assert other.parts == ("expand", "depthwise", "gate", "project")
    assert (other.wide, other.squeeze) == (64, 4)
    assert len(stages(((Row(0, 16, 2, 1, 3),),) * 3, 8, depth=1.1)[1]) == 3
    assert [len(s) for s in stages(((Row(0, 16, 2, 1, 3),),) * 3, 8, depth=1.1, fixed_ends=True)] == [2, 3, 2]


def test_versions_have_names_and_are_not_listed():
    assert not [name for name in tljax.list_models() if "/" in name]
    plain, later = get_spec("efficientnet_b1"), get_spec("torchvision/efficientnet_b1.imagenet1k_v2")
    assert get_spec("torchvision/efficientnet_b1").sources == plain.sources
    assert (plain.interpolation, later.interpolation) == ("bicubic", "bilinear")
    assert later.source == "https://download.pytorch.org/models/efficientnet_b1-c27df63c.pth"
    assert (plain.resize_size, later.resize_size) == (256, 255)
    with pytest.raises(tljax.errors.InputError, match="no model named"):
        get_spec("torchvision/efficientnet_b0.imagenet1k_v2")


@pytest.mark.parametrize(
    "family", [densenet, efficientnet, efficientnet_v2, efficientnet_lite, mobilenet, mobilenet_v3]
)
def test_resizing_is_in_whole_pixels_as_published(family):
    """`crop_pct` is a quotient; its floor must not lose a pixel."""
    for spec in family.FAMILY.networks + family.FAMILY.versions:
        assert spec.resize_size == round(spec.input_size / spec.crop_pct)
    assert all(spec.family == family.FAMILY.name for spec in family.ARCHITECTURES.values())


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "densenet121"])
def test_folding_changes_no_logit(name):
    """DenseNet's norms in front of a convolution keep their statistics; all others are folded."""
    net = tljax.init_network(name, key=jax.random.key(0), classes=5)
    stats = trees.flatten(net.variables["batch_stats"])
    random = np.random.default_rng(0)
    drawn = {path: random.uniform(0.5, 1.5, leaf.shape).astype(np.float32) for path, leaf in stats.items()}
    net = net.replace(variables={**net.variables, "batch_stats": trees.unflatten(drawn)})
    fast, images = tljax.for_inference(net), random.random((2, 64, 64, 3), np.float32)
    np.testing.assert_allclose(
        fast.apply(fast.variables, images), net.apply(net.variables, images), rtol=1e-3, atol=1e-4
    )
    assert not [path for path in trees.flatten(fast.variables["params"]) if "/norm/" in path]
    assert bool(fast.variables["batch_stats"]) == (name == "densenet121")
