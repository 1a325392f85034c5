"""Random changes that an image must survive, so that what it shows does not hang on single pixels."""

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Images = Float[Array, "n h w c"]


@dataclass(frozen=True)
class Transforms:
    """How far images are moved at random.

    Attributes:
        shift: greatest shift in each direction, as a share of the side.
        zoom: smallest and greatest zoom, drawn log-uniformly; above 1 shows less of the image, enlarged.
        rotate: greatest angle, in degrees.
        flip: mirror half of the images.
        noise: greatest standard deviation of added uniform noise, drawn uniformly; in units of the pixel range.
        tint: greatest change of each channel's gain, and of its offset (halved).
    """

    shift: float = 0.13
    zoom: tuple[float, float] = (0.6, 1.3)
    rotate: float = 15.0
    flip: bool = True
    noise: float = 0.2
    tint: float = 0.3


def random_transform(images: Images, transforms: Transforms, *, key: Array) -> Images:
    """Each image moved, zoomed, turned, mirrored and tinted on its own; grey comes in at the edges.

    Noise is one for all, which saves the drawing of it, but its strength is each image's own.

    Args:
        images: (n, size, size, c), in [0, 1].
        key: consumed.
    """
    n, size, _, channels = images.shape
    keys = jax.random.split(key, 7)
    low, high = map(math.log, transforms.zoom)
    zoom = jnp.exp(jax.random.uniform(keys[0], (n,), minval=low, maxval=high))
    angle = math.radians(transforms.rotate) * jax.random.uniform(keys[1], (n,), minval=-1.0)
    shift = size * transforms.shift * jax.random.uniform(keys[2], (n, 2), minval=-1.0)
    side = jax.random.rademacher(keys[3], (n,), jnp.float32) if transforms.flip else jnp.ones(n)
    turn = jnp.stack([jnp.cos(angle), jnp.sin(angle), -jnp.sin(angle) * side, jnp.cos(angle) * side], -1)
    moved = affine(images - 0.5, turn.reshape(n, 2, 2) / zoom[:, None, None], shift, math.ceil(2 * reach(transforms)))
    if transforms.tint:
        gain, offset = transforms.tint * jax.random.uniform(keys[4], (2, n, 1, 1, channels), minval=-1.0)
        moved = moved * (1 + gain) + offset / 2
    if transforms.noise:
        spread = transforms.noise * math.sqrt(3) * jax.random.uniform(keys[5], (n, 1, 1, 1))
        moved = moved + spread * jax.random.uniform(keys[6], moved.shape[1:], minval=-1.0)
    return moved + 0.5


def reach(transforms: Transforms) -> float:
    """How far from a source pixel's own place, in pixels along an axis, a result that takes from it can lie."""
    angle = math.radians(min(transforms.rotate, 45.0))
    return transforms.zoom[1] * (math.cos(angle) + math.sin(angle))


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def affine(images: Images, matrix: Float[Array, "n 2 2"], shift: Float[Array, "n 2"], window: int) -> Images:
    """Bilinear resampling: the result at p is the image at matrix @ p + shift, both from the centre; 0 outside.

    The gradient reaches the images only. It is gathered, not scattered (ten times faster on a CPU): for each pixel,
    from the `window` x `window` results around its place, which must cover all those that took from it.

    Args:
        images: (n, h, w, c).
        matrix: rows are (row, column), in pixels.
        shift: (row, column), in pixels.
        window: at least twice the `reach`, rounded up.
    """
    return _affine_forward(images, matrix, shift, window)[0]


def _affine_forward(images, matrix, shift, window):
    row, column = _places(*images.shape[1:3], matrix, shift)
    top, left = jnp.floor(row), jnp.floor(column)
    planes, total = _planes(images), 0.0
    for y in (top, top + 1):
        for x in (left, left + 1):
            total += (_hat(row - y) * _hat(column - x))[:, None] * _take(planes, y, x)
    return total.transpose(0, 2, 3, 1), (matrix, shift)


def _affine_backward(window, saved, cotangent):
    matrix, shift = saved
    inverse = jnp.linalg.inv(matrix)
    row, column = _places(*cotangent.shape[1:3], inverse, -jnp.einsum("nij,nj->ni", inverse, shift))
    top, left = jnp.floor(row - window / 2) + 1, jnp.floor(column - window / 2) + 1
    planes = _planes(cotangent)

    def add(total, i):
        for j in range(window):
            down, right = top + i - row, left + j - column
            y, x = (jnp.einsum("n,nyx->nyx", m, down) + jnp.einsum("n,nyx->nyx", k, right) for m, k in _rows(matrix))
            total += (_hat(y) * _hat(x))[:, None] * _take(planes, top + i, left + j)
        return total, None

    # a loop, for the sum to be in memory: fused with what goes on with it, channels last, it takes twice as long
    total, _ = lax.scan(add, jnp.zeros_like(planes), jnp.arange(window, dtype=planes.dtype))
    return total.transpose(0, 2, 3, 1), jnp.zeros_like(matrix), jnp.zeros_like(shift)


affine.defvjp(_affine_forward, _affine_backward)


def _rows(matrix: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    return (matrix[:, 0, 0], matrix[:, 0, 1]), (matrix[:, 1, 0], matrix[:, 1, 1])


def _places(height: int, width: int, matrix: Array, shift: Array) -> tuple[Array, Array]:
    """Where each result is taken from: rows and columns, (n, h, w) each, in pixels."""
    middle = (height - 1) / 2, (width - 1) / 2
    y, x = jnp.arange(height)[:, None] - middle[0], jnp.arange(width)[None, :] - middle[1]
    row, column = (
        m[:, None, None] * y + k[:, None, None] * x + s[:, None, None] + centre
        for (m, k), s, centre in zip(_rows(matrix), shift.T, middle, strict=True)
    )
    return row, column


def _planes(images: Images) -> Float[Array, "n c h w"]:
    """Channels apart: weights are then worked out for many pixels at once."""
    return images.transpose(0, 3, 1, 2)


def _hat(distance: Array) -> Array:
    """The weight of bilinear interpolation along one axis."""
    return jnp.maximum(1 - jnp.abs(distance), 0.0)


def _take(planes: Array, row: Array, column: Array) -> Float[Array, "n c h w"]:
    """The pixels at whole rows and columns, (n, h, w) each; 0 outside."""
    n, channels, height, width = planes.shape
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    place = jnp.clip(row, 0, height - 1) * width + jnp.clip(column, 0, width - 1)
    flat = planes.reshape(n, channels, height * width)
    taken = jnp.take_along_axis(flat, place.astype(jnp.int32).reshape(n, 1, -1), 2, mode="promise_in_bounds")
    return jnp.where(inside[:, None], taken.reshape(planes.shape), 0.0)
