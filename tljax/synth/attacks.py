"""Gradient attacks: FGSM, PGD and MI-FGSM, in L∞ or L2, aimed or not, with results that survive an 8-bit file.

Every attack is one function (scores, variables, images, labels, *, eps, ...) -> images. `scores(variables, images)`
gives (b, classes) logits. The gradient is taken, and success judged, at the image rounded to 8-bit levels, while the
unrounded image is the one that steps; what comes back is the best rounded image met.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from tljax.synth.eight_bit import Budget, Images, ImagesLike, per_image
from tljax.synth.inputs import Labels, Scores, Variables, check_key
from tljax.synth.problem import Problem, direction, keep_finite, make_problem, told, unmet


def fgsm(
    scores: Scores,
    variables: Variables,
    images: ImagesLike,
    labels: Labels,
    *,
    eps: Budget,
    norm: str = "linf",
    targeted: bool = False,
    steps: int = 1,
    key: Array | None = None,
    quantized: bool = True,
) -> Images:
    """One step of length `eps` along the sign of the gradient (L2: along the gradient).

    Args, Returns and Raises: as `pgd`; `steps` and `key` are taken for symmetry, and not used.
    Source: Goodfellow, Shlens and Szegedy, 2014 (arXiv 1412.6572).

    >>> attacked = tljax.synth.fgsm(net.scores, net.variables, images, labels, eps=8 / 255)
    >>> bool(jnp.abs(attacked - images).max() <= 8 / 255 + 1e-6)
    True
    """
    problem = make_problem(
        scores, variables, images, labels, eps=eps, norm=norm, targeted=targeted, quantized=quantized, steps=steps
    )
    return told(*_fgsm(problem))


def pgd(
    scores: Scores,
    variables: Variables,
    images: ImagesLike,
    labels: Labels,
    *,
    eps: Budget,
    norm: str = "linf",
    targeted: bool = False,
    steps: int = 40,
    key: Array,
    step_size: float | None = None,
    quantized: bool = True,
) -> Images:
    """Projected gradient descent from a random start; the best image met is kept, for each photo.

    What is raised is the log-odds against the label: steps of a given length go as up the cross-entropy, and do not
    vanish where the network is sure.

    Args:
        scores: pure function (variables, images) -> (b, classes) logits; `net.scores`.
        images: (b, h, w, c), float32 in [0, 1]; multiples of 1/255 if `quantized` is to be exact for L2.
        labels: (b,), the true classes, which the attack flees; with `targeted` the classes that it seeks.
        eps: the budget, in units of the pixel range: 4 / 255, say; or (b,), one for each image.
        norm: "linf" or "l2".
        steps: gradients taken.
        key: of the random start: image i draws from `fold_in(key, i)`; or (b,) keys, one for each image, so that an
            image comes out the same in any batch.
        step_size: default 2.5 eps / steps.
        quantized: keep to images that an 8-bit file holds exactly.
    Returns:
        (b, h, w, c), float32 in [0, 1], within `eps` of `images`; the best by `margin` where the attack fails. A photo
        whose gradient is not finite is not moved by it.
    Raises:
        InputError: a budget that is not usable (see `eight_bit.check_budget`), images outside [0, 1], labels out of
            range or of another shape, fewer than one step, no key.
    Warns:
        MaskedGradientsWarning: outside jit, where images withstood without any gradient other than zero.

    A `scores` that is a new object in each call, such as a lambda made in a loop, is compiled anew each time: define it
    once, and hand what changes to it in `variables`.
    Source: Madry et al., 2017 (arXiv 1706.06083).

    >>> attacked = tljax.synth.pgd(
    ...     net.scores, net.variables, images, labels, eps=8 / 255, steps=3, key=jax.random.key(0)
    ... )
    >>> bool(jnp.abs(attacked - images).max() <= 8 / 255 + 1e-6)
    True
    """
    problem = make_problem(
        scores, variables, images, labels, eps=eps, norm=norm, targeted=targeted, quantized=quantized, steps=steps
    )
    size = 2.5 * problem.eps / steps if step_size is None else per_image(step_size)
    return told(*_iterate(problem, size, check_key(key), steps=steps))


def mi_fgsm(
    scores: Scores,
    variables: Variables,
    images: ImagesLike,
    labels: Labels,
    *,
    eps: Budget,
    norm: str = "linf",
    targeted: bool = False,
    steps: int = 10,
    key: Array | None = None,
    momentum: float = 1.0,
    quantized: bool = True,
) -> Images:
    """Iterated FGSM with momentum on the L1-normalised gradient, steps of eps / steps: transfers better than PGD.

    Starts at the original; `key` is taken for symmetry, and not used. The last image is returned rather than the best
    one: the maker's margin says little about the network that the image is meant for.

    Args, Returns and Raises: otherwise as `pgd`.
    Source: Dong et al., 2017 (arXiv 1710.06081).

    >>> attacked = tljax.synth.mi_fgsm(net.scores, net.variables, images, labels, eps=8 / 255, steps=3)
    >>> bool(jnp.abs(attacked - images).max() <= 8 / 255 + 1e-6)
    True
    """
    problem = make_problem(
        scores, variables, images, labels, eps=eps, norm=norm, targeted=targeted, quantized=quantized, steps=steps
    )
    return told(*_iterate(problem, problem.eps / steps, None, steps=steps, momentum=momentum))


@jax.jit
def _fgsm(problem: Problem) -> tuple[Images, Bool[Array, " b"]]:
    gradient, (_, gained) = jax.grad(problem.objective, has_aux=True)(problem.images)
    gradient = keep_finite(gradient)
    moved = problem.project(problem.images + problem.eps * direction(gradient, problem.norm))
    return problem.rounded(moved), unmet(problem).meet(problem.images, gained, gradient).masked


@partial(jax.jit, static_argnames=("steps", "momentum"))
def _iterate(
    problem: Problem, size, key: Array | None, *, steps: int, momentum: float | None = None
) -> tuple[Images, Bool[Array, " b"]]:
    """The loop of PGD (momentum None: random start, best image) and MI-FGSM (from the original, last image).

    Returns:
        images; and which of them met masked gradients, (b,).
    """

    def step(state, _):
        x, velocity, best = state
        rounded, gradient, _, gained = problem.evaluate(x)
        if momentum is not None:
            scale = jnp.abs(gradient).mean((-3, -2, -1), keepdims=True)
            velocity = momentum * velocity + gradient / jnp.maximum(scale, 1e-30)
            gradient = velocity
        moved = problem.project(x + size * direction(gradient, problem.norm))
        return (moved, velocity, best.meet(rounded, gained, gradient)), None

    images = problem.images
    start = images if key is None else problem.random_start(key)
    (x, _, best), _ = jax.lax.scan(step, (start, jnp.zeros_like(images), unmet(problem)), length=steps)
    last = problem.rounded(x)
    if momentum is not None:
        return last, best.masked
    _, (_, gained) = problem.objective(last)
    best = best.meet(last, gained)
    return best.images, best.masked
