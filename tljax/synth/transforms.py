"""Random changes that an image must survive, so that what it shows does not hang on single pixels."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Integer

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

    >>> still = tljax.synth.Transforms(shift=0.0, zoom=(1.0, 1.0), rotate=0.0, flip=False, noise=0.0, tint=0.0)
    >>> moved = tljax.synth.random_transform(jnp.asarray(images), still, key=jax.random.key(0))
    >>> np.allclose(moved, images, atol=1e-5)
    True
    """

    shift: float = 0.13
    zoom: tuple[float, float] = (0.6, 1.3)
    rotate: float = 15.0
    flip: bool = True
    noise: float = 0.2
    tint: float = 0.3


def random_transform(
    images: Images, transforms: Transforms, *, key: Array, seeds: Integer[Array, " n"] | None = None
) -> Images:
    """Each image moved, zoomed, turned, mirrored and tinted on its own; grey comes in at the edges.

    Noise is one for all, which saves the drawing of it, but its strength is each image's own.

    Args:
        images: (n, size, size, c), in [0, 1].
        key: consumed.
        seeds: (n,), what each image's draws hang on beside the key; by default its place in the batch.

    >>> tljax.synth.random_transform(jnp.asarray(images), tljax.synth.Transforms(), key=jax.random.key(0)).shape
    (8, 32, 32, 3)
    """
    n, size, _, channels = images.shape
    noise_key, own_key = jax.random.split(key)
    seeds = jnp.arange(n) if seeds is None else seeds
    keys = jax.vmap(lambda seed: jax.random.split(jax.random.fold_in(own_key, seed), 6))(seeds)

    def uniform(number, shape=(), low=-1.0, high=1.0):
        draw = partial(jax.random.uniform, shape=shape, dtype=jnp.float32, minval=low, maxval=high)
        return jax.vmap(draw)(keys[:, number])

    zoom = jnp.exp(uniform(0, (), *map(math.log, transforms.zoom)))
    angle = math.radians(transforms.rotate) * uniform(1)
    shift = size * transforms.shift * uniform(2, (2,))
    side = jnp.where(uniform(3) < 0, -1.0, 1.0).astype(jnp.float32) if transforms.flip else jnp.ones(n, jnp.float32)
    turn = jnp.stack([jnp.cos(angle), jnp.sin(angle), -jnp.sin(angle) * side, jnp.cos(angle) * side], -1)
    window = math.ceil(2 * reach(transforms) + 0.25)  # a quarter more, as places are rounded
    moved = affine(images - 0.5, turn.reshape(n, 2, 2) / zoom[:, None, None], shift, window)
    if transforms.tint:
        gain, offset = transforms.tint * uniform(4, (2, 1, 1, channels)).swapaxes(0, 1)
        moved = moved * (1 + gain) + offset / 2
    if transforms.noise:
        spread = transforms.noise * math.sqrt(3) * uniform(5, (1, 1, 1), low=0.0)
        moved = moved + spread * jax.random.uniform(noise_key, moved.shape[1:], jnp.float32, minval=-1.0)
    return moved + 0.5


def reach(transforms: Transforms) -> float:
    """How far from a source pixel's own place, in pixels along an axis, a result that takes from it can lie."""
    angle = math.radians(min(transforms.rotate, 45.0))
    return transforms.zoom[1] * (math.cos(angle) + math.sin(angle))


def affine(images: Images, matrix: Float[Array, "n 2 2"], shift: Float[Array, "n 2"], window: int) -> Images:
    """Bilinear resampling: the result at p is the image at matrix @ p + shift, both from the centre; 0 outside.

    Matrix and shift are rounded to 1/4096.

    The gradient reaches the images only. It is gathered, not scattered (faster on a CPU): for each pixel,
    from the `window` x `window` results around its place, which must cover all those that took from it.

    Args:
        images: (n, h, w, c).
        matrix: rows are (row, column), in pixels.
        shift: (row, column), in pixels.
        window: at least twice the `reach`, and a little more for the rounding.
    """
    return _affine(images, matrix, shift, window)


