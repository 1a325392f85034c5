"""Batch norm as x * a + b equals Flax's own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tljax.models.layers import BatchNorm


def _variables(key):
    drawn = {name: jax.random.uniform(k, (5,), minval=0.5, maxval=2.0) for name, k in zip("abcd", key, strict=True)}
    return {
        "params": {"scale": drawn["a"], "bias": drawn["b"]},
        "batch_stats": {"mean": drawn["c"], "var": drawn["d"]},
    }


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_batch_norm_is_that_of_flax(frozen, dtype):
    variables = _variables(jax.random.split(jax.random.key(0), 4))
    x = (1 + 3 * jax.random.normal(jax.random.key(1), (2, 4, 3, 5))).astype(dtype)

    def run(layer, x, variables):
        def loss(x, params):
            y, changed = layer.apply({**variables, "params": params}, x, mutable=["batch_stats"])
            return (y.astype(jnp.float32) * jnp.sin(jnp.arange(x.size).reshape(x.shape))).sum(), (y, changed)

        return jax.grad(loss, (0, 1), has_aux=True)(x, variables["params"])

    settings = {"momentum": 0.9, "epsilon": 1e-3, "dtype": dtype, "name": "norm"}
    ours, theirs = (run(kind(frozen, **settings), x, variables) for kind in (BatchNorm, nn.BatchNorm))
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        tolerance = 2e-5 if dtype == "float32" else 3e-2
        a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())
    moved = jax.tree.leaves(ours[1][1]["batch_stats"])
    same = [np.array_equal(a, b) for a, b in zip(moved, jax.tree.leaves(variables["batch_stats"]), strict=True)]
    assert all(same) if frozen else not any(same)


def test_batch_norm_starts_as_that_of_flax():
    x = jnp.ones((2, 4, 3, 5))
    ours, theirs = (kind(False).init(jax.random.key(0), x) for kind in (BatchNorm, nn.BatchNorm))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
