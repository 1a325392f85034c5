"""A 1x1 convolution as a matrix product."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from tljax.models.conv.plain import faster_on_cpu, general


def pointwise(x: Array, kernel: Array, stride: int) -> Array:
    """(b, h, w, c) with (1, 1, c, o) -> (b, h / stride, w / stride, o), without padding."""
    return faster_on_cpu(general, _form, (_of_input, _of_kernel), (stride, ((0, 0), (0, 0))), x, kernel)


def _form(x, kernel, stride, _pads):
    return _product(x[:, ::stride, ::stride], kernel[0, 0])


def _product(x, matrix):
    flat = x.reshape(-1, x.shape[-1])
    return (flat @ matrix).reshape(*x.shape[:-1], matrix.shape[-1])


def _of_kernel(x, _kernel, _y, dy, stride, _pads):
    picked = x[:, ::stride, ::stride]
    return (picked.reshape(-1, picked.shape[-1]).T @ dy.reshape(-1, dy.shape[-1]))[None, None]


def _of_input(x, kernel, _y, dy, stride, _pads):
    dx = _product(dy, kernel[0, 0].T)
    if stride > 1:
        gaps = [(0, n - 1 - (m - 1) * stride, stride - 1) for n, m in zip(x.shape[1:3], dy.shape[1:3], strict=True)]
        dx = lax.pad(dx, jnp.zeros((), dx.dtype), ((0, 0, 0), *gaps, (0, 0, 0)))
    return dx
