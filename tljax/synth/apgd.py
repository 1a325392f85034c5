"""Auto-PGD: projected gradient ascent with momentum that halves its own step where it stops gaining."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from tljax.errors import InputError
from tljax.synth.eight_bit import Budget, Images, ImagesLike
from tljax.synth.inputs import Labels, Scores, Variables, check_key, image_keys
from tljax.synth.losses import dlr_loss, own_score, targeted_dlr_loss
from tljax.synth.problem import Best, Problem, direction, make_problem, next_classes, told, unmet
from tljax.trees import select

_MOMENTUM = 0.75
_GAINING = 0.75  # share of steps since the last checkpoint that must have raised the loss


def apgd_ce(
    scores: Scores,
    variables: Variables,
    images: ImagesLike,
    labels: Labels,
    *,
    eps: Budget,
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
        key: of the random starts; or (b,) keys, one for each image.
        restarts: independent runs; the best image of all is kept.
        scores, variables, images, labels, eps, norm, targeted, quantized: as `attacks.pgd`.
    Returns, Raises: as `attacks.pgd`.
    Source: Croce and Hein, 2020 (arXiv 2003.01690).

    >>> attacked = tljax.synth.apgd_ce(
    ...     net.scores, net.variables, images, labels, eps=8 / 255, steps=3, key=jax.random.key(0)
    ... )
    >>> bool(jnp.abs(attacked - images).max() <= 8 / 255 + 1e-6)
    True
    """
    problem = make_problem(
        scores, variables, images, labels, eps=eps, norm=norm, targeted=targeted, quantized=quantized, steps=steps
    )
    return told(*_restarted(problem, check_key(key), steps=steps, restarts=restarts))


