"""3x3 convolutions with a quarter to two fifths of the multiplications.

Source: Lavin and Gray, "Fast algorithms for convolutional neural networks", 2015 (arXiv 1509.09308).
"""

import functools
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from tljax.models.conv.plain import Pads

# tile -> what is done to the input, to the filter and to the product, along each axis
_TRANSFORMS = {
    2: (
        ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
        ((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
        ((1, 1, 1, 0), (0, 1, -1, -1)),
    ),
    4: (
        (
            (4, 0, -5, 0, 1, 0),
            (0, -4, -4, 1, 1, 0),
            (0, 4, -4, -1, 1, 0),
            (0, -2, -1, 2, 1, 0),
            (0, 2, -1, -2, 1, 0),
            (0, 4, 0, -5, 0, 1),
        ),
        (
            (1 / 4, 0, 0),
            (-1 / 6, -1 / 6, -1 / 6),
            (-1 / 6, 1 / 6, -1 / 6),
            (1 / 24, 1 / 12, 1 / 6),
            (1 / 24, -1 / 12, 1 / 6),
            (0, 0, 1),
        ),
        ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
    ),
}


def winograd(
    x: Float[Array, "b h w c"], kernel: Float[Array, "3 3 i j"], pads: Pads, tile: int, *, turned: bool = False
) -> Float[Array, "b y x o"]:
    """The correlation of stride 1, computed for `tile` x `tile` results at once: F(2x2, 3x3) or F(4x4, 3x3).

    In float32 the first is as exact as the sum itself; the second loses about one decimal digit of a layer's largest
    value, and nothing that is seen after a whole network.

    Args:
        pads: zeros around x; negative ones cut it.
        turned: with the filters that a gradient takes: turned by 180 degrees, (3, 3, o, c) read as (3, 3, c, o).
    """
    for_input, for_filter, for_output = _TRANSFORMS[tile]
    (b, h, w, c), o = x.shape, kernel.shape[2 if turned else 3]
    height, width = (n + sum(pad) - 2 for n, pad in zip((h, w), pads, strict=True))
    down, right = -(height // -tile), -(width // -tile)
    x = _framed(x, pads, tile * down + 2, tile * right + 2)
    rows = _combined(for_input, _strided(x, 1, tile, down))
    inputs = [
        [_combined([line], _strided(row, 2, tile, right))[0].reshape(-1, c) for line in for_input] for row in rows
    ]
    products = jnp.stack(_products(inputs, _filters(kernel, for_filter, turned), turned))
    both = jnp.asarray(np.kron(for_output, for_output), x.dtype)
    # as a product, not as sums like the input: XLA would work these sums out anew for whatever reads the result
    results = (both @ products.reshape(len(products), -1)).reshape(tile, tile, b, down, right, o)
    woven = results.transpose(2, 3, 0, 4, 1, 5).reshape(b, tile * down, tile * right, o)
    return woven[:, :height, :width]


def _filters(kernel, matrix, turned):
    taps = [[kernel[i, j] for j in range(3)] for i in range(3)]
    if turned:
        taps = [row[::-1] for row in taps[::-1]]
    columns = [_combined(matrix, column) for column in zip(*taps, strict=True)]
    return [_combined(matrix, row) for row in zip(*columns, strict=True)]


def _products(inputs, filters, turned):
    shared = (((1,), (1 if turned else 0,)), ((), ()))
    return [
        lax.dot_general(x, matrix, shared)
        for row, matrices in zip(inputs, filters, strict=True)
        for x, matrix in zip(row, matrices, strict=True)
    ]


def _framed(x: Array, pads: Pads, height: int, width: int) -> Array:
    """Padded (or cut, where a pad is negative) to a whole number of tiles."""
    (top, _), (left, _) = pads
    x = x[:, max(-top, 0) : height - top, max(-left, 0) : width - left]
    frame = jnp.zeros((x.shape[0], height, width, x.shape[3]), x.dtype)
    return lax.dynamic_update_slice(frame, x, (0, max(top, 0), max(left, 0), 0))


def _strided(x: Array, axis: int, tile: int, count: int) -> list[Array]:
    """For each place in an input tile, what all tiles have there."""
    return [lax.slice_in_dim(x, i, i + tile * (count - 1) + 1, tile, axis) for i in range(tile + 2)]


def _combined(matrix: Sequence[Sequence[float]], arrays: Sequence[Array]) -> list[Array]:
    """For each line of the matrix, the sum of the arrays weighed by it."""
    return [
        functools.reduce(
            jnp.add, (a if weight == 1 else weight * a for weight, a in zip(line, arrays, strict=True) if weight)
        )
        for line in matrix
    ]
