"""Carlini and Wagner's L2 attack: the smallest change that succeeds."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from tljax.errors import InputError
from tljax.synth import eight_bit
from tljax.synth.eight_bit import Budget, Images, ImagesLike
from tljax.synth.inputs import Labels, Scores, Variables
from tljax.synth.nearest import Nearest, stretch, unreached
from tljax.synth.problem import Problem, direction, make_problem, signed_margin, told

_RADIUS = 0.3  # of the first change, L2
_GREATEST_STRIDE, _LEAST_STRIDE = 0.5, 0.01  # of a step, as shares of the radius
_GREATEST_CHANGE, _LEAST_CHANGE = 0.1, 0.001  # of the radius, from step to step


def cw_l2(
    scores: Scores,
    variables: Variables,
    images: ImagesLike,
    labels: Labels,
    *,
    eps: Budget | None = None,
    norm: str = "l2",
    targeted: bool = False,
    steps: int = 600,
    key: Array | None = None,
    confidence: float = 0.0,
    quantized: bool = True,
) -> Images:
    """The smallest |x - x0| at which the margin exceeds `confidence`, sought by a radius of its own for each image.

    The way of Carlini and Wagner, Adam in tanh space for each of several weights of the margin, barely moves black and
    white pixels and starts anew for each weight. Here the change keeps to a sphere whose radius shrinks after a success
    and grows otherwise, less and less, and turns towards the gradient of the margin. With `quantized` the first half of
    the steps are free; the others go on from there at 8-bit levels, where small changes cost several times as much.

    Args:
        eps: greatest L2 distance that counts as success, for each image or for all; None for any.
        steps: gradients taken in all.
        key: taken for symmetry, and not used.
        confidence: margin to reach, in logits.
        scores, variables, images, labels, targeted, quantized: as `attacks.pgd`.
    Returns:
        (b, h, w, c): the nearest success; where there is none, the image of the best margin met (within `eps`).
    Raises:
        InputError: a norm other than "l2"; otherwise as `attacks.pgd`.
    Source: Carlini and Wagner, 2016 (arXiv 1608.04644) for the problem; Rony et al., 2018 (arXiv 1811.09600) for the
        radius.

    >>> attacked = tljax.synth.cw_l2(net.scores, net.variables, images, labels, steps=3)
    >>> bool((attacked >= 0).all() and (attacked <= 1).all())
    True
    """
    if norm != "l2":
        raise InputError(f'cw_l2 knows only norm "l2", got "{norm}": for L∞ use pgd or apgd_ce')
    radius = float("inf") if eps is None else eps
    problem = make_problem(
        scores, variables, images, labels, eps=radius, norm=norm, targeted=targeted, quantized=quantized, steps=steps,
        loss=signed_margin,
    )  # fmt: skip
    return told(*_search(problem, confidence, steps=steps))


@partial(jax.jit, static_argnames="steps")
def _search(problem: Problem, confidence, *, steps: int) -> tuple[Images, Bool[Array, " b"]]:
    """The images, and which of them met masked gradients."""
    images = problem.images
    radius = jnp.minimum(_RADIUS, problem.eps)
    free = steps - steps // 2 if problem.quantized else steps
    nearest = _walk(problem, lambda x: x, unreached(problem), 0 * images, radius, confidence, steps=free)
    if problem.quantized:
        nearest, change = stretch(problem, nearest, confidence)
        walk = partial(_walk, problem, problem.rounded, nearest, change, eight_bit.norms(change), confidence)
        nearest = walk(steps=steps // 2)
    return nearest.images, nearest.blind & jnp.isinf(nearest.distance)


def _walk(problem: Problem, rounded, nearest: Nearest, change, radius, confidence, *, steps: int) -> Nearest:
    """Gradients at the `rounded` images, on spheres that close in on the nearest success."""

    def step(state, heat):
        change, radius, nearest = state
        x = problem.project(problem.images + change)
        counted = rounded(x)
        gradient, margin = problem.slope(counted)
        nearest = nearest.meet(problem, counted, margin, confidence)
        nearest = nearest._replace(blind=nearest.blind & (gradient == 0).all((-3, -2, -1)))
        stride = radius * (_LEAST_STRIDE + (_GREATEST_STRIDE - _LEAST_STRIDE) * heat)
        turned = x - problem.images + stride * direction(gradient, "l2")
        rate = _LEAST_CHANGE + (_GREATEST_CHANGE - _LEAST_CHANGE) * heat
        success = (margin > confidence)[:, None, None, None]
        smaller = jnp.minimum(radius, eight_bit.norms(x - problem.images)) * (1 - rate)
        radius = jnp.minimum(jnp.where(success, smaller, radius * (1 + rate)), problem.eps)
        return (radius * direction(turned, "l2"), radius, nearest), None

    heat = (1 + jnp.cos(jnp.pi * jnp.arange(steps, dtype=jnp.float32) / max(steps, 1))) / 2
    return jax.lax.scan(step, (change, radius, nearest), heat)[0][2]
