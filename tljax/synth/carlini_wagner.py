"""Carlini and Wagner's L2 attack: the smallest change that succeeds."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from tljax.errors import InputError
from tljax.synth.eight_bit import Images, ImagesLike
from tljax.synth.objectives import margin
from tljax.synth.problem import Labels, Problem, Scores, Variables, keep_finite, make_problem
from tljax.trees import select

_EDGE = 1 - 1e-5  # keeps arctanh finite at black and white


def cw_l2(
    scores: Scores,
    variables: Variables,
    images: ImagesLike,
    labels: Labels,
    *,
    eps: float | None = None,
    norm: str = "l2",
    targeted: bool = False,
    steps: int = 100,
    key: Array | None = None,
    searches: int = 6,
    confidence: float = 0.0,
    learning_rate: float = 0.01,
    first_weight: float = 1.0,
    quantized: bool = True,
) -> Images:
    """Minimises |x - x0|² + c · max(confidence - margin, 0) with Adam in tanh space, searching c by bisection.

    With `quantized`, what is judged and kept is the image at 8-bit levels, with its own distance; without, the same
    search says what rounding costs.

    Args:
        eps: greatest L2 distance that counts as success, or None for any.
        steps: of Adam in each search, so `steps * searches` gradients are taken.
        key: taken for symmetry, and not used.
        searches: bisections of c (a decade up while none succeeds).
        confidence: margin to reach, in logits.
        learning_rate: of Adam, in tanh space.
        first_weight: c in the first search.
        scores, variables, images, labels, targeted: as `attacks.pgd`.
    Returns:
        (b, h, w, c): the nearest success; where there is none, the image of the best margin met (within `eps`).
    Raises:
        InputError: a norm other than "l2"; otherwise as `attacks.pgd`.
    Source: Carlini and Wagner, 2016 (arXiv 1608.04644).

    >>> attacked = tljax.synth.cw_l2(net.scores, net.variables, images, labels, steps=3, searches=2)
    >>> bool((attacked >= 0).all() and (attacked <= 1).all())
    True
    """
    if norm != "l2":
        raise InputError(f'cw_l2 knows only norm "l2", got "{norm}": for L∞ use pgd or apgd_ce')
    radius = float("inf") if eps is None else eps
    problem = make_problem(
        scores, variables, images, labels, eps=radius, norm=norm, targeted=targeted, quantized=quantized, steps=steps
    )
    return _search(problem, confidence, learning_rate, first_weight, steps=steps, searches=searches)


class _Nearest(NamedTuple):
    """For each photo the nearest success, or while there is none the image of the best margin.

    Attributes:
        images: at 8-bit levels where these count.
        distance: (b,), L2; infinite until the first success.
        margin: (b,).
    """

    images: Images
    distance: Float[Array, " b"]
    margin: Float[Array, " b"]

    def meet(self, new: "_Nearest", success: Bool[Array, " b"]) -> "_Nearest":
        better = jnp.isinf(self.distance) & (new.margin > self.margin)
        take = jnp.where(success, new.distance < self.distance, better)
        return select(take, new._replace(distance=jnp.where(success, new.distance, self.distance)), self)


@partial(jax.jit, static_argnames=("steps", "searches"))
def _search(problem: Problem, confidence, learning_rate, first_weight, *, steps: int, searches: int) -> Images:
    images, optimiser = problem.images, optax.adam(learning_rate)
    start = jnp.arctanh((2 * images - 1) * _EDGE)

    def objective(w, weight):
        smooth = jnp.clip((jnp.tanh(w) / _EDGE + 1) / 2, 0, 1)
        kept = problem.rounded(problem.project(jax.lax.stop_gradient(smooth)))
        x = smooth + jax.lax.stop_gradient(kept - smooth)
        gained = margin(problem.scores(problem.variables, x), problem.labels, targeted=problem.targeted)
        squared = jnp.sum((x - images) ** 2, (-3, -2, -1))
        loss = squared + weight * jnp.maximum(confidence - gained, 0)
        return loss.sum(), _Nearest(kept, jnp.sqrt(squared), gained)

    def step(state, _):
        w, opt, nearest, weight, succeeded = state
        gradient, new = jax.grad(objective, has_aux=True)(w, weight)
        success = new.margin > confidence
        updates, opt = optimiser.update(keep_finite(gradient), opt)
        return (w + updates, opt, nearest.meet(new, success), weight, succeeded | success), None

    def search(state, _):
        nearest, weight, low, high = state
        state = (start, optimiser.init(start), nearest, weight, jnp.zeros(weight.shape, bool))
        (_, _, nearest, _, succeeded), _ = jax.lax.scan(step, state, length=steps)
        low, high = jnp.where(succeeded, low, weight), jnp.where(succeeded, weight, high)
        weight = jnp.where(jnp.isinf(high), 10 * weight, (low + high) / 2)
        return (nearest, weight, low, high), None

    ones = jnp.ones(images.shape[:1])
    nearest = _Nearest(images, jnp.inf * ones, -jnp.inf * ones)
    state = nearest, first_weight * ones, 0 * ones, jnp.inf * ones
    return jax.lax.scan(search, state, length=searches)[0][0].images
