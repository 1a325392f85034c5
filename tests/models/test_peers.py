"""ConvNeXt, ResNet's kin and the vision transformer equal timm's, where that is installed; odd sizes of patches."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

import tljax
from tljax.errors import InputError


@pytest.mark.parametrize(
    "name",
    [
        *("convnext_atto", "convnextv2_atto", "vit_tiny_patch16_224", "vit_small_patch14_dinov2"),
        *("resnet10t", "resnet14t", "resnet18d", "resnet26d", "resnet50s", "seresnet18", "seresnext26t_32x4d"),
    ],
)
def test_logits_embeddings_and_gradients_are_those_of_timm(name):
    pytest.importorskip("timm")
    from tests.golden.on_the_spot import compare

    with jax.default_matmul_precision("highest"):
        found = compare(f"timm/{name}", 70)
    assert max(found["native"], found["odd"], found["embed"]) <= 2e-5, found
    assert found["gradient"] <= 1e-2, found


def test_sides_that_patches_do_not_divide_are_refused():
    net = tljax.init_network("vit_tiny_patch16", key=jax.random.key(0), classes=2)
    assert net.apply(net.variables, jnp.zeros((1, 32, 48, 3))).shape == (1, 2)
    with pytest.raises(InputError, match="patches of 16 pixels"):
        net.apply(net.variables, jnp.zeros((1, 32, 40, 3)))


def test_a_network_without_a_classifier_says_so():
    net = tljax.init_network("vit_tiny_patch16", key=jax.random.key(0), classes=2)
    net = net.replace(spec=dataclasses.replace(net.spec, name="bare", classes=()))
    assert net.embed(net.variables, jnp.zeros((1, 32, 32, 3))).shape == (1, 192)
    for function in (net.apply, net.scores):
        with pytest.raises(InputError, match="bare has no classifier: train one"):
            function(net.variables, jnp.zeros((1, 32, 32, 3)))
