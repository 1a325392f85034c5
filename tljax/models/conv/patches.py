"""A convolution whose windows lie side by side, as those that cut an image into patches, as a matrix product."""

import math

from jaxtyping import Array


def patches(x: Array, kernel: Array) -> Array:
    """(b, h, w, c) with (s, s, c, o) -> (b, h / s, w / s, o); rows and columns that fill no window are left out.

    A product everywhere: on a CPU XLA's own form is slow, and its gradients more so. It has derivatives of both modes.
    """
    size, features = kernel.shape[0], kernel.shape[-1]
    b, rows, columns, c = x.shape[0], x.shape[1] // size, x.shape[2] // size, x.shape[3]
    x = x[:, : rows * size, : columns * size].reshape(b, rows, size, columns, size, c).swapaxes(2, 3)
    flat = x.reshape(b * rows * columns, size * size * c) @ kernel.reshape(math.prod(kernel.shape[:3]), features)
    return flat.reshape(b, rows, columns, features)
