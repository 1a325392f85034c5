"""Whether two small pictures show the same: one is moved and stretched onto the other, then their details compared."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

_STEPS = 10
_MOST = 0.25
_WINDOW = 5
_DAMPING = 1e-3


@jax.jit
@jax.default_matmul_precision("highest")
def detail_correlation(
    left: UInt8[Array | np.ndarray, "b n n"], right: UInt8[Array | np.ndarray, "b n n"]
) -> Float[Array, " b"]:
    """How alike the details of grey pictures are once the right one lies on the left: (b,), 1 for equal, 0 for unlike.

    Gauss-Newton finds scale (up to a quarter) and shift (up to an eighth of the side) of both axes at half the
    resolution, by the brightness where both overlap, its level and contrast taken out. Then what a blur of 5 pixels
    takes away is correlated: chance agreement of a bright middle or a dark floor does not count.

    Source: Lucas and Kanade, 1981; Baker and Matthews, 2004.
    """
    return jax.vmap(_one)(jnp.asarray(left, jnp.float32), jnp.asarray(right, jnp.float32))


def _one(left: Float[Array, "n n"], right: Float[Array, "n n"]) -> Float[Array, ""]:
    small = _halved(left), _halved(right)
    place, _ = jax.lax.scan(lambda place, _: (_step(place, *small), None), jnp.zeros(4), None, length=_STEPS)
    moved, overlap = _moved(right, place)
    return jnp.sum(_normalised(_detail(left), overlap) * _normalised(_detail(moved), overlap))


def _step(place: Float[Array, " 4"], left: Float[Array, "n n"], right: Float[Array, "n n"]) -> Float[Array, " 4"]:
    """One Gauss-Newton step for (scale - 1, shift) of rows, then of columns."""
    moved, overlap = _moved(right, place)
    far = (jnp.arange(len(moved)) + 0.5) / len(moved) * 2 - 1
    down, across = (_slope(moved, axis) * len(moved) / 2 for axis in (0, 1))
    slopes = jnp.stack([far[:, None] * down, down, far * across, across])
    shown = _normalised(moved, overlap)
    length = jnp.sqrt(jnp.sum(jnp.square(moved - _mean(moved, overlap)) * overlap) + 1e-6)
    slopes = (slopes - jax.vmap(_mean, (0, None))(slopes, overlap)[:, None, None]) * overlap / length
    slopes = (slopes - jnp.sum(slopes * shown, (1, 2), keepdims=True) * shown).reshape(4, -1)
    wrong = (_normalised(left, overlap) - shown).ravel()
    step = jnp.linalg.solve(slopes @ slopes.T + _DAMPING * jnp.eye(4), slopes @ wrong)
    return jnp.clip(place + step, -_MOST, _MOST)


def _slope(picture: Float[Array, "n n"], axis: int) -> Float[Array, "n n"]:
    """Half the difference of the pixels before and after each along an axis; the edge is continued."""
    padded = jnp.pad(picture, [(1, 1) if i == axis else (0, 0) for i in (0, 1)], mode="edge")
    after, before = (jax.lax.slice_in_dim(padded, i, i + len(picture), axis=axis) for i in (2, 0))
    return (after - before) / 2


def _moved(picture: Float[Array, "n n"], place: Float[Array, " 4"]) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
    """The picture, each axis scaled and shifted, and where it covers the square (1, elsewhere 0)."""
    (rows, in_rows), (columns, in_columns) = (_axis(len(picture), *place[i : i + 2]) for i in (0, 2))
    return rows @ picture @ columns.T, in_rows[:, None] * in_columns


def _axis(count: int, stretch: Array, shift: Array) -> tuple[Float[Array, "n n"], Float[Array, " n"]]:
    """The matrix of linear interpolation at the moved places of an axis from -1 to 1, and which lie on it."""
    places = ((jnp.arange(count) + 0.5) / count * 2 - 1) * (1 + stretch) + shift
    pixels = jnp.clip((places + 1) / 2 * count - 0.5, 0, count - 1)
    return jnp.maximum(0, 1 - jnp.abs(pixels[:, None] - jnp.arange(count))), (jnp.abs(places) <= 1).astype(jnp.float32)


def _normalised(picture: Float[Array, "n n"], weights: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """Mean 0 and length 1 where the weights are 1, and 0 elsewhere."""
    apart = (picture - _mean(picture, weights)) * weights
    return apart / jnp.sqrt(jnp.sum(apart * apart) + 1e-6)


def _mean(picture: Float[Array, "n n"], weights: Float[Array, "n n"]) -> Float[Array, ""]:
    return jnp.sum(picture * weights) / jnp.maximum(weights.sum(), 1)


def _detail(picture: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """What a blur takes away."""
    padded = jnp.pad(picture, _WINDOW // 2, mode="edge")
    return picture - jax.lax.reduce_window(padded, 0.0, jax.lax.add, (_WINDOW,) * 2, (1, 1), "valid") / _WINDOW**2


def _halved(picture: Float[Array, "n n"]) -> Float[Array, "m m"]:
    return picture.reshape(len(picture) // 2, 2, -1, 2).mean((1, 3))
