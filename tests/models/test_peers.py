"""ConvNeXt and the vision transformer equal timm's, where that is installed; sizes that patches do not divide."""

import jax
import jax.numpy as jnp
import pytest

import tljax
from tljax.errors import InputError


@pytest.mark.parametrize(
    ("name", "size"),
    [("convnext_atto", 64), ("convnextv2_atto", 64), ("vit_tiny_patch16_224", 64), ("vit_small_patch14_dinov2", 70)],
)
def test_logits_embeddings_and_gradients_are_those_of_timm(name, size):
    pytest.importorskip("timm")
    from tests.golden.peers import compare

    found = compare(name, size=size)
    assert found["unmatched"] == 0
    assert max(found["native"], found["other"], found["embed"]) <= 2e-5, found
    assert found["gradient"] <= 1e-2, found


def test_sides_that_patches_do_not_divide_are_refused():
    net = tljax.init_network("vit_tiny_patch16", key=jax.random.key(0), classes=2)
    assert net.apply(net.variables, jnp.zeros((1, 32, 48, 3))).shape == (1, 2)
    with pytest.raises(InputError, match="patches of 16 pixels"):
        net.apply(net.variables, jnp.zeros((1, 32, 40, 3)))
