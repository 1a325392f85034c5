"""Convolution and pooling with exact semantics, and forms of them that are fast on a CPU.

XLA's general convolution on a CPU is slow for depthwise filters (10 to 30 times) and wasteful for 1x1 ones.
`conv2d` chooses a form by shape, at lowering: the forms below on a CPU, `lax.conv_general_dilated` elsewhere,
so that GPUs and TPUs keep their own. Each form equals the plain one up to float32 rounding, forward and in
both gradients. The fast forms define reverse-mode derivatives only; `with plain_convolutions():` around a
trace turns them all off, which brings forward mode (`jax.jvp`, `jax.hessian`) back.

Arrays are NHWC, kernels HWIO.
"""

import contextlib
import contextvars
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from tljax import parallel

Pads = tuple[tuple[int, int], tuple[int, int]]
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
            return _pointwise(x, kernel, stride)
        if groups == x.shape[-1] == kernel.shape[-1] and kernel.shape[0] == kernel.shape[1]:
            return _depthwise(x, kernel, stride, pads)
    return _general(x, kernel, stride, pads, groups)


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
    window, strides = (1, size, size, 1), (1, stride, stride, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, ((0, 0), *pads, (0, 0)))


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
        top, left = lax.padtype_to_pads(lengths, sizes, (stride, stride), padding)
        return tuple(top), tuple(left)
    if isinstance(padding, int):
        return ((padding, padding), (padding, padding))
    return padding


def _general(x, kernel, stride, pads, groups):
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _on_cpu(form, otherwise, *operands):
    return lax.platform_dependent(*operands, cpu=form, default=otherwise)


# --- 1x1: a matrix product ---------------------------------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _pointwise(x, kernel, stride):
    return _on_cpu(
        lambda x, kernel: _product(x[:, ::stride, ::stride], kernel[0, 0]),
        lambda x, kernel: _general(x, kernel, stride, ((0, 0), (0, 0)), 1),
        x,
        kernel,
    )


def _product(x, matrix):
    flat = x.reshape(-1, x.shape[-1])
    return (flat @ matrix).reshape(*x.shape[:-1], matrix.shape[-1])


def _pointwise_forward(x, kernel, stride):
    return _pointwise(x, kernel, stride), (x, kernel)


def _pointwise_backward(stride, residuals, dy):
    def fast(x, kernel, dy):
        picked = x[:, ::stride, ::stride]
        dkernel = picked.reshape(-1, picked.shape[-1]).T @ dy.reshape(-1, dy.shape[-1])
        dx = _product(dy, kernel[0, 0].T)
        if stride > 1:
            gaps = [(0, n - 1 - (m - 1) * stride, stride - 1) for n, m in zip(x.shape[1:3], dy.shape[1:3], strict=True)]
            dx = lax.pad(dx, jnp.zeros((), dx.dtype), ((0, 0, 0), *gaps, (0, 0, 0)))
        return dx, dkernel[None, None]

    def otherwise(x, kernel, dy):
        return jax.vjp(lambda x, kernel: _general(x, kernel, stride, ((0, 0), (0, 0)), 1), x, kernel)[1](dy)

    return _on_cpu(fast, otherwise, *residuals, dy)


_pointwise.defvjp(_pointwise_forward, _pointwise_backward)


# --- depthwise: shifted multiply-adds ----------------------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _depthwise(x, kernel, stride, pads):
    return _on_cpu(
        lambda x, kernel: _shifted_sum(jnp.pad(x, ((0, 0), *pads, (0, 0))), kernel[:, :, 0], stride),
        lambda x, kernel: _general(x, kernel, stride, pads, x.shape[-1]),
        x,
        kernel,
    )


def _shift(x, i, j, stride, out):
    """The pixels of `x` that tap (i, j) of a filter meets, for an output of shape `out`."""
    stop = (x.shape[0], i + stride * (out[0] - 1) + 1, j + stride * (out[1] - 1) + 1, x.shape[3])
    return lax.slice(x, (0, i, j, 0), stop, (1, stride, stride, 1))


def _shifted_sum(x, taps, stride):
    """Valid depthwise correlation of (b, h, w, c) with (kh, kw, c): one fused loop over the output."""
    kh, kw = taps.shape[:2]
    out = ((x.shape[1] - kh) // stride + 1, (x.shape[2] - kw) // stride + 1)
    terms = (_shift(x, i, j, stride, out) * taps[i, j] for i in range(kh) for j in range(kw))
    return functools.reduce(jnp.add, terms)


def _depthwise_forward(x, kernel, stride, pads):
    return _depthwise(x, kernel, stride, pads), (x, kernel)


def _depthwise_backward(stride, pads, residuals, dy):
    def fast(x, kernel, dy):
        padded = jnp.pad(x, ((0, 0), *pads, (0, 0)))
        taps = functools.partial(_tap_gradients, stride=stride, size=kernel.shape[:2])
        dkernel = parallel.sum_over_rows(taps, padded, dy)[:, :, None]
        (top, _), (left, _) = pads
        dpadded = _transposed(dy, kernel[:, :, 0], stride, padded.shape[1:3])
        return dpadded[:, top : top + x.shape[1], left : left + x.shape[2]], dkernel.astype(kernel.dtype)

    def otherwise(x, kernel, dy):
        return jax.vjp(lambda x, kernel: _general(x, kernel, stride, pads, x.shape[-1]), x, kernel)[1](dy)

    return _on_cpu(fast, otherwise, *residuals, dy)


def _tap_gradients(x, dy, stride, size):
    """The gradient of `_shifted_sum` with respect to the taps, (kh, kw, c).

    Image by image: what the kh * kw sums read then stays in the cache, which is five times faster than all at once.
    """

    def add(total, image):
        x, dy = image[0][None], image[1][None]
        shifts = [_shift(x, i, j, stride, dy.shape[1:3]) for i in range(size[0]) for j in range(size[1])]
        return total + jnp.stack([(shift * dy).sum((0, 1, 2)) for shift in shifts]), None

    total, _ = lax.scan(add, jnp.zeros((size[0] * size[1], dy.shape[-1]), dy.dtype), (x, dy))
    return total.reshape(*size, -1)


def _transposed(dy, taps, stride, lengths):
    """The input gradient of `_shifted_sum`: for each phase of the stride, a correlation with its own taps."""
    phases = [[_phase(dy, taps[a::stride, b::stride], lengths, stride) for b in range(stride)] for a in range(stride)]
    if stride == 1:
        return phases[0][0]
    rows = [jnp.stack(row, axis=3) for row in phases]
    woven = jnp.stack(rows, axis=2)  # (b, y, phase, x, phase, c)
    b, y, _, x, _, c = woven.shape
    return woven.reshape(b, y * stride, x * stride, c)[:, : lengths[0], : lengths[1]]


def _phase(dy, taps, lengths, stride):
    out = [-(length // -stride) for length in lengths]
    kh, kw = taps.shape[:2]
    if 0 in (kh, kw):
        return jnp.zeros((dy.shape[0], *out, dy.shape[3]), dy.dtype)
    pads = [(k - 1, n - m) for k, n, m in zip((kh, kw), out, dy.shape[1:3], strict=True)]
    padded = lax.pad(dy, jnp.zeros((), dy.dtype), ((0, 0, 0), *((lo, hi, 0) for lo, hi in pads), (0, 0, 0)))
    return _shifted_sum(padded, taps[::-1, ::-1], 1)


_depthwise.defvjp(_depthwise_forward, _depthwise_backward)
