"""What an ideal image is asked for: the recipes, and the objectives that follow them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from tljax.models.statistics import Moments, narrow, with_moments
from tljax.synth import image_params
from tljax.synth.objectives import cross_entropy, own_score, total_variation
from tljax.synth.transforms import Transforms, random_transform

Images = Float[Array, "n h w 3"]


@dataclass(frozen=True)
class Recipe:
    """What `method="fourier"` asks of an image, and how it is followed.

    Attributes:
        learning_rate: of Adam, on the spectrum; it falls to zero over the last third of the steps.
        score: weight of the class's logit.
        certainty: weight of the class's log-probability.
        usualness: weight of `strangeness`: where the network is narrow, the images' activations should be distributed
            as those of training images.
        total_variation: weight of the mean absolute difference of neighbouring pixels.
        high_frequency: weight of `image_params.high_frequencies`.
        diversity: weight of the likeness of the variants of one class.
        transforms: what the image must survive.
        weight_noise: each step, every weight of every convolution is made larger or smaller by this share, at random:
            what the image shows must not hang on the weights of one network alone.
        stages: (share of the steps, share of the size) in order; the shares of steps add up to 1.
    """

    learning_rate: float = 0.05
    score: float = 1.0
    certainty: float = 0.0
    usualness: float = 30.0
    total_variation: float = 100.0
    high_frequency: float = 0.0
    diversity: float = 4.0
    transforms: Transforms = field(default_factory=Transforms)
    weight_noise: float = 0.0
    stages: tuple[tuple[float, float], ...] = ((0.7, 0.75), (0.3, 1.0))


@dataclass(frozen=True)
class PixelRecipe:
    """The lesson's method: plain gradient descent on pixels.

    Attributes:
        learning_rate: the step on the gradient.
        cross_entropy: weight; the lesson starts with 1 and no total variation.
        total_variation: weight of the summed total variation of the pixels in units of the noise.
        contrast: standard deviation of the starting noise in units of the pixel range; the image is mid-grey plus this
            times the pixels.
    """

    learning_rate: float = 1.0
    cross_entropy: float = 10.0
    total_variation: float = 0.005
    contrast: float = 0.25


@dataclass(frozen=True)
class FourierGoal:
    """The objective of `method="fourier"` at one size: (spectrum, key, variables of the networks, targets) -> (n,).

    Equal ones compare equal, so that a compiled loop is found again.
    """

    networks: tuple[Callable, ...]
    layer: str | None
    variants: int
    size: int
    recipe: Recipe

    def __call__(self, spectrum, key, weights, targets) -> Float[Array, " n"]:
        """What each image is worth under one random transformation."""
        recipe = self.recipe
        images = image_params.fourier_images(spectrum, self.size)
        total = -recipe.total_variation * total_variation(images) / images[0].size
        if recipe.high_frequency:
            total -= recipe.high_frequency * image_params.high_frequencies(spectrum)
        if self.variants > 1:
            total -= recipe.diversity * likeness(images, self.variants)
        for number, (scores, variables) in enumerate(zip(self.networks, weights, strict=True)):
            transform_key, weight_key = jax.random.split(jax.random.fold_in(key, number))
            seen = random_transform(images, recipe.transforms, key=transform_key)
            if recipe.weight_noise:
                variables = disturbed(variables, recipe.weight_noise, key=weight_key)
            output, moments = with_moments(scores)(variables, seen)
            answer = _answer(output, targets, self.layer, recipe.score, recipe.certainty)
            total += (answer - recipe.usualness * strangeness(narrow(moments))) / len(self.networks)
        return total


@dataclass(frozen=True)
class PixelGoal:
    """The objective of `method="pixel"`: (pixels, key, variables of the networks, targets) -> (n,)."""

    networks: tuple[Callable, ...]
    layer: str | None
    recipe: PixelRecipe

    def images(self, pixels: Images) -> Images:
        """What the networks see: mid-grey plus the pixels, in units of the noise; not clipped."""
        return 0.5 + self.recipe.contrast * pixels

    def __call__(self, pixels, key, weights, targets) -> Float[Array, " n"]:
        """What each image is worth; `key` is not used."""
        del key
        total = -self.recipe.total_variation * total_variation(pixels)
        for scores, variables in zip(self.networks, weights, strict=True):
            certainty = self.recipe.cross_entropy / len(self.networks)
            output = scores(variables, self.images(pixels))
            total += _answer(output, targets, self.layer, 0.0, certainty)
        return total


def _answer(output, targets, layer, score, certainty):
    """How much one network sees of the targets, (n,), from its logits, or from its maps if a layer is asked for."""
    if layer is not None:
        return own_score(output[layer].mean((1, 2)), targets)
    return score * own_score(output, targets) - certainty * cross_entropy(output, targets)


def disturbed(variables: Any, share: float, *, key: Array) -> Any:
    """The variables with every weight of every convolution times 1 + share or 1 - share, at random."""
    leaves, structure = jax.tree.flatten(variables)
    keys = jax.random.split(key, len(leaves))
    changed = [
        leaf * (1 + share * jax.random.rademacher(k, leaf.shape, leaf.dtype)) if leaf.ndim == 4 else leaf
        for leaf, k in zip(map(jnp.asarray, leaves), keys, strict=True)
    ]
    return jax.tree.unflatten(structure, changed)


def strangeness(moments: dict[str, Moments]) -> Float[Array, ""]:
    """How far mean and deviation of the batch's activations are from those that batch norm remembers of training.

    Squared, in units of the remembered deviation, averaged over channels (those that are scaled down count less) and
    layers; 0 without batch norm.
    Source: Yin et al., "Dreaming to distill", 2020 (arXiv 1912.08795).
    """
    if not moments:
        return jnp.zeros(())
    share = jnp.concatenate([jnp.full(len(scale), 1 / (len(scale) * len(moments))) for *_, scale in moments.values()])
    means, squares, scales = (jnp.concatenate(column, -1) for column in zip(*moments.values(), strict=True))
    mean, square = means.mean(0), squares.mean(0)
    deviation = jnp.sqrt(jnp.maximum(square - mean**2, 1e-8))
    return jnp.sum(share * (scales / (scales + 0.1)) ** 2 * (mean**2 + (deviation - 1) ** 2))


def likeness(images: Images, variants: int) -> Float[Array, " n"]:
    """For each image, the mean cosine of its coarse form (an eighth of the size) with those of its fellow variants."""
    n, size = images.shape[:2]
    coarse = jax.image.resize(images, (n, size // 8, size // 8, 3), "linear").reshape(
        -1, variants, 3 * (size // 8) ** 2
    )
    coarse -= coarse.mean(-1, keepdims=True)
    coarse /= jnp.sqrt(jnp.sum(coarse**2, -1, keepdims=True) + 1e-6)
    cosines = jnp.einsum("cid,cjd->cij", coarse, coarse) * (1 - jnp.eye(variants))
    return cosines.sum(-1).reshape(n) / (variants - 1)