def apgd_dlr(
    scores: Scores,
    variables: Variables,
    images: ImagesLike,
    labels: Labels,
    *,
    eps: Budget,
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

    >>> net3 = tljax.init_network("toy", key=jax.random.key(0), classes=3)
    >>> attacked = tljax.synth.apgd_dlr(
    ...     net3.scores, net3.variables, images, labels, eps=8 / 255, steps=3, key=jax.random.key(0)
    ... )
    >>> attacked.shape
    (8, 32, 32, 3)
    """
    problem = make_problem(
        scores, variables, images, labels, eps=eps, norm=norm, targeted=targeted, quantized=quantized, steps=steps,
        loss=_dlr,
    )  # fmt: skip
    classes, needed = jax.eval_shape(scores, variables, problem.images).shape[-1], 4 if targeted else 3
    if classes < needed:
        raise InputError(f"apgd_dlr needs at least {needed} classes here, and this network has {classes}: use apgd_ce")
    return told(*_restarted(problem, check_key(key), steps=steps, restarts=restarts))


def apgd_t(
    scores: Scores,
    variables: Variables,
    images: ImagesLike,
    labels: Labels,
    *,
    eps: Budget,
    norm: str = "linf",
    steps: int = 100,
    key: Array,
    targets: int = 9,
    quantized: bool = True,
) -> Images:
    """Auto-PGD away from the label by way of each of the next classes in turn, on the targeted DLR.

    With fewer than four classes, which that ratio needs, the difference of the two logits is raised, as it is.

    Args:
        steps: gradients taken towards each class.
        targets: how many of the next classes are tried.
        scores, variables, images, labels, eps, norm, key, quantized: as `attacks.pgd`.
    Returns, Raises: as `attacks.pgd`.
    Source: Croce and Hein, 2020 (arXiv 2003.01690).

    >>> net4 = tljax.init_network("toy", key=jax.random.key(0), classes=4)
    >>> attacked = tljax.synth.apgd_t(
    ...     net4.scores, net4.variables, images[:2], labels[:2], eps=8 / 255, steps=3, targets=1, key=jax.random.key(0)
    ... )
    >>> attacked.shape
    (2, 32, 32, 3)
    """
    problem = make_problem(
        scores, variables, images, labels, eps=eps, norm=norm, targeted=False, quantized=quantized, steps=steps,
        loss=_towards,
    )  # fmt: skip
    aims = next_classes(problem, targets)
    return told(*_restarted(problem, check_key(key), steps=steps, restarts=len(aims), aims=aims))


def checkpoints(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The steps after which the step size may be halved, and over how many steps each looks back.

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


class _Point(NamedTuple):
    """Where a run is, or was.

    Attributes:
        images: not rounded.
        gradient, loss: at what `images` are rounded to; loss is (b,).
    """

    images: Images
    gradient: Images
    loss: Float[Array, " b"]


class _State(NamedTuple):
    """What a run carries from step to step.

    Attributes:
        point: where it is.
        previous: the images of the step before, which give the momentum.
        top: the point of the highest loss so far; where a step size is halved, the run goes on from there.
        step_size: (b,), in units of the pixel range; halved at checkpoints where the loss stopped rising.
        risen: (b,), how many steps since the last checkpoint raised the loss.
        halved: (b,), whether the last checkpoint halved the step size.
        checkpoint_loss: (b,), the highest loss at the last checkpoint.
        best: the images of the greatest margin so far, of this run and those before.
    """

    point: _Point
    previous: Images
    top: _Point
    step_size: Float[Array, " b"]
    risen: Int[Array, " b"]
    halved: Bool[Array, " b"]
    checkpoint_loss: Float[Array, " b"]
    best: Best


@partial(jax.jit, static_argnames=("steps", "restarts"))
def _restarted(
    problem: Problem, key: Array, *, steps: int, restarts: int, aims: Int[Array, "r b"] | None = None
) -> tuple[Images, Bool[Array, " b"]]:
    """The images, and which of them met masked gradients; each restart has its own `aims`, if any."""
    keys = image_keys(key, len(problem.images))

    def restart(best, index):
        start = problem.random_start(jax.vmap(jax.random.fold_in, (0, None))(keys, index))
        return _run(problem if aims is None else replace(problem, aims=aims[index]), start, steps, best), None

    best, _ = jax.lax.scan(restart, unmet(problem), jnp.arange(restarts))
    return best.images, best.masked


def _dlr(logits: Float[Array, "b n"], labels: Labels, targeted: bool) -> Float[Array, " b"]:
    if not targeted:
        return dlr_loss(logits, labels)
    others = jnp.where(jax.nn.one_hot(labels, logits.shape[-1], dtype=bool), -jnp.inf, logits)
    return targeted_dlr_loss(logits, others.argmax(-1), labels)


def _towards(logits: Float[Array, "b n"], labels: Labels, aims: Labels) -> Float[Array, " b"]:
    if logits.shape[-1] < 4:
        return own_score(logits, aims) - own_score(logits, labels)
    return targeted_dlr_loss(logits, labels, aims)


def _run(problem: Problem, start: Images, steps: int, best: Best) -> Best:
    """One run of Auto-PGD; `best` is what was met before."""

    def visit(images, best):
        rounded, gradient, loss, margin = problem.evaluate(images)
        return _Point(images, gradient, loss), best.meet(rounded, margin, gradient)

    def step(state, plan):
        checkpoint, window, momentum = plan
        x = state.point.images
        stride = state.step_size[:, None, None, None] * direction(state.point.gradient, problem.norm)
        ahead = problem.project(x + stride)
        moved = problem.project(x + momentum * (ahead - x) + (1 - momentum) * (x - state.previous))
        point, best = visit(moved, state.best)
        top = select(point.loss > state.top.loss, point, state.top)
        risen = state.risen + (point.loss > state.point.loss)
        stuck = (risen <= _GAINING * window) | (~state.halved & (state.checkpoint_loss >= top.loss))
        halve = checkpoint & stuck
        state = _State(
            point=select(halve, top, point),
            previous=select(halve, top.images, x),
            top=top,
            step_size=jnp.where(halve, state.step_size / 2, state.step_size),
            risen=jnp.where(checkpoint, 0, risen),
            halved=jnp.where(checkpoint, halve, state.halved),
            checkpoint_loss=jnp.where(checkpoint, top.loss, state.checkpoint_loss),
            best=best,
        )
        return state, None

    point, best = visit(start, best)
    zeros = jnp.zeros(point.loss.shape, jnp.int32)
    size = 2 * problem.eps[:, 0, 0, 0]
    state = _State(point, start, point, size, zeros, jnp.ones(zeros.shape, bool), point.loss, best)
    momenta = np.where(np.arange(steps) == 0, 1.0, _MOMENTUM).astype(np.float32)
    return jax.lax.scan(step, state, (*checkpoints(steps), momenta))[0].best
