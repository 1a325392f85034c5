"""Networks small enough to know the answer."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

SHAPE = (6, 6, 3)


def linear(variables, images):
    """(b, h, w, c) -> (b, classes): logits linear in the pixels."""
    return jnp.einsum("bhwc,hwck->bk", images, variables["w"]) + variables["b"]


def linear_variables(classes=5, seed=0, scale=0.3):
    """Random weights, and biases that give mid-grey equal logits."""
    w = scale * jax.random.normal(jax.random.key(seed), (*SHAPE, classes), jnp.float32)
    return {"w": w, "b": -0.5 * w.sum((0, 1, 2))}


def curved(variables, images):
    """A hidden layer with tanh: smooth and not linear."""
    hidden = jnp.tanh(jnp.einsum("bhwc,hwck->bk", images - 0.5, variables["w"]))
    return hidden @ variables["v"]


def curved_variables(classes=4, seed=1):
    keys = jax.random.split(jax.random.key(seed))
    return {
        "w": jax.random.normal(keys[0], (*SHAPE, 8), jnp.float32),
        "v": 2 * jax.random.normal(keys[1], (8, classes), jnp.float32),
    }


def photos(n=4, seed=0, low=60, high=196):
    """Random images at 8-bit levels, away from black and white."""
    levels = np.random.default_rng(seed).integers(low, high, (n, *SHAPE))
    return levels.astype(np.float32) / np.float32(255)


def levels(images):
    """The 8-bit levels, as a file would hold them."""
    return np.round(np.asarray(images, np.float64) * 255).astype(int)


def l2(a, b):
    """L2 distance of each image pair, in units of the pixel range."""
    return np.sqrt(((np.asarray(a, np.float64) - np.asarray(b, np.float64)) ** 2).sum((1, 2, 3)))


class TinyNorm(nn.Module):
    """Batch norm straight on the pixels; the logits are the mean colour."""

    @nn.compact
    def __call__(self, images):
        return nn.BatchNorm(use_running_average=True, name="norm")(images).mean((1, 2))


def tiny_norm(variables, images):
    """(b, h, w, 3) -> (b, 3), through `TinyNorm`."""
    return TinyNorm().apply(variables, images)


def tiny_norm_variables():
    """Statistics of dark images."""
    stats = {"mean": jnp.full(3, 0.3), "var": jnp.full(3, 0.02)}
    return {"params": {"norm": {"scale": jnp.ones(3), "bias": jnp.zeros(3)}}, "batch_stats": {"norm": stats}}
