"""Carlini and Wagner's L2 attack: the smallest change that succeeds."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from tljax.errors import InputError
from tljax.synth import eight_bit
from tljax.synth.attacks import Images, Labels, Scores, Variables, check, keep_finite
from tljax.synth.objectives import margin

_EDGE = 1 - 1e-5  # keeps arctanh finite at black and white


def cw_l2(
    scores: Scores,
    variables: Variables,
    images: Images,
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

    With `quantized`, what is judged and kept is the image on the 8-bit lattice, with its own distance; without, the
    same search says what rounding costs.

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
    """
    if norm != "l2":
        raise InputError(f'cw_l2 knows only norm "l2", got "{norm}": for L∞ use pgd or apgd_ce')
    radius = float("inf") if eps is None else eps
    images, labels = check(scores, variables, images, labels, eps=radius, norm=norm, steps=steps)
    settings = {"targeted": targeted, "steps": steps, "searches": searches, "quantized": quantized}
    numbers = (radius, confidence, learning_rate, first_weight)
    return _search(scores, variables, images, labels, numbers, **settings)


@partial(jax.jit, static_argnames=("scores", "targeted", "steps", "searches", "quantized"))
def _search(scores, variables, images, labels, numbers, *, targeted, steps, searches, quantized):
    radius, confidence, learning_rate, first_weight = numbers
    optimiser = optax.adam(learning_rate)
    start = jnp.arctanh((2 * images - 1) * _EDGE)

    def judged(x):
        x = eight_bit.project(x, images, radius, "l2")
        return eight_bit.quantize(x, images, radius, "l2") if quantized else x

    def objective(w, weight):
        smooth = jnp.clip((jnp.tanh(w) / _EDGE + 1) / 2, 0, 1)
        kept = judged(jax.lax.stop_gradient(smooth))
        x = smooth + jax.lax.stop_gradient(kept - smooth)
        gained = margin(scores(variables, x), labels, targeted=targeted)
        squared = jnp.sum((x - images) ** 2, (-3, -2, -1))
        loss = squared + weight * jnp.maximum(confidence - gained, 0)
        return loss.sum(), (kept, jnp.sqrt(squared), gained)

    def step(state, _):
        w, opt, best, weight, succeeded = state
        gradient, (x, distance, gained) = jax.grad(objective, has_aux=True)(w, weight)
        won = gained > confidence
        updates, opt = optimiser.update(keep_finite(gradient), opt)
        return (w + updates, opt, _nearer(best, x, distance, gained, won), weight, succeeded | won), None

    def search(state, _):
        best, weight, low, high = state
        state = (start, optimiser.init(start), best, weight, jnp.zeros(weight.shape, bool))
        (_, _, best, _, succeeded), _ = jax.lax.scan(step, state, length=steps)
        low, high = jnp.where(succeeded, low, weight), jnp.where(succeeded, weight, high)
        weight = jnp.where(jnp.isinf(high), 10 * weight, (low + high) / 2)
        return (best, weight, low, high), None

    ones = jnp.ones(images.shape[:1])
    best = (images, jnp.inf * ones, -jnp.inf * ones)
    state = best, first_weight * ones, 0 * ones, jnp.inf * ones
    return jax.lax.scan(search, state, length=searches)[0][0][0]


def _nearer(best, x, distance, gained, won):
    """Keeps the nearest success, or while there is none the best margin; distance is inf until the first success."""
    kept, kept_distance, kept_margin = best
    none_yet = jnp.isinf(kept_distance)
    take = jnp.where(won, distance < kept_distance, none_yet & (gained > kept_margin))
    return (
        jnp.where(take[:, None, None, None], x, kept),
        jnp.where(take & won, distance, kept_distance),
        jnp.where(take, gained, kept_margin),
    )
