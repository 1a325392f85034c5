"""What an attack has to solve: photos, classes and a budget, with what all attacks do at an image."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from tljax.errors import InputError
from tljax.synth import eight_bit
from tljax.synth.eight_bit import Budget, Images, ImagesLike
from tljax.synth.inputs import Labels, Scores, Variables, check_images, check_labels, image_keys
from tljax.synth.losses import log_odds, margin
from tljax.trees import select

_LEAST_NORMAL = np.finfo(np.float32).tiny  # below it compiled code may take a number for zero
_STATIC = {"static": True}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Problem:
    """What an attack has to solve; a pytree of arrays, whose other fields are constants of the compiled program.

    Attributes:
        scores, variables: the network; see `attacks.pgd`.
        images: (b, h, w, c), float32 in [0, 1]: the originals.
        labels: (b,), the classes to flee, or with `targeted` to seek.
        eps, norm: the budget; eps is (b, 1, 1, 1), float32.
        quantized: whether only images that an 8-bit file holds count.
        loss: what is raised: pure function (logits, labels, targeted) -> (b,).
        aims: (b,), classes that the loss gets in the place of `targeted`: to flee the label by way of one other class.
    """

    scores: Scores = field(metadata=_STATIC)
    variables: Variables
    images: Images
    labels: Labels
    eps: Float[Array, "b 1 1 1"]
    norm: str = field(metadata=_STATIC)
    targeted: bool = field(metadata=_STATIC)
    quantized: bool = field(metadata=_STATIC)
    loss: Callable = field(metadata=_STATIC)
    aims: Labels | None = None

    def project(self, x: Images) -> Images:
        """The nearest images within the budget."""
        return eight_bit.project(x, self.images, self.eps, self.norm)

    def rounded(self, x: Images) -> Images:
        """The images that count in the place of `x`: at 8-bit levels if `quantized`."""
        return eight_bit.quantize(x, self.images, self.eps, self.norm) if self.quantized else x

    def random_start(self, key: Array) -> Images:
        """A point drawn uniformly from the L∞ ball; for L2, a uniform direction and a uniform radius.

        Args:
            key: one, or (b,), one for each image; see `inputs.image_keys`.
        """
        shape = self.images.shape[1:]

        def draw(key):
            noise_key, radius_key = jax.random.split(key)
            if self.norm == "linf":
                return jax.random.uniform(noise_key, shape, jnp.float32, minval=-1.0)
            noise = direction(jax.random.normal(noise_key, shape, jnp.float32), self.norm)
            return noise * jax.random.uniform(radius_key, (), jnp.float32)

        return self.project(self.images + self.eps * jax.vmap(draw)(image_keys(key, len(self.images))))

    def logits(self, x: Images) -> Float[Array, "b n"]:
        """The network's scores, as float32 whatever it computes in: what attacks carry along keeps its dtype."""
        return self.scores(self.variables, x).astype(jnp.float32)

    def objective(self, x: Images) -> tuple[Float[Array, ""], tuple[Float[Array, " b"], Float[Array, " b"]]]:
        """The summed loss, and for each image the loss and the margin, which is positive where the attack succeeds."""
        loss, gained = self.judge(self.logits(x))
        return loss.sum(), (loss, gained)

    def judge(self, logits: Float[Array, "b n"]) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
        """The loss and the margin of these logits, (b,) each."""
        loss = self.loss(logits, self.labels, self.targeted if self.aims is None else self.aims)
        return loss, margin(logits, self.labels, targeted=self.targeted)

    def evaluate(self, x: Images) -> tuple[Images, Images, Float[Array, " b"], Float[Array, " b"]]:
        """What `x` are `rounded` to, and there: the gradient of the loss (zero if not finite), loss and margin."""
        rounded = self.rounded(x)
        gradient, (loss, gained) = jax.grad(self.objective, has_aux=True)(rounded)
        return rounded, keep_finite(gradient), loss, gained

    def slope(self, x: Images) -> tuple[Images, Float[Array, " b"]]:
        """The gradient of the loss at `x` (zero if not finite), and the margin."""
        gradient, (_, gained) = jax.grad(self.objective, has_aux=True)(x)
        return keep_finite(gradient), gained


class Best(NamedTuple):
    """For each photo the image of the greatest margin met so far.

    Attributes:
        images, margin: of which margin is (b,); -inf before the first.
        blind: (b,), whether no gradient but zero has been met.
    """

    images: Images
    margin: Float[Array, " b"]
    blind: Bool[Array, " b"]

    def meet(self, images: Images, margin: Float[Array, " b"], gradient: Images | None = None) -> "Best":
        """The better ones of these images and those before; what is not finite is never better."""
        better = jnp.isfinite(margin) & jnp.isfinite(images).all((-3, -2, -1)) & (margin > self.margin)
        best = select(better, self._replace(images=images, margin=margin), self)
        return best if gradient is None else best._replace(blind=self.blind & (gradient == 0).all((-3, -2, -1)))

    @property
    def masked(self) -> Bool[Array, " b"]:
        """Which images failed without ever meeting a gradient: that they withstood says nothing."""
        return self.blind & ~(self.margin > 0)


