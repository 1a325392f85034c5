"""Convolution and pooling with exact semantics, and forms of them that are fast on a CPU.

XLA's general convolution on a CPU is slow for depthwise filters (10 to 30 times) and wasteful for 1x1 and large 3x3
ones, and so is the gradient of its pooling (3 to 18 times). A form is chosen by shape, at lowering: those of
`models.conv` on a CPU, XLA's own elsewhere, so that GPUs and TPUs keep theirs. Each form equals the plain one up to
float32 rounding, forward and in both gradients. The fast forms define reverse-mode derivatives only;
`with plain_convolutions():` around a trace turns them all off, which brings forward mode (`jax.jvp`, `jax.hessian`)
back.

Arrays are NHWC, kernels HWIO.
"""

import contextlib
import contextvars
from collections.abc import Iterator

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from tljax.models.conv.dense import dense
from tljax.models.conv.depthwise import depthwise
from tljax.models.conv.patches import patches
from tljax.models.conv.plain import Pads, general
from tljax.models.conv.pointwise import pointwise
from tljax.models.conv.pool import general_max_pool, sliced_max_pool

Padding = str | int | Pads

_plain = contextvars.ContextVar("plain convolutions", default=False)


@contextlib.contextmanager
def plain_convolutions(plain: bool = True) -> Iterator[None]:
    """While the body is traced, every `conv2d` is `lax.conv_general_dilated`."""
    token = _plain.set(plain)
    try:
        yield
    finally:
        _plain.reset(token)


def conv2d(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "kh kw i o"],
    *,
    stride: int = 1,
    padding: Padding = 0,
    groups: int = 1,
) -> Float[Array, "b y x o"]:
    """Two-dimensional cross-correlation.

    Args:
        x: (b, h, w, c).
        kernel: (kh, kw, c / groups, o).
        stride: of both axes.
        padding: zeros on each side: an int for all four, ((top, bottom), (left, right)), "VALID", or "SAME"
            as TensorFlow defines it (the odd pixel goes to the bottom and the right).
        groups: feature groups; `c` for a depthwise convolution.
    """
    pads = _pads(padding, x.shape[1:3], kernel.shape[:2], stride)
    if not _plain.get():
        if kernel.shape[:2] == (1, 1) and groups == 1 and pads == ((0, 0), (0, 0)):
            return pointwise(x, kernel, stride)
        if kernel.shape[:2] == (stride, stride) and groups == 1 and pads == ((0, 0), (0, 0)):
            return patches(x, kernel)
        if groups == x.shape[-1] == kernel.shape[-1] and kernel.shape[0] == kernel.shape[1]:
            return depthwise(x, kernel, stride, pads)
        if groups == 1:
            return dense(x, kernel, stride, pads)
    return general(x, kernel, stride, pads, groups)


def max_pool(
    x: Float[Array, "b h w c"], size: int, stride: int, *, padding: int = 0, ceil_mode: bool = False
) -> Float[Array, "b y x c"]:
    """Maximum over windows. `ceil_mode` keeps the last, partial window, as torch and Caffe define it."""
    pads = []
    for length in x.shape[1:3]:
        steps = length + 2 * padding - size
        out = steps // stride + 1
        if ceil_mode and steps % stride and out * stride < length + padding:
            out += 1
        pads.append((padding, max((out - 1) * stride + size - length - padding, 0)))
    pool = general_max_pool if _plain.get() else sliced_max_pool
    return pool(x, size, stride, tuple(pads))


def avg_pool(x: Float[Array, "b h w c"], size: int, *, ceil_mode: bool = False) -> Float[Array, "b y x c"]:
    """Averages over windows of `size` x `size` side by side.

    A row or column that fills no window is left out, or with `ceil_mode` makes one of what it has, as in torch with
    `count_include_pad=False`.
    """
    lengths = x.shape[1:3]
    counts = tuple(-(n // -size) if ceil_mode else n // size for n in lengths)
    ends = tuple((0, count * size - n) for count, n in zip(counts, lengths, strict=True))
    grid = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *((*end, 0) for end in ends), (0, 0, 0)))
    sums = grid.reshape(x.shape[0], counts[0], size, counts[1], size, x.shape[3]).sum((2, 4))
    rows, columns = (
        jnp.full(count, size).at[-1].add(-max(end, 0)) for count, (_, end) in zip(counts, ends, strict=True)
    )
    return sums / (rows[:, None, None] * columns[:, None]).astype(x.dtype)


def adaptive_avg_pool(x: Float[Array, "b h w c"], size: int) -> Float[Array, "b size size c"]:
    """Averages over `size` x `size` bins of nearly equal extent, as torch's `AdaptiveAvgPool2d`."""
    if x.shape[1:3] == (size, size):
        return x
    rows, columns = (_bins(length, size, x.dtype) for length in x.shape[1:3])
    return jnp.einsum("ih,jw,bhwc->bijc", rows, columns, x)


def _bins(length: int, size: int, dtype) -> Array:
    index = jnp.arange(size)[:, None]
    start, stop = index * length // size, -((index + 1) * length // -size)
    inside = (jnp.arange(length) >= start) & (jnp.arange(length) < stop)
    return (inside / (stop - start)).astype(dtype)


def _pads(padding: Padding, lengths: tuple[int, ...], sizes: tuple[int, ...], stride: int) -> Pads:
    if isinstance(padding, str):
        edges = lax.padtype_to_pads(lengths, sizes, (stride, stride), padding)
        return tuple((before, after) for before, after in edges)
    if isinstance(padding, int):
        return ((padding, padding), (padding, padding))
    return padding
