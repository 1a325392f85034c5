"""What is maximised, one number for each image: scores and losses, what makes images natural, and the sums of these."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from tljax.errors import InputError
from tljax.models.statistics import Moments, narrow, with_moments
from tljax.synth import fourier
from tljax.synth.eight_bit import ImagesLike
from tljax.synth.inputs import Labels
from tljax.synth.recipes import PixelRecipe, Recipe
from tljax.synth.transforms import random_transform

Logits = Float[Array | np.ndarray, "b n"]


def total_variation(images: ImagesLike) -> Float[Array, " b"]:
    """Anisotropic total variation: the summed absolute difference of neighbouring pixels, per image.

    Args:
        images: (b, h, w, c), any range; the result scales with it.
    Returns:
        (b,), float32; equal to `tf.image.total_variation`.
    Source: Rudin, Osher and Fatemi, 1992; the lesson weighs it with 0.005.

    >>> stripes = jnp.zeros((1, 2, 4, 1)).at[:, :, ::2].set(1.0)
    >>> tljax.synth.total_variation(stripes).tolist()  # three steps in each of two rows
    [6.0]
    """
    rows = jnp.abs(jnp.diff(images, axis=-3)).sum((-3, -2, -1))
    columns = jnp.abs(jnp.diff(images, axis=-2)).sum((-3, -2, -1))
    return rows + columns


def cross_entropy(logits: Logits, labels: Labels) -> Float[Array, " b"]:
    """The negative log-probability of each label, in nats.

    Args:
        logits: (b, n), before softmax.
        labels: (b,), indices of classes.
    Returns:
        (b,), >= 0. Written so that the gradient stays exact where the probability rounds to 1: attacks live on it.

    >>> np.allclose(tljax.synth.cross_entropy(jnp.zeros((1, 4)), jnp.array([2])), np.log(4))
    True
    """
    return jax.nn.softplus(log_odds(logits, labels))


def log_odds(logits: Logits, labels: Labels) -> Float[Array, " b"]:
    """The log of the probability of all other classes over that of the label, (b,)."""
    return jax.nn.logsumexp(_others(logits, labels), -1) - own_score(logits, labels)


def own_score(logits: Logits, labels: Labels) -> Float[Array, " b"]:
    """The logit of each label, (b,)."""
    return jnp.take_along_axis(logits, labels[:, None], -1)[:, 0]


def margin(logits: Logits, labels: Labels, *, targeted: bool = False) -> Float[Array, " b"]:
    """How far an attack has come: positive exactly when it succeeds.

    Args:
        labels: (b,), the true classes, or with `targeted` the classes aimed at.
    Returns:
        (b,): the best other logit minus the label's; with `targeted` its negative.

    >>> logits = jnp.array([[3.0, 1.0, 0.0]], jnp.float32)
    >>> tljax.synth.margin(logits, jnp.array([0])).tolist()  # negative: still seen as class 0
    [-2.0]
    >>> tljax.synth.margin(logits, jnp.array([1]), targeted=True).tolist()
    [-2.0]
    """
    lead = own_score(logits, labels) - _others(logits, labels).max(-1)
    return lead if targeted else -lead


def dlr_loss(logits: Logits, labels: Labels) -> Float[Array, " b"]:
    """The difference-of-logits ratio: the margin over the gap of first to third, so the scale of logits drops out.

    Args:
        logits: (b, n) of at least three classes.
        labels: (b,), true classes.
    Returns:
        (b,): positive when another class leads.
    Raises:
        InputError: fewer than three classes.
    Source: Croce and Hein, 2020 (arXiv 2003.01690), equation 6.

    >>> logits = jnp.array([[4.0, 2.0, 0.0]], jnp.float32)
    >>> tljax.synth.dlr_loss(logits, jnp.array([0])).tolist()
    [-0.5]
    >>> tljax.synth.dlr_loss(128 * logits, jnp.array([0])).tolist()  # no scale changes it
    [-0.5]
    """
    top = _top(logits, 3, "dlr_loss")
    return margin(logits, labels) / (top[:, 0] - top[:, 2] + 1e-12)


def targeted_dlr_loss(logits: Logits, labels: Labels, targets: Labels) -> Float[Array, " b"]:
    """The targeted form of `dlr_loss`: it grows as the target overtakes the label.

    Args:
        logits: (b, n) of at least four classes.
        labels: (b,), the classes that the originals have.
        targets: (b,), the classes aimed at.
    Raises:
        InputError: fewer than four classes.
    Source: Croce and Hein, 2020 (arXiv 2003.01690), equation 7.

    >>> logits = jnp.array([[3.0, 1.0, 0.0, -2.0]], jnp.float32)
    >>> tljax.synth.targeted_dlr_loss(logits, jnp.array([0]), jnp.array([1])).tolist()
    [-0.5]
    """
    top = _top(logits, 4, "targeted_dlr_loss")
    gap = own_score(logits, targets) - own_score(logits, labels)
    return gap / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)


def channel_mean(maps: Float[Array, "b y x c"], channels: Int[Array | np.ndarray, " b"]) -> Float[Array, " b"]:
    """The mean over space of one channel of each image's map, (b,)."""
    return own_score(maps.mean((1, 2)), channels)


