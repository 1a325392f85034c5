"""Gradient attacks: FGSM, PGD and MI-FGSM, in L∞ or L2, aimed or not, with results that survive an 8-bit file.

Every attack is one function (scores, variables, images, labels, *, eps, ...) -> images. `scores(variables, images)`
gives (b, classes) logits. The gradient is taken, and success judged, at the image rounded to the 8-bit lattice, while
the unrounded image is the one that steps; what comes back is the best rounded image met.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from tljax.errors import InputError
from tljax.synth import eight_bit
from tljax.synth.objectives import cross_entropy, margin

Images = Float[Array, "b h w c"]
Labels = Int[Array, " b"]
Scores = Callable[[Any, Array], Array]
Variables = Mapping[str, Any]


def fgsm(
    scores: Scores,
    variables: Variables,
    images: Images,
    labels: Labels,
    *,
    eps: float,
    norm: str = "linf",
    targeted: bool = False,
    steps: int = 1,
    key: Array | None = None,
    quantized: bool = True,
) -> Images:
    """One step of length `eps` along the sign of the gradient (L2: along the gradient).

    Args, Returns and Raises: as `pgd`; `steps` and `key` are taken for symmetry, and not used.
    Source: Goodfellow, Shlens and Szegedy, 2014 (arXiv 1412.6572).
    """
    images, labels = check(scores, variables, images, labels, eps=eps, norm=norm, steps=steps)
    return _fgsm(scores, variables, images, labels, eps, norm=norm, targeted=targeted, quantized=quantized)


def pgd(
    scores: Scores,
    variables: Variables,
    images: Images,
    labels: Labels,
    *,
    eps: float,
    norm: str = "linf",
    targeted: bool = False,
    steps: int = 40,
    key: Array,
    step_size: float | None = None,
    quantized: bool = True,
) -> Images:
    """Projected gradient descent from a random start; the best image met is kept, for each photo.

    Args:
        scores: pure function (variables, images) -> (b, classes) logits; `net.scores`.
        images: (b, h, w, c), float32 in [0, 1]; on the 8-bit lattice if `quantized` is to be exact for L2.
        labels: (b,), the true classes, which the attack flees; with `targeted` the classes that it seeks.
        eps: the budget, in units of the pixel range: 4 / 255, say.
        norm: "linf" or "l2".
        steps: gradients taken.
        key: of the random start.
        step_size: default 2.5 eps / steps.
        quantized: keep to images that an 8-bit file holds exactly.
    Returns:
        (b, h, w, c), float32 in [0, 1], within `eps` of `images`; the best by `margin` where the attack fails. A photo
        whose gradient is not finite is not moved by it.
    Raises:
        InputError: a budget that is not usable (see `eight_bit.check_budget`), labels out of range or of another shape,
            fewer than one step.
    Source: Madry et al., 2017 (arXiv 1706.06083).
    """
    images, labels = check(scores, variables, images, labels, eps=eps, norm=norm, steps=steps)
    settings = {"norm": norm, "targeted": targeted, "steps": steps, "quantized": quantized}
    size = 2.5 * eps / steps if step_size is None else step_size
    return _iterate(scores, variables, images, labels, eps, size, key, momentum=None, **settings)


def mi_fgsm(
    scores: Scores,
    variables: Variables,
    images: Images,
    labels: Labels,
    *,
    eps: float,
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
    """
    images, labels = check(scores, variables, images, labels, eps=eps, norm=norm, steps=steps)
    settings = {"norm": norm, "targeted": targeted, "steps": steps, "quantized": quantized}
    return _iterate(scores, variables, images, labels, eps, eps / steps, None, momentum=momentum, **settings)


def check(
    scores: Scores, variables: Variables, images: Images, labels: Labels, *, eps: float, norm: str, steps: int
) -> tuple[Images, Labels]:
    """Refuses what no attack can use, and returns images and labels as arrays.

    Raises:
        InputError: see `eight_bit.check_budget`; steps < 1; `labels` not integers of shape (b,), or not classes.
    """
    eight_bit.check_budget(eps, norm)
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    if labels.shape != images.shape[:1] or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise InputError(
            f"labels must be {images.shape[0]} integers, one for each image: got {labels.dtype} of shape {labels.shape}"
        )
    if not isinstance(labels, jax.core.Tracer):
        classes = jax.eval_shape(scores, variables, images).shape[-1]
        wrong = [int(label) for label in np.asarray(labels) if not 0 <= label < classes]
        if wrong:
            raise InputError(f"no class with index {wrong[0]}: there are {classes}, counted from 0")
    return images, labels


