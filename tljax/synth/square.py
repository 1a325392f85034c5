"""The Square attack: random squares, kept where they help. It sees scores only, so no network can hide from it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from tljax.synth.eight_bit import Budget, Images, ImagesLike
from tljax.synth.inputs import Labels, Scores, Variables, image_keys
from tljax.synth.problem import Best, Problem, make_problem, unmet
from tljax.trees import select

_FIRST_SHARE = 0.8  # of the pixels that the first square covers
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # queries of 10,000 after which the share is halved
_TILES = 5  # along a side, of the first change in L2
_HALF = np.float32(0.5)  # whose type is that of the draws, also where jax knows 64 bits


def square(
    scores: Scores,
    variables: Variables,
    images: ImagesLike,
    labels: Labels,
    *,
    eps: Budget,
    norm: str = "linf",
    targeted: bool = False,
    steps: int = 1000,
    key: Array,
    quantized: bool = True,
) -> Images:
    """Random search by squares that shrink, from vertical stripes (L2: from a grid of bumps), all at the budget's edge.

    Args:
        steps: queries of the scores, at most: it stops when all images have succeeded. The paper takes 10,000,
            AutoAttack 5,000.
        key: of the squares; or (b,) keys, one for each image.
        scores, variables, images, labels, eps, norm, targeted, quantized: as `attacks.pgd`. No gradient is taken.
    Returns, Raises: as `attacks.pgd`.
    Source: Andriushchenko et al., 2019 (arXiv 1912.00049). The margin is raised, with `targeted` as well.

    >>> attacked = tljax.synth.square(
    ...     net.scores, net.variables, images[:2], labels[:2], eps=8 / 255, steps=5, key=jax.random.key(0)
    ... )
    >>> bool(jnp.abs(attacked - images[:2]).max() <= 8 / 255 + 1e-6)
    True
    """
    problem = make_problem(
        scores, variables, images, labels, eps=eps, norm=norm, targeted=targeted, quantized=quantized, steps=steps
    )
    return _search(problem, image_keys(key, len(problem.images)), steps=steps)


def shares(steps: int) -> Float[np.ndarray, " s"]:
    """The share of the pixels that a square covers, at each step."""
    progress = np.arange(steps) * 10_000 // max(steps, 1)
    return (_FIRST_SHARE / 2.0 ** np.searchsorted(_HALVINGS, progress)).astype(np.float32)


@partial(jax.jit, static_argnames="steps")
def _search(problem: Problem, keys: Array, *, steps: int) -> Images:
    height, width, _ = problem.images.shape[1:]
    largest = min(height, width)
    sides = np.round(np.sqrt(shares(steps) * height * width)).astype(np.int32)
    start, propose = (_stripes, _flip) if problem.norm == "linf" else (_bumps, _shift_mass)
    if problem.norm == "l2":
        sides = np.maximum(sides, 3) // 2 * 2 + 1  # odd
        largest -= 1 - largest % 2
    sides = jnp.asarray(np.clip(sides, 1, largest))

    def visit(best: Best, change: Images) -> tuple[Best, Float[Array, " b"]]:
        x = problem.rounded(problem.project(problem.images + change))
        _, (_, margin) = problem.objective(x)
        return best.meet(x, margin), margin

    def step(state):
        number, change, reached, best = state
        own = jax.vmap(jax.random.fold_in, (0, None))(keys, number + 1)
        new = jax.vmap(partial(propose, side=sides[number]))(own, change, problem.images, problem.eps)
        best, margin = visit(best, new)
        change, reached = select(margin > reached, (new, margin), (change, reached))
        return number + 1, change, reached, best

    first = jax.vmap(start)(jax.vmap(jax.random.fold_in, (0, None))(keys, 0), problem.images, problem.eps)
    best, reached = visit(visit(unmet(problem), 0 * first)[0], first)
    reached = jnp.where(jnp.isfinite(reached), reached, -jnp.inf)  # of the change alone: the original may be nearer
    state = jnp.int32(0), first, reached, best
    state = jax.lax.while_loop(lambda s: (s[0] < steps) & (s[3].margin <= 0).any(), step, state)
    return state[3].images


def _signs(key: Array, shape: tuple[int, ...]) -> Array:
    return jnp.where(jax.random.bernoulli(key, _HALF, shape), 1.0, -1.0).astype(jnp.float32)


def _window(key: Array, height: int, width: int, side: Array) -> tuple[Array, Array]:
    """Rows, (h, 1), and columns, (1, w), counted from the corner of a square of this side that lies in the image."""
    corner = jax.random.uniform(key, (2,), jnp.float32) * jnp.array([height - side + 1, width - side + 1])
    row, column = corner.astype(jnp.int32)
    return jnp.arange(height)[:, None] - row, jnp.arange(width)[None, :] - column


def _inside(window: tuple[Array, Array], side: Array) -> Array:
    row, column = window
    return ((row >= 0) & (row < side) & (column >= 0) & (column < side))[..., None]


def _stripes(key: Array, image: Array, eps: Array) -> Array:
    return jnp.broadcast_to(eps * _signs(key, (1, *image.shape[1:])), image.shape)


def _flip(key: Array, change: Array, image: Array, eps: Array, *, side: Array) -> Array:
    place_key, sign_key = jax.random.split(key)
    height, width = image.shape[:2]
    window = _window(place_key, height, width, side)
    return jnp.where(_inside(window, side), eps * _signs(sign_key, image.shape[2:]), change)


def _bumps(key: Array, image: Array, eps: Array) -> Array:
    height, width, channels = image.shape
    side = max(min(height, width) // _TILES, 1)

    def add(number, total):
        turn_key, sign_key = jax.random.split(jax.random.fold_in(key, number))
        row, column = side * (number // _TILES), side * (number % _TILES)
        window = jnp.arange(height)[:, None] - row, jnp.arange(width)[None, :] - column
        return total + _bump(turn_key, window, jnp.int32(side), max(height, width)) * _signs(sign_key, (channels,))

    total = jax.lax.fori_loop(0, _TILES * _TILES, add, jnp.zeros(image.shape, jnp.float32))
    return eps * total / _length(total)


def _shift_mass(key: Array, change: Array, image: Array, eps: Array, *, side: Array) -> Array:
    """The change in one window, given up, lets that in another grow by a bump."""
    height, width, channels = image.shape
    place_key, other_key, turn_key, sign_key = jax.random.split(key, 4)
    change = jnp.clip(image + change, 0, 1) - image
    window = _window(place_key, height, width, side)
    here, other = _inside(window, side), _inside(_window(other_key, height, width, side), side)
    each = partial(jnp.sum, axis=(0, 1), keepdims=True)
    freed = each(jnp.where(here | other, change * change, 0))
    left = jnp.maximum(eps * eps - jnp.sum(change * change), 0) / channels
    old = jnp.where(here, change, 0) / (1e-12 + jnp.sqrt(each(jnp.where(here, change * change, 0))))
    new = old + _bump(turn_key, window, side, max(height, width)) * _signs(sign_key, (channels,))
    new = new / (1e-12 + jnp.sqrt(each(new * new))) * jnp.sqrt(left + freed)
    change = jnp.where(here, new, jnp.where(other, 0.0, change))
    return eps * change / _length(change)


def _bump(key: Array, window: tuple[Array, Array], side: Array, longest: int) -> Float[Array, "h w 1"]:
    """Two opposite hills that fill a window, of length 1: steps of 1/k² from the edge, half are turned."""
    row, column = window
    row, column = (jnp.where(jax.random.bernoulli(key, _HALF), a, b) for a, b in ((row, column), (column, row)))
    row, column = jnp.broadcast_arrays(row, column)
    upper = side // 2
    heights = jnp.asarray(np.concatenate([[0], np.cumsum(1 / np.arange(1, longest + 2) ** 2)]), jnp.float32)

    def hill(start, rows):
        across, along = jnp.abs(row - start - rows // 2), jnp.abs(column - side // 2)
        away, reach = jnp.maximum(across, along), jnp.maximum(rows // 2, side // 2) + 1
        return jnp.where(away < reach, heights[reach] - heights[jnp.minimum(away, longest + 1)], 0.0)

    bump = jnp.where(row < upper, hill(0, upper), -hill(upper, side - upper))[..., None]
    bump = jnp.where(_inside((row, column), side), bump, 0.0)
    return bump / _length(bump)


def _length(x: Array) -> Array:
    return jnp.maximum(jnp.sqrt(jnp.sum(x * x)), 1e-12)
