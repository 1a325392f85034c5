"""What an attack has to solve: photos, classes and a budget, with what all attacks do at an image."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from tljax.errors import InputError
from tljax.synth import eight_bit
from tljax.synth.eight_bit import Images, ImagesLike
from tljax.synth.objectives import Labels, cross_entropy, margin
from tljax.trees import select

Scores = Callable[[Any, Array], Array]
Variables = Mapping[str, Any]
_STATIC = {"static": True}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Problem:
    """What an attack has to solve; a pytree of arrays, whose other fields are constants of the compiled program.

    Attributes:
        scores, variables: the network; see `attacks.pgd`.
        images: (b, h, w, c), float32 in [0, 1]: the originals.
        labels: (b,), the classes to flee, or with `targeted` to seek.
        eps, norm: the budget.
        quantized: whether only images that an 8-bit file holds count.
        loss: what is raised: pure function (logits, labels, targeted) -> (b,).
    """

    scores: Scores = field(metadata=_STATIC)
    variables: Variables
    images: Images
    labels: Labels
    eps: Float[Array, ""] | float
    norm: str = field(metadata=_STATIC)
    targeted: bool = field(metadata=_STATIC)
    quantized: bool = field(metadata=_STATIC)
    loss: Callable = field(metadata=_STATIC)

    def project(self, x: Images) -> Images:
        """The nearest images within the budget."""
        return eight_bit.project(x, self.images, self.eps, self.norm)

    def rounded(self, x: Images) -> Images:
        """The images that count in the place of `x`: at 8-bit levels if `quantized`."""
        return eight_bit.quantize(x, self.images, self.eps, self.norm) if self.quantized else x

    def random_start(self, key: Array) -> Images:
        """A point drawn uniformly from the L∞ ball; for L2, a uniform direction and a uniform radius."""
        noise_key, radius_key = jax.random.split(key)
        if self.norm == "linf":
            noise = jax.random.uniform(noise_key, self.images.shape, minval=-self.eps, maxval=self.eps)
            return self.project(self.images + noise)
        noise = direction(jax.random.normal(noise_key, self.images.shape), self.norm)
        radius = self.eps * jax.random.uniform(radius_key, (self.images.shape[0], 1, 1, 1))
        return self.project(self.images + radius * noise)

    def objective(self, x: Images) -> tuple[Float[Array, ""], tuple[Float[Array, " b"], Float[Array, " b"]]]:
        """The summed loss, and for each image the loss and the margin, which is positive where the attack succeeds."""
        logits = self.scores(self.variables, x)
        loss = self.loss(logits, self.labels, self.targeted)
        return loss.sum(), (loss, margin(logits, self.labels, targeted=self.targeted))

    def evaluate(self, x: Images) -> tuple[Images, Images, Float[Array, " b"], Float[Array, " b"]]:
        """What `x` are `rounded` to, and there: the gradient of the loss (zero if not finite), loss and margin."""
        rounded = self.rounded(x)
        gradient, (loss, gained) = jax.grad(self.objective, has_aux=True)(rounded)
        return rounded, keep_finite(gradient), loss, gained


class Best(NamedTuple):
    """For each photo the image of the greatest margin met so far."""

    images: Images
    margin: Float[Array, " b"]

    def meet(self, images: Images, margin: Float[Array, " b"]) -> "Best":
        """The better ones of these images and those before."""
        return select(margin > self.margin, Best(images, margin), self)


def signed_cross_entropy(logits: Float[Array, "b n"], labels: Labels, targeted: bool) -> Float[Array, " b"]:
    """The cross-entropy of the true class, or with `targeted` minus that of the class that is sought, (b,)."""
    return cross_entropy(logits, labels) * (-1.0 if targeted else 1.0)


def make_problem(
    scores: Scores,
    variables: Variables,
    images: ImagesLike,
    labels: Labels,
    *,
    eps: float,
    norm: str,
    targeted: bool,
    quantized: bool,
    steps: int,
    loss: Callable = signed_cross_entropy,
) -> Problem:
    """The problem, after a refusal of what no attack can use.

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
    if not isinstance(labels, Tracer):
        classes = jax.eval_shape(scores, variables, images).shape[-1]
        wrong = [int(label) for label in np.asarray(labels) if not 0 <= label < classes]
        if wrong:
            raise InputError(f"no class with index {wrong[0]}: there are {classes}, counted from 0")
    return Problem(scores, variables, images, labels, eps, norm, targeted, quantized, loss)


def direction(gradient: Images, norm: str) -> Images:
    """The step of unit length that gains most: the sign (L∞), or the gradient over its L2 norm."""
    if norm == "linf":
        return jnp.sign(gradient)
    gradient = gradient / jnp.maximum(jnp.abs(gradient).max((-3, -2, -1), keepdims=True), 1e-30)
    return gradient / jnp.maximum(eight_bit.norms(gradient), 1e-12)


def keep_finite(gradient: Images) -> Images:
    """The gradient, with the images that have a NaN or an infinity in it set to zero: they stay where they are."""
    finite = jnp.isfinite(gradient).all((-3, -2, -1), keepdims=True)
    return jnp.where(finite, gradient, 0.0)