def batch_norm_matching(moments: dict[str, Moments]) -> Float[Array, ""]:
    """How far mean and deviation of the batch's activations are from those that batch norm remembers of training.

    Squared, in units of the remembered deviation, averaged over channels (those that are scaled down count less) and
    layers; 0 without batch norm.

    Source: Yin et al., "Dreaming to distill", 2020 (arXiv 1912.08795).

    >>> float(tljax.synth.batch_norm_matching({}))  # a network without batch norm
    0.0
    """
    if not moments:
        return jnp.zeros((), jnp.float32)
    share = jnp.concatenate([jnp.full_like(scale, 1 / (len(scale) * len(moments))) for *_, scale in moments.values()])
    means, squares, scales = (jnp.concatenate(column, -1) for column in zip(*moments.values(), strict=True))
    mean, square = means.mean(0), squares.mean(0)
    deviation = jnp.sqrt(jnp.maximum(square - mean**2, 1e-8))
    return jnp.sum(share * (scales / (scales + 0.1)) ** 2 * (mean**2 + (deviation - 1) ** 2))


def similarity(images: ImagesLike, variants: int) -> Float[Array, " n"]:
    """For each image, the mean cosine of its coarse form (an eighth of the size) with those of its fellow variants.

    Args:
        images: (n, h, w, 3), square; the variants of one class follow each other.
        variants: how many images each class has, at least 2.
    Returns:
        (n,), from -1 to 1.

    >>> twins = jnp.concatenate([images[:1], images[:1]])
    >>> tljax.synth.similarity(twins, variants=2).round(2).tolist()
    [1.0, 1.0]
    """
    n, size = images.shape[:2]
    coarse = jax.image.resize(images, (n, size // 8, size // 8, 3), "linear").reshape(
        -1, variants, 3 * (size // 8) ** 2
    )
    coarse -= coarse.mean(-1, keepdims=True)
    coarse /= jnp.sqrt(jnp.sum(coarse**2, -1, keepdims=True) + 1e-6)
    cosines = jnp.einsum("cid,cjd->cij", coarse, coarse) * (1 - jnp.eye(variants, dtype=jnp.float32))
    return cosines.sum(-1).reshape(n) / (variants - 1)


@dataclass(frozen=True)
class FourierObjective:
    """What `method="fourier"` maximises at one size: (spectrum, key, variables of networks, targets, seeds) -> (n,).

    Equal ones compare equal, so that a compiled loop is found again.

    Attributes:
        networks: `scores` of each network, or its `intermediates` where a layer is given.
        layer: the mean of a channel of this layer is maximised, instead of a class's score.
        variants: images of each target.
        size: side of the images, in pixels.
        recipe: the weights.

    >>> objective = tljax.synth.FourierObjective((net.scores,), None, 1, 32, tljax.synth.Recipe())
    >>> objective.size, objective == tljax.synth.FourierObjective((net.scores,), None, 1, 32, tljax.synth.Recipe())
    (32, True)
    """

    networks: tuple[Callable, ...]
    layer: str | None
    variants: int
    size: int
    recipe: Recipe

    def __call__(self, spectrum, key, weights, targets, seeds) -> Float[Array, " n"]:
        """What each image is worth under one random transformation, drawn by the key and its seed."""
        recipe = self.recipe
        images = fourier.fourier_images(spectrum, self.size)
        total = -recipe.total_variation * total_variation(images) / images[0].size
        if self.variants > 1:
            total -= recipe.diversity * similarity(images, self.variants)
        for number, (function, variables) in enumerate(zip(self.networks, weights, strict=True)):
            transformed = random_transform(images, recipe.transforms, key=jax.random.fold_in(key, number), seeds=seeds)
            output, moments = with_moments(function)(variables, transformed)
            scored = self.layer is None
            value = recipe.score * own_score(output, targets) if scored else channel_mean(output[self.layer], targets)
            penalty = recipe.batch_norm_matching * batch_norm_matching(narrow(moments))
            total += (value - penalty) / len(self.networks)
        return total


@dataclass(frozen=True)
class PixelObjective:
    """What `method="pixel"` maximises: (pixels, key, variables of the networks, targets, seeds) -> (n,).

    Attributes:
        networks, layer, recipe: as in `FourierObjective`.

    >>> objective = tljax.synth.PixelObjective((net.scores,), None, tljax.synth.PixelRecipe())
    >>> objective(jnp.zeros((2, 32, 32, 3), jnp.float32), None, (net.variables,), jnp.array([0, 1]), None).shape
    (2,)
    """

    networks: tuple[Callable, ...]
    layer: str | None
    recipe: PixelRecipe

    def images(self, pixels: Float[Array, "n h w 3"]) -> Float[Array, "n h w 3"]:
        """The images of these pixels: mid-grey plus `recipe.contrast` times them; not clipped."""
        return 0.5 + self.recipe.contrast * pixels

    def __call__(self, pixels, key, weights, targets, seeds) -> Float[Array, " n"]:
        """What each image is worth; `key` and `seeds` are not used."""
        del key, seeds
        total = -self.recipe.total_variation * total_variation(pixels)
        for function, variables in zip(self.networks, weights, strict=True):
            output = function(variables, self.images(pixels))
            if self.layer is None:
                total -= self.recipe.cross_entropy / len(self.networks) * cross_entropy(output, targets)
            else:
                total += channel_mean(output[self.layer], targets)
        return total


def _top(logits: Logits, n: int, name: str) -> Array:
    if logits.shape[-1] < n:
        raise InputError(f"{name} needs at least {n} classes, and there are {logits.shape[-1]}: take cross_entropy")
    return jax.lax.top_k(logits, n)[0]


def _others(logits: Logits, labels: Labels) -> Array:
    """The logits, with that of the label at minus infinity."""
    own = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    return jnp.where(own, -jnp.inf, logits)
