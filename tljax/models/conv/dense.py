"""A dense convolution (all channels to all), each of its three products in its fastest form."""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from tljax.distributed import sharding
from tljax.models.conv.plain import Pads, faster_on_cpu, general, pad, shifts, turned, weave
from tljax.models.conv.winograd import winograd


def dense(x: Array, kernel: Array, stride: int, pads: Pads) -> Array:
    """(b, h, w, c) with (kh, kw, c, o) -> (b, y, x, o)."""
    return faster_on_cpu(general, _correlation, (_of_input, _of_filters), (stride, pads), x, kernel)


def _correlation(x, kernel, stride, pads):
    tile = _tile(x, kernel, stride)
    if tile:
        return winograd(x, kernel, pads, tile)
    return _multiply_adds(x, kernel, stride, pads) if _narrow(kernel, stride) else general(x, kernel, stride, pads)


def _narrow(kernel, stride):
    """Whether these are the filters of a small network's first layer: XLA's own form is slow for 3 to 32 channels."""
    few = kernel.shape[2] <= 4 and kernel.shape[3] <= 32
    return few and kernel.shape[:2] == (3, 3) and stride > 1 and kernel.dtype == jnp.float32


def _multiply_adds(x, kernel, stride, pads):
    """A sum over taps and channels, as one fused loop over the output."""
    met = zip(shifts(pad(x, pads), kernel.shape[:2], stride), kernel.reshape(-1, *kernel.shape[2:]), strict=True)
    return functools.reduce(jnp.add, (pixels[..., c, None] * tap[c] for pixels, tap in met for c in range(x.shape[3])))


def _tile(x, kernel, stride):
    """The side of Winograd's tiles, or 0 where the direct form is as fast, or too little is gained for the compiler."""
    (b, height, width, _), channels = x.shape, kernel.shape[2:]
    if kernel.shape[:2] != (3, 3) or stride != 1 or x.dtype != jnp.float32 or min(channels) < 32:
        return 0
    if not _known(b, height, width) or b * height * width * math.prod(kernel.shape) < 5e8:
        return 0
    if min(channels) < 128 and height * width > 128**2:  # all time would go into moving the tiles
        return 0
    return 4 if min(height, width) > 16 else 2


def _known(*lengths):
    """Whether these are numbers, and not names for any number, as `jax.export` uses them."""
    return all(isinstance(length, int) for length in lengths)


def _of_input(x, kernel, _y, dy, stride, pads):
    """A correlation with the turned filters, which again may be Winograd's."""
    lengths = x.shape[1:3]
    if stride == 1:
        edges = zip(kernel.shape[:2], pads, lengths, dy.shape[1:3], strict=True)
        around = tuple((size - 1 - before, n - m + before) for size, (before, _), n, m in edges)
        tile = _tile(dy, kernel, 1)
        if tile:
            return winograd(dy, kernel, around, tile, turned=True)
        return general(dy, kernel[::-1, ::-1].swapaxes(2, 3), 1, around)
    if kernel.shape[2] <= 4:
        return _phases_at_once(dy, kernel, stride, pads, lengths)
    return jax.vjp(lambda x: general(x, kernel, stride, pads), x)[1](dy)[0]


def _phases_at_once(dy, kernel, stride, pads, lengths):
    """The input gradient of a strided convolution of few channels, as of images: its phases are channels of one
    correlation, and are woven together afterwards ("sub-pixel convolution")."""
    *sizes, c, o = kernel.shape
    axes = turned(sizes, stride, pads, lengths, dy.shape[1:3])
    steps = [axis.steps for axis in axes]
    spare = tuple((axis.front, stride * axis.steps - size - axis.front) for axis, size in zip(axes, sizes, strict=True))
    taps = pad(kernel.reshape(1, *sizes, c * o), spare).reshape(steps[0], stride, steps[1], stride, c, o)
    filters = taps[::-1, :, ::-1].transpose(0, 2, 5, 1, 3, 4).reshape(*steps, o, stride * stride * c)
    around = [n - 1 for n in steps]  # XLA's form for a correlation that has other pads is slower than what is cut here
    phases = general(dy, filters, 1, tuple((n, n) for n in around))
    phases = pad(phases, tuple((low - n, high - n) for (*_, (low, high)), n in zip(axes, around, strict=True)))
    return weave(phases.reshape(*phases.shape[:3], stride, stride, c), lengths)


def _of_filters(x, kernel, _y, dy, stride, pads):
    """As matrix products; XLA's own convolution is up to 9 times slower, on large maps, and seldom as fast.

    With many channels one for each tap, with few one for all taps at once (`_columns_gradient`).
    """
    if not _known(*dy.shape[1:3]):
        return jax.vjp(lambda kernel: general(x, kernel, stride, pads), kernel)[1](dy)[0]
    x, size = pad(x, pads), kernel.shape[:2]
    if min(kernel.shape[2:]) >= 128:
        flat = _flat(dy)
        taps = [_flat(tap).T @ flat for tap in shifts(x, size, stride)]
        return jnp.stack(taps).reshape(kernel.shape)
    columns = functools.partial(_columns_gradient, stride=stride, size=size)
    return sharding.sum_over_rows(columns, x, dy).reshape(kernel.shape)


def _columns_gradient(x, dy, stride, size):
    """(taps * c, o): what all taps met, side by side, times the gradient of what came out; image by image, which keeps
    the columns small ("im2col")."""

    def add(total, image):
        x, dy = image[0][None], image[1][None]
        columns = jnp.concatenate([_flat(tap) for tap in shifts(x, size, stride)], axis=1)
        return total + columns.T @ _flat(dy), None

    start = jnp.zeros((math.prod(size) * x.shape[-1], dy.shape[-1]), dy.dtype)
    return lax.scan(add, start, (x, dy))[0]


def _flat(x):
    return x.reshape(-1, x.shape[-1])
