"""FAB, the fast adaptive boundary attack: steps to the border of two classes that stay near the original."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from tljax.synth import eight_bit
from tljax.synth.eight_bit import Budget, Images, ImagesLike
from tljax.synth.inputs import Labels, Scores, Variables, image_keys
from tljax.synth.losses import own_score
from tljax.synth.nearest import Nearest, stretch, unreached
from tljax.synth.problem import Problem, keep_finite, make_problem, next_classes, told

_BIAS = 0.1  # greatest share of the original's own projection
_OVERSHOOT = 1.05
_BACKWARD = 0.9  # the share of the change that is kept after a success
_BISECTIONS = 30


def fab(
    scores: Scores,
    variables: Variables,
    images: ImagesLike,
    labels: Labels,
    *,
    eps: Budget | None = None,
    norm: str = "linf",
    targeted: bool = False,
    steps: int = 100,
    key: Array,
    targets: int = 9,
    quantized: bool = True,
) -> Images:
    """The smallest change, by projections onto the linearised border towards each of the next classes.

    This is FAB-T, the form in AutoAttack: a run of `steps` gradients towards each class, with a step back towards the
    original after a success. The first starts at the original, the others at a random image half as far away as the
    nearest success, or as the budget.

    Args:
        eps: greatest change that counts as success, for each image or for all; None for any.
        steps: gradients taken towards each class.
        key: of the starts; or (b,) keys, one for each image.
        targets: how many of the next classes are tried; with `targeted` the label is the only one.
        scores, variables, images, labels, norm, targeted, quantized: as `attacks.pgd`. With `quantized` the nearest
            success is stretched in the end until its rounded form succeeds.
    Returns:
        (b, h, w, c): the nearest success; where there is none, the image of the best margin met.
    Raises: as `attacks.pgd`.
    Source: Croce and Hein, 2019 (arXiv 1907.02044).

    >>> attacked = tljax.synth.fab(
    ...     net.scores, net.variables, images[:2], labels[:2], steps=3, targets=1, key=jax.random.key(0)
    ... )
    >>> attacked.shape
    (2, 32, 32, 3)
    """
    limit = (1.0 if norm == "linf" else float("inf")) if eps is None else eps
    problem = make_problem(
        scores, variables, images, labels, eps=limit, norm=norm, targeted=targeted, quantized=quantized, steps=steps
    )
    aims = problem.labels[None] if targeted else next_classes(problem, targets)
    return told(*_towards(problem, aims, image_keys(key, len(problem.images)), steps=steps))


@partial(jax.jit, static_argnames="steps")
def _towards(problem: Problem, aims, keys: Array, *, steps: int) -> tuple[Images, Bool[Array, " b"]]:
    """The images, and which of them met masked gradients."""

    def towards(nearest, aim):
        number, classes = aim
        reached = jnp.isfinite(nearest.distance)[:, None, None, None]
        radius = jnp.where(reached, nearest.distance[:, None, None, None], jnp.minimum(problem.eps, 1.0)) / 2
        own = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
        drawn = jax.vmap(partial(jax.random.uniform, shape=problem.images.shape[1:], dtype=jnp.float32, minval=-1.0))(
            own
        )
        drawn = radius * drawn / jnp.maximum(eight_bit.lengths(drawn, problem.norm), 1e-12)
        start = problem.project(problem.images + jnp.where(number > 0, drawn, 0.0))
        return _run(problem, classes, start, nearest, steps), None

    nearest, _ = jax.lax.scan(towards, unreached(problem), (jnp.arange(len(aims)), aims))
    if problem.quantized:
        nearest, _ = stretch(problem, nearest)
    return nearest.images, nearest.blind & jnp.isinf(nearest.distance)


def _run(problem: Problem, classes: Labels, start: Images, nearest: Nearest, steps: int) -> Nearest:
    def step(state, _):
        x, nearest = state
        gradient, (gap, margin) = jax.grad(partial(_gap, problem, classes), has_aux=True)(x)
        gradient = keep_finite(gradient)
        nearest = nearest.meet(problem, problem.project(x), jnp.where(_within(problem, x), margin, -jnp.inf))
        nearest = nearest._replace(blind=nearest.blind & (gradient == 0).all((-3, -2, -1)))
        success = (margin > 0)[:, None, None, None]
        level = jnp.sum(gradient * x, (-3, -2, -1)) - gap
        x = jnp.where(success, problem.images + _BACKWARD * (x - problem.images), x)
        near, far = (_to_plane(y, gradient, level, problem.norm) for y in (x, problem.images))
        sizes = [eight_bit.lengths(change, problem.norm) for change in (near, far)]
        share = jnp.minimum(sizes[0] / jnp.maximum(sum(sizes), 1e-12), _BIAS)
        moved = (1 - share) * (x + _OVERSHOOT * near) + share * (problem.images + _OVERSHOOT * far)
        return (jnp.clip(jnp.where(jnp.isfinite(moved), moved, x), 0, 1), nearest), None

    (x, nearest), _ = jax.lax.scan(step, (start, nearest), length=steps)
    _, (_, margin) = problem.objective(x)
    return nearest.meet(problem, problem.project(x), jnp.where(_within(problem, x), margin, -jnp.inf))


def _gap(problem: Problem, classes: Labels, x: Images) -> tuple[Array, tuple[Array, Array]]:
    """How far the aimed class, or with `targeted` the label, is ahead of what has to be overtaken."""
    logits = problem.logits(x)
    _, margin = problem.judge(logits)
    gap = margin if problem.targeted else own_score(logits, classes) - own_score(logits, problem.labels)
    return gap.sum(), (gap, margin)


def _within(problem: Problem, x: Images) -> Bool[Array, " b"]:
    change = eight_bit.lengths(x - problem.images, problem.norm)
    return (change <= problem.eps * (1 + 1e-6))[:, 0, 0, 0]


def _to_plane(x: Images, normal: Images, level: Float[Array, " b"], norm: str) -> Images:
    """The smallest change that brings x onto <normal, x> = level inside [0, 1], or as near as there is.

    It moves along the normal (L∞: its sign), and each pixel stops at its bound; how far is found by bisection.
    """
    way = jnp.sign(normal) if norm == "linf" else normal
    uphill = level > jnp.sum(normal * x, (-3, -2, -1))
    way = jnp.where(uphill[:, None, None, None], way, -way)
    greatest = 1 / jnp.maximum(jnp.where(way == 0, jnp.inf, jnp.abs(way)).min((-3, -2, -1)), 1e-8)

    def change(length):
        return jnp.clip(x + length[:, None, None, None] * way, 0, 1) - x

    def halve(_, bounds):
        low, high = bounds
        middle = jnp.where(low > 0, jnp.sqrt(low * high), high * 1e-2)
        value = jnp.sum(normal * (x + change(middle)), (-3, -2, -1))
        short = jnp.where(uphill, value < level, value > level)
        return jnp.where(short, middle, low), jnp.where(short, high, middle)

    _, high = jax.lax.fori_loop(0, _BISECTIONS, halve, (jnp.zeros_like(level), greatest))
    return change(high)