def direction(gradient: Images, norm: str) -> Images:
    """The step of unit length that gains most: the sign (L∞), or the gradient over its L2 norm."""
    if norm == "linf":
        return jnp.sign(gradient)
    gradient = gradient / jnp.maximum(jnp.abs(gradient).max((-3, -2, -1), keepdims=True), 1e-30)
    return gradient / jnp.maximum(eight_bit.norms(gradient), 1e-12)


def random_start(key: Array, images: Images, eps: Array, norm: str) -> Images:
    """A point drawn uniformly from the L∞ ball; for L2, a uniform direction and a uniform radius."""
    noise_key, radius_key = jax.random.split(key)
    if norm == "linf":
        return eight_bit.project(
            images + jax.random.uniform(noise_key, images.shape, minval=-eps, maxval=eps), images, eps, norm
        )
    noise = direction(jax.random.normal(noise_key, images.shape), norm)
    radius = eps * jax.random.uniform(radius_key, (images.shape[0], 1, 1, 1))
    return eight_bit.project(images + radius * noise, images, eps, norm)


def keep_finite(gradient: Images) -> Images:
    """The gradient, with the images that have a NaN or an infinity in it set to zero: they stay where they are."""
    finite = jnp.isfinite(gradient).all((-3, -2, -1), keepdims=True)
    return jnp.where(finite, gradient, 0.0)


@partial(jax.jit, static_argnames=("scores", "norm", "targeted", "quantized"))
def _fgsm(scores, variables, images, labels, eps, *, norm, targeted, quantized):
    gradient = jax.grad(lambda x: _loss(scores(variables, x), labels, targeted).sum())(images)
    moved = eight_bit.project(images + eps * direction(keep_finite(gradient), norm), images, eps, norm)
    return eight_bit.quantize(moved, images, eps, norm) if quantized else moved


@partial(jax.jit, static_argnames=("scores", "norm", "targeted", "steps", "momentum", "quantized"))
def _iterate(scores, variables, images, labels, eps, size, key, *, norm, targeted, steps, momentum, quantized):
    """The loop of PGD (momentum None: random start, best image) and MI-FGSM (from the original, last image)."""

    def rounded(x):
        return eight_bit.quantize(x, images, eps, norm) if quantized else x

    def objective(x):
        logits = scores(variables, x)
        return _loss(logits, labels, targeted).sum(), margin(logits, labels, targeted=targeted)

    def better(best, x, gained):
        kept, kept_margin = best
        won = gained > kept_margin
        return jnp.where(won[:, None, None, None], x, kept), jnp.where(won, gained, kept_margin)

    def step(state, _):
        x, velocity, best = state
        judged = rounded(x)
        gradient, gained = jax.grad(objective, has_aux=True)(judged)
        gradient = keep_finite(gradient)
        if momentum is not None:
            scale = jnp.abs(gradient).mean((-3, -2, -1), keepdims=True)
            velocity = momentum * velocity + gradient / jnp.maximum(scale, 1e-30)
            gradient = velocity
        moved = eight_bit.project(x + size * direction(gradient, norm), images, eps, norm)
        return (moved, velocity, better(best, judged, gained)), None

    start = images if key is None else random_start(key, images, eps, norm)
    best = rounded(images), jnp.full(images.shape[:1], -jnp.inf)
    (x, _, best), _ = jax.lax.scan(step, (start, jnp.zeros_like(images), best), length=steps)
    last = rounded(x)
    if momentum is not None:
        return last
    return better(best, last, objective(last)[1])[0]


def _loss(logits: Array, labels: Labels, targeted: bool) -> Float[Array, " b"]:
    """What an attack raises: the cross-entropy of the true class, or minus that of the target."""
    loss = cross_entropy(logits, labels)
    return -loss if targeted else loss
