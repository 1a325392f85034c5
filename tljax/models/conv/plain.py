"""XLA's own convolution, and the choice between it and another form when a platform is known."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Pads = tuple[tuple[int, int], ...]
"""Zeros before and after, along each axis."""


def general(
    x: Float[Array, "b h w c"], kernel: Float[Array, "kh kw i o"], stride: int, pads: Pads, groups: int = 1
) -> Float[Array, "b y x o"]:
    """`lax.conv_general_dilated` for NHWC and HWIO."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def faster_on_cpu(
    plain: Callable, form: Callable, gradients: tuple[Callable, ...], settings: tuple[Any, ...], *arrays: Array
):
    """`plain(*arrays, *settings)`, by an equal `form` where the program is lowered for a CPU; reverse mode only.

    Args:
        gradients: for each array (*arrays, result, dy, *settings) -> its gradient; on a CPU, where it is asked for.
    """
    return _result(plain, form, settings, *arrays)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))  # so that layers of one shape are traced and lowered once
def _result(plain, form, settings, *arrays):
    return lax.platform_dependent(
        *arrays, cpu=lambda *arrays: form(*arrays, *settings), default=lambda *arrays: plain(*arrays, *settings)
    )


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _slopes(plain, gradients, settings, asked, *operands):
    """The gradients of the arrays whose numbers are `asked` for."""

    def ours(*operands):
        return [gradients[i](*operands, *settings) for i in asked]

    def otherwise(*operands):
        *arrays, _, dy = operands
        slopes = jax.vjp(lambda *arrays: plain(*arrays, *settings), *arrays)[1](dy)
        return [slopes[i] for i in asked]

    return lax.platform_dependent(*operands, cpu=ours, default=otherwise)


def _forward(plain, form, gradients, settings, *arrays):
    values = tuple(array.value for array in arrays)
    result = _result(plain, form, settings, *values)
    asked = tuple(() if array.perturbed else None for array in arrays)  # in a tree, neither is a leaf
    return result, (values, result, asked)


def _backward(plain, _form, gradients, settings, saved, dy):
    values, result, asked = saved
    asked = tuple(i for i, mark in enumerate(asked) if mark is not None)
    slopes = dict(zip(asked, _slopes(plain, gradients, settings, asked, *values, result, dy), strict=True))
    return tuple(slopes.get(i) for i in range(len(values)))


faster_on_cpu.defvjp(_forward, _backward, symbolic_zeros=True)


def pad(x: Float[Array, "b h w c"], pads: Pads, value: float = 0.0) -> Float[Array, "b y x c"]:
    """`value` around each map; a negative pad cuts.

    The barrier keeps XLA from reading what lies inside from `x`, or what `x` is computed from, instead: a sum over
    shifts would then pass over two arrays.
    """
    edges = ((0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0))
    return lax.optimization_barrier(lax.pad(x, jnp.array(value, x.dtype), edges))


def shifts(x: Float[Array, "b h w c"], size: Sequence[int], stride: int) -> list[Float[Array, "b y x c"]]:
    """For each tap of a filter of `size`, row by row, the pixels that it meets; no pads."""
    b, *lengths, c = x.shape
    reach = [(n - k) // stride * stride + 1 for n, k in zip(lengths, size, strict=True)]
    taps = itertools.product(range(size[0]), range(size[1]))
    return [lax.slice(x, (0, i, j, 0), (b, i + reach[0], j + reach[1], c), (1, stride, stride, 1)) for i, j in taps]


class Turned(NamedTuple):
    """How, along one axis, the input gradient of a strided correlation is again correlations, `stride` of them.

    With `front` zeros before a filter's taps, the taps p, p + stride, ... make every `stride`-th pixel from p on.

    Attributes:
        front: less than the stride.
        steps: taps of each correlation, which meet the results in turned order.
        pads: around the gradient of the results.
    """

    front: int
    steps: int
    pads: tuple[int, int]


def turned(
    size: Sequence[int], stride: int, pads: Pads, lengths: Sequence[int], results: Sequence[int]
) -> list[Turned]:
    """Rows and columns of a filter of `size`, for images of `lengths` that gave `results`."""
    axes = []
    for taps, (before, _), pixels, made in zip(size, pads, lengths, results, strict=True):
        front, ahead = -before % stride, -(before // -stride)
        steps = -((taps + front) // -stride)
        axes.append(Turned(front, steps, (steps - 1 - ahead, -(pixels // -stride) + ahead - made)))
    return axes


def weave(phases: Float[Array, "b y x s s c"], lengths: Sequence[int]) -> Float[Array, "b h w c"]:
    """One map of every `s`-th row and column from each of the first."""
    b, y, x, stride, _, c = phases.shape
    return phases.swapaxes(2, 3).reshape(b, y * stride, x * stride, c)[:, : lengths[0], : lengths[1]]