def _affine_forward(images: Images, matrix: Array, shift: Array, window: int) -> tuple[Images, tuple[Array, Array]]:
    matrix, shift = _exact(matrix), _exact(shift)
    row, column = _moved(*_grid(images), matrix, shift, *images.shape[1:3])
    top, left = jnp.floor(row), jnp.floor(column)
    down, right = row - top, column - left

    def resample(take):
        upper, lower = ((1 - right) * take(i, 0) + right * take(i, 1) for i in (0, 1))
        return (1 - down) * upper + down * lower

    return _each_channel(resample, images, top, left, 2), (matrix, shift)


def _affine_backward(window, saved, cotangent):
    matrix, shift = saved
    lengths, grid, inverse = cotangent.shape[1:3], _grid(cotangent), _exact(jnp.linalg.inv(matrix))
    row, column = _moved(*grid, inverse, _exact(-jnp.einsum("nij,nj->ni", inverse, shift)), *lengths)
    top, left = jnp.floor(row - window / 2) + 1, jnp.floor(column - window / 2) + 1
    # how far the first result of each window took from the pixel that the window belongs to
    away = [place - own for place, own in zip(_moved(top, left, matrix, shift, *lengths), grid, strict=True)]

    def resample(take):
        total = 0.0
        for i, j in itertools.product(range(window), repeat=2):
            y, x = (first + (m * i + k * j)[:, None, None] for first, (m, k) in zip(away, _rows(matrix), strict=True))
            total += _hat(y) * _hat(x) * take(i, j)
        return total

    return _each_channel(resample, cotangent, top, left, window), jnp.zeros_like(matrix), jnp.zeros_like(shift)


_affine = jax.custom_vjp(lambda *arguments: _affine_forward(*arguments)[0], nondiff_argnums=(3,))
_affine.defvjp(_affine_forward, _affine_backward)


def _exact(numbers: Array) -> Array:
    """Rounded, so that sums of their products with places in images of up to 1,024 pixels are exact in float32.

    A compiler may work out a place twice, each time with a rounding of its own: weight and pixel would then belong to
    different neighbours.
    """
    return jnp.round(numbers * 4096) / 4096


def _rows(matrix: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    return (matrix[:, 0, 0], matrix[:, 0, 1]), (matrix[:, 1, 0], matrix[:, 1, 1])


def _grid(images: Images) -> tuple[Array, Array]:
    """The rows, (h, 1), and the columns, (1, w), of pixels."""
    return jnp.arange(images.shape[1])[:, None], jnp.arange(images.shape[2])[None, :]


def _moved(row: Array, column: Array, matrix: Array, shift: Array, height: int, width: int) -> tuple[Array, Array]:
    """Where the results at these rows and columns are taken from: rows and columns, (n, h, w) each, in pixels."""
    middle = (height - 1) / 2, (width - 1) / 2
    y, x = row - middle[0], column - middle[1]
    row, column = (
        m[:, None, None] * y + k[:, None, None] * x + s[:, None, None] + centre
        for (m, k), s, centre in zip(_rows(matrix), shift.T, middle, strict=True)
    )
    return row, column


def _hat(distance: Array) -> Array:
    """The weight of bilinear interpolation along one axis."""
    return jnp.maximum(1 - jnp.abs(distance), 0.0)


def _each_channel(resample: Callable, images: Images, top: Array, left: Array, window: int) -> Images:
    """`resample(take)` for each channel, where `take(i, j)` are the pixels at `top` + i, `left` + j; 0 outside.

    A loop, for each plane to be in memory before the channels are woven again. Arrays are flattened inside it: outside,
    XLA would join that with the padding, and find each number's place by divisions.
    """
    n, height, width, channels = images.shape
    pixels = jnp.pad(images, ((0, 0), (window, window), (window, window), (0, 0)))
    pitch = width + 2 * window
    corner = (jnp.clip(top, -window, height) + window) * pitch + jnp.clip(left, -window, width) + window
    corner = channels * corner.astype(jnp.int32)

    def step(planes, c):
        def take(i, j):
            place = (corner + (channels * (i * pitch + j) + c)).reshape(n, -1)
            return jnp.take_along_axis(pixels.reshape(n, -1), place, 1, mode="promise_in_bounds").reshape(top.shape)

        return [*planes[1:], resample(take)], None

    planes, _ = lax.scan(step, [jnp.zeros(top.shape, images.dtype)] * channels, jnp.arange(channels))
    return jnp.stack(planes, -1)