def unmet(problem: Problem) -> Best:
    """The originals, before any image was met."""
    images = problem.rounded(problem.images)
    return Best(images, jnp.full(len(images), -jnp.inf, jnp.float32), jnp.ones(len(images), bool))


@partial(jax.jit, static_argnames="scores")
def hidden_gradients(scores: Scores, variables: Variables, images: Images, labels: Labels) -> Bool[Array, " b"]:
    """Whether the margin's gradient is zero or not finite, for each image: no attack by gradients can start there."""
    gradient = jax.grad(lambda x: margin(scores(variables, x), labels).sum())(images)
    return (keep_finite(gradient) == 0).all((-3, -2, -1))


def fooled(logits: Float[Array, "b n"], labels: Labels) -> Bool[Array, " b"]:
    """Whether another class than the label is ahead, in logits that are finite."""
    return (logits.argmax(-1) != labels) & jnp.isfinite(logits).all(-1)


class MaskedGradientsWarning(UserWarning):
    """An attack by gradients failed where there were none.

    >>> issubclass(tljax.synth.MaskedGradientsWarning, UserWarning)
    True
    """


def told(images: Images, masked: Bool[Array, " b"]) -> Images:
    """`images`, after a warning where gradients were `masked`; a traced program cannot warn."""
    if not isinstance(masked, Tracer) and masked.any():
        warnings.warn(
            f"{int(masked.sum())} of {len(masked)} images withstood without a gradient other than zero: "
            "the network hides it, so this says nothing of how robust it is; an attack that needs none may do better",
            MaskedGradientsWarning,
            stacklevel=3,
        )
    return images


def signed_margin(logits: Float[Array, "b n"], labels: Labels, targeted: bool) -> Float[Array, " b"]:
    """`objectives.margin` in the form of a `Problem`'s loss."""
    return margin(logits, labels, targeted=targeted)


def signed_log_odds(logits: Float[Array, "b n"], labels: Labels, targeted: bool) -> Float[Array, " b"]:
    """The log-odds against the true class, or with `targeted` minus those against the class that is sought, (b,).

    Cross-entropy is a rising function of it, so steps of a given length up the one are steps up the other; only here
    the gradient does not vanish where the network is sure.
    """
    return log_odds(logits, labels) * (-1.0 if targeted else 1.0)


def make_problem(
    scores: Scores,
    variables: Variables,
    images: ImagesLike,
    labels: Labels,
    *,
    eps: Budget,
    norm: str,
    targeted: bool,
    quantized: bool,
    steps: int,
    loss: Callable = signed_log_odds,
) -> Problem:
    """The problem, after a refusal of what no attack can use.

    Raises:
        InputError: see `eight_bit.check_budget`, `inputs.check_images`, `inputs.check_labels`; steps < 1; eps neither a
            number nor (b,) of them.
    """
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    images, labels = check_images(images), jnp.asarray(labels)
    check_labels(scores, variables, images, labels)
    eight_bit.check_budget(eps, norm, quantized=quantized)
    eps, b = jnp.asarray(eps, jnp.float32), len(images)
    if eps.shape not in ((), (b,)):
        raise InputError(f"eps must be a number, or {b} of them, one for each image: got shape {eps.shape}")
    eps = jnp.broadcast_to(eps, (b,))[:, None, None, None]
    return Problem(scores, variables, images, labels, eps, norm, targeted, quantized, loss)


@partial(jax.jit, static_argnames="count")
def next_classes(problem: Problem, count: int) -> Int[Array, "k b"]:
    """The classes that come next to the label in the scores of the originals, best first: `count` of them, or all."""
    logits = problem.logits(problem.images)
    others = jnp.where(jax.nn.one_hot(problem.labels, logits.shape[-1], dtype=bool), -jnp.inf, logits)
    return jax.lax.top_k(others, min(count, logits.shape[-1] - 1))[1].T


def direction(gradient: Images, norm: str) -> Images:
    """The step of unit length that gains most: the sign (L∞), or the gradient over its L2 norm; 0 for none."""
    if norm == "linf":
        return jnp.sign(gradient)
    greatest = jnp.abs(gradient).max((-3, -2, -1), keepdims=True)
    scaled = gradient / jnp.where(greatest >= _LEAST_NORMAL, greatest, 1)
    length = eight_bit.norms(scaled)
    return jnp.where(greatest >= _LEAST_NORMAL, scaled / jnp.where(length > 0, length, 1), 0.0)


def keep_finite(gradient: Images) -> Images:
    """The gradient, with the images that have a NaN or an infinity in it set to zero: they stay where they are."""
    finite = jnp.isfinite(gradient).all((-3, -2, -1), keepdims=True)
    return jnp.where(finite, gradient, 0.0)
