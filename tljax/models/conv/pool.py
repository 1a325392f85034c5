"""Maximum pooling as a maximum of shifted slices."""

import functools

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from tljax.models.conv.plain import Pads, faster_on_cpu, pad, shifts


def general_max_pool(x: Array, size: int, stride: int, pads: Pads) -> Array:
    """`lax.reduce_window`, (b, h, w, c) -> (b, y, x, c); pads count as minus infinity."""
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, size, size, 1), (1, stride, stride, 1), ((0, 0), *pads, (0, 0)))


def sliced_max_pool(x: Array, size: int, stride: int, pads: Pads) -> Array:
    """As `general_max_pool`; the gradient, 3 to 18 times faster on a CPU, is that of the first of equal maxima."""
    return faster_on_cpu(general_max_pool, _greatest, (_of_input,), (size, stride, pads), x)


def _greatest(x, size, stride, pads):
    return functools.reduce(jnp.maximum, _windows(x, size, stride, pads))


def _windows(x, size, stride, pads):
    """For each place in a window, what all windows have there, (b, y, x, c) each."""
    return shifts(pad(x, pads, -jnp.inf), (size, size), stride)


def _of_input(x, y, dy, size, stride, pads):
    free, shares = jnp.ones_like(y, bool), []
    for window in _windows(x, size, stride, pads):
        mine = free & (window == y)
        free &= ~mine
        shares.append(jnp.where(mine, dy, 0))
    return _spread(shares, x.shape, size, stride, pads)


def _spread(shares, shape, size, stride, pads):
    """The transpose of `_windows`: every share is added where it was taken from."""
    total = jnp.zeros((), shares[0].dtype)
    for number, share in enumerate(shares):
        edges = []
        for at, (low, _), length, count in zip(divmod(number, size), pads, shape[1:3], share.shape[1:3], strict=True):
            edges.append((at - low, length + low - at - stride * (count - 1) - 1, stride - 1))
        total += lax.pad(share, jnp.zeros((), share.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    return total
