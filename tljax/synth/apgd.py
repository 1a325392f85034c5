"""Auto-PGD: projected gradient ascent with momentum that halves its own step where it stops gaining."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from tljax.errors import InputError
from tljax.synth import eight_bit
from tljax.synth.attacks import Images, Labels, Scores, Variables, check, direction, keep_finite, random_start
from tljax.synth.objectives import cross_entropy, dlr_loss, margin, targeted_dlr_loss

_MOMENTUM = 0.75
_GAINING = 0.75  # share of steps since the last checkpoint that must have raised the loss


def apgd_ce(
    scores: Scores,
    variables: Variables,
    images: Images,
    labels: Labels,
    *,
    eps: float,
    norm: str = "linf",
    targeted: bool = False,
    steps: int = 100,
    key: Array,
    restarts: int = 1,
    quantized: bool = True,
) -> Images:
    """Auto-PGD on the cross-entropy: no step size to choose.

    Args:
        steps: gradients taken in each restart.
        key: of the random starts.
        restarts: independent runs; the best image of all is kept.
        scores, variables, images, labels, eps, norm, targeted, quantized: as `attacks.pgd`.
    Returns, Raises: as `attacks.pgd`.
    Source: Croce and Hein, 2020 (arXiv 2003.01690).
    """
    images, labels = check(scores, variables, images, labels, eps=eps, norm=norm, steps=steps)
    settings = {"norm": norm, "targeted": targeted, "steps": steps, "quantized": quantized}
    return _restarted(scores, variables, images, labels, eps, key, restarts=restarts, loss="ce", **settings)


def apgd_dlr(
    scores: Scores,
    variables: Variables,
    images: Images,
    labels: Labels,
    *,
    eps: float,
    norm: str = "linf",
    targeted: bool = False,
    steps: int = 100,
    key: Array,
    restarts: int = 1,
    quantized: bool = True,
) -> Images:
    """Auto-PGD on the difference-of-logits ratio, which no scaling of the logits can hide from.

    With `targeted`, the class to be left is the best one but the target at each step, where the paper keeps the true
    class: leaving that one alone seldom leads to the target.

    Args, Returns: as `apgd_ce`.
    Raises:
        InputError: fewer than three classes (four with `targeted`); otherwise as `attacks.pgd`.
    Source: Croce and Hein, 2020 (arXiv 2003.01690).
    """
    images, labels = check(scores, variables, images, labels, eps=eps, norm=norm, steps=steps)
    classes, needed = jax.eval_shape(scores, variables, images).shape[-1], 4 if targeted else 3
    if classes < needed:
        raise InputError(f"apgd_dlr needs at least {needed} classes here, and this network has {classes}: use apgd_ce")
    settings = {"norm": norm, "targeted": targeted, "steps": steps, "quantized": quantized}
    return _restarted(scores, variables, images, labels, eps, key, restarts=restarts, loss="dlr", **settings)


def checkpoints(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """After which steps the step size is reconsidered, and over how many steps each time.

    Returns:
        (steps,) bool, and (steps,) int: the steps since the checkpoint before, 0 where there is none.
    """
    window, shrink, smallest = (max(int(share * steps), 1) for share in (0.22, 0.03, 0.06))
    marks, windows, count = np.zeros(steps, bool), np.zeros(steps, np.int32), 0
    for step in range(steps):
        count += 1
        if count == window:
            marks[step], windows[step], count = True, window, 0
            window = max(window - shrink, smallest)
    return marks, windows


@partial(jax.jit, static_argnames=("scores", "norm", "targeted", "steps", "restarts", "quantized", "loss"))
def _restarted(
    scores, variables, images, labels, eps, key, *, norm, targeted, steps, restarts, quantized, loss
) -> Images:
    objective = _make_objective(scores, variables, labels, targeted, loss)
    judge = partial(eight_bit.quantize, originals=images, eps=eps, norm=norm) if quantized else lambda x: x

    def restart(best, index):
        start = random_start(jax.random.fold_in(key, index), images, eps, norm)
        return _run(objective, judge, start, images, eps, norm, steps, best), None

    best = judge(images), jnp.full(images.shape[:1], -jnp.inf)
    return jax.lax.scan(restart, best, jnp.arange(restarts))[0][0]


def _make_objective(scores, variables, labels, targeted: bool, loss: str) -> Callable:
    """x -> (summed loss to raise, (loss, margin) per image)."""

    def objective(x):
        logits = scores(variables, x)
        if loss == "ce":
            value = cross_entropy(logits, labels) * (-1.0 if targeted else 1.0)
        elif targeted:
            own = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
            value = targeted_dlr_loss(logits, jnp.where(own, -jnp.inf, logits).argmax(-1), labels)
        else:
            value = dlr_loss(logits, labels)
        return value.sum(), (value, margin(logits, labels, targeted=targeted))

    return objective


def _run(objective, judge, start, images, eps, norm, steps, best):
    """One run of Auto-PGD; `best` is (image, margin) met before, and what is returned."""

    def evaluate(x):
        judged = judge(x)
        gradient, (value, gained) = jax.grad(objective, has_aux=True)(judged)
        return judged, keep_finite(gradient), value, gained

    def better(best, judged, gained):
        won = gained > best[1]
        return jnp.where(_wide(won), judged, best[0]), jnp.where(won, gained, best[1])

    def step(state, plan):
        x, before, gradient, value, top, size, count, reduced, best = state
        mark, window, pull = plan
        ahead = eight_bit.project(x + _wide(size) * direction(gradient, norm), images, eps, norm)
        moved = x + pull * (ahead - x) + (1 - pull) * (x - before)
        moved = eight_bit.project(moved, images, eps, norm)
        judged, gradient, new, gained = evaluate(moved)
        best, count = better(best, judged, gained), count + (new > value)
        risen = new > top[2]
        top = (
            jnp.where(_wide(risen), moved, top[0]),
            jnp.where(_wide(risen), gradient, top[1]),
            jnp.where(risen, new, top[2]),
        )
        was_reduced, top_then = reduced
        stuck = (count <= _GAINING * window) | (~was_reduced & (top_then >= top[2]))
        halve = mark & stuck
        after = jnp.where(_wide(halve), top[0], moved)
        before = jnp.where(_wide(halve), top[0], x)
        gradient, value = jnp.where(_wide(halve), top[1], gradient), jnp.where(halve, top[2], new)
        reduced = jnp.where(mark, halve, was_reduced), jnp.where(mark, top[2], top_then)
        size, count = jnp.where(halve, size / 2, size), jnp.where(mark, 0, count)
        return (after, before, gradient, value, top, size, count, reduced, best), None

    marks, windows = checkpoints(steps)
    pulls = np.where(np.arange(steps) == 0, 1.0, _MOMENTUM).astype(np.float32)
    judged, gradient, value, gained = evaluate(start)
    top, size = (start, gradient, value), jnp.full_like(value, 2 * eps)
    count, reduced = jnp.zeros(value.shape, jnp.int32), (jnp.ones(value.shape, bool), value)
    state = (start, start, gradient, value, top, size, count, reduced, better(best, judged, gained))
    return jax.lax.scan(step, state, (marks, windows, pulls))[0][-1]


def _wide(x: Float[Array, " b"]) -> Float[Array, "b 1 1 1"]:
    return x[:, None, None, None]
