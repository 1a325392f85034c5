"""Ideal images: those that raise a network's score of a class, or the activation of a channel, as far as it goes."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from tljax.distributed import sharding
from tljax.errors import InputError, refuse
from tljax.progress import Track, untracked
from tljax.synth import fourier
from tljax.synth.ascend import Ascent, ascend
from tljax.synth.inputs import check_key
from tljax.synth.objectives import FourierObjective, PixelObjective, channel_mean
from tljax.synth.recipes import PixelRecipe, Recipe
from tljax.trees import select

_RECIPES: dict[str, type[Recipe] | type[PixelRecipe]] = {"fourier": Recipe, "pixel": PixelRecipe}
_STARTS = (0.01, 0.1, 0.3, 1.0)  # strengths of the first noise, of which a sleeping channel needs a greater one


class Ideal(NamedTuple):
    """Images, and how they were made.

    Attributes:
        images: (n, size, size, 3), float32 in [0, 1].
        ascent: see `ascend.Ascent`; its `stopped` names the steps at which an image met a non-finite gradient and
            was left as it was.
        activation: (n,), with a layer: the mean of the channel over space, and over the networks, for each image. One
            of exactly 0 behind a ReLU never woke: its image shows nothing. None without a layer.

    >>> made = tljax.synth.dream(net.scores, net.variables, [0, 1], size=32, steps=2, key=jax.random.key(0))
    >>> made.images.shape, made.ascent.stopped
    ((2, 32, 32, 3), [None, None])
    """

    images: Float[Array, "n h w 3"]
    ascent: Ascent
    activation: Float[Array, " n"] | None = None


def ideal(scores: Any, variables: Any, classes: Sequence[int], **options: Any) -> Float[Array, "n h w 3"]:
    """Makes images, one for each class, that networks are surest of: all in one batch.

    Args, Raises: as `dream`, which also returns how each image came about.
    Returns:
        (classes * variants, size, size, 3), float32 in [0, 1].

    >>> tljax.synth.ideal(net.scores, net.variables, [1], size=32, steps=2, key=jax.random.key(0)).shape
    (1, 32, 32, 3)
    """
    return dream(scores, variables, classes, **options).images


def dream(
    scores: Callable | Sequence[Callable],
    variables: Any,
    classes: Sequence[int],
    *,
    key: Array,
    method: str = "fourier",
    steps: int | None = None,
    size: int = 224,
    layer: str | None = None,
    variants: int = 1,
    recipe: Recipe | PixelRecipe | None = None,
    track: Track = untracked,
) -> Ideal:
    """Makes images that networks are surest of, and says how.

    Args:
        scores: pure function (variables, images) -> (n, classes) logits: `net.scores`; or a sequence of them, for
            images that several networks agree on. With `layer`, `net.intermediates`.
        variables: of the network; for a sequence of functions, a sequence.
        classes: indices of classes; with `layer`, of channels.
        key: of the noise and the transformations. Those of an image hang on the key, its class, and how often the class
            came before it, but not on what else is in the batch. What does is how usual the activations are: batch norm
            statistics are compared over all images together (`Recipe.batch_norm_matching=0` leaves that out).
        method: "fourier", or "pixel" for the lesson's.
        steps: default 256, for "pixel" 1,000.
        size: side of the images, in pixels; even.
        layer: maximise the mean of these channels of this layer instead of class scores.
        variants: images of each class, which are kept apart from each other.
        recipe: weights and rates; by default those of the method.
        track: shows progress.
    Returns:
        `Ideal`; the variants of one class follow each other.
    Raises:
        InputError: an unknown method or layer, an index out of range or no integer, a size that is odd or below 32, no
            class, no key, functions that give logits where a layer is asked for, or the other way round.

    >>> made = tljax.synth.dream(
    ...     net.intermediates, net.variables, [3, 5], layer="block", size=32, steps=2, key=jax.random.key(0)
    ... )  # of two channels of a layer
    >>> made.ascent.values.shape
    (2, 2)
    """
    networks = tuple(scores) if isinstance(scores, Sequence) else (scores,)
    weights = tuple(variables) if isinstance(scores, Sequence) else (variables,)
    if recipe is None:
        if method not in _RECIPES:
            raise InputError(f'no method "{method}": it is "fourier" or "pixel"')
        recipe = _RECIPES[method]()
    _check(networks, weights, classes, size, layer, variants, steps)
    targets = np.repeat(np.asarray(classes, np.int32), variants)
    seeds = np.array([65536 * (targets[:i] == target).sum() + target for i, target in enumerate(targets)], np.uint32)
    mesh = sharding.local_mesh(dividing=len(targets))
    weights, targets, seeds = sharding.replicate(mesh, weights), *sharding.spread(mesh, (targets, seeds))
    start_key, step_key = jax.random.split(check_key(key))
    start_keys = jax.vmap(jax.random.fold_in, (None, 0))(start_key, seeds)
    climb = partial(ascend, key=step_key, args=(weights, targets, seeds), track=track)
    if isinstance(recipe, PixelRecipe):
        noise = jax.vmap(lambda key: jax.random.normal(key, (size, size, 3), jnp.float32))(start_keys)
        objective, optimiser = PixelObjective(networks, layer, recipe), _sgd(recipe.learning_rate)
        shown = lambda pixels: jnp.clip(objective.images(pixels), 0, 1)  # noqa: E731
        start = _awake(networks, layer, weights, targets, shown, sharding.spread(mesh, noise))
        ascent = climb(objective, start, optimiser=optimiser, steps=1000 if steps is None else steps)
    else:
        noise = jax.vmap(lambda key: fourier.init_spectrum(key, 1, size, scale=1.0)[0])(start_keys)
        objective, shown = FourierObjective(networks, layer, variants, size, recipe), fourier.fourier_images
        start = _awake(networks, layer, weights, targets, shown, sharding.spread(mesh, noise), _STARTS)
        ascent = _by_stages(climb, objective, weights, start, 256 if steps is None else steps)
    images = shown(ascent.params)
    return Ideal(images, ascent, None if layer is None else _activation(networks, layer, weights, targets, images))


def _awake(networks, layer, weights, targets, shown: Callable, noise: Array, strengths=(1.0,)) -> Array:
    """The noise at the least of the strengths at which the channel wakes: behind a ReLU that is off, no gradient is."""
    start = strengths[0] * noise
    for strength in strengths[1:] if layer is not None else ():
        asleep = _activation(networks, layer, weights, targets, shown(start)) <= 0
        if not asleep.any():
            break
        start = select(asleep, strength * noise, start)
    return start


def _activation(networks, layer, weights, targets: Int[Array | np.ndarray, " n"], images) -> Float[Array, " n"]:
    pairs = zip(networks, weights, strict=True)
    return jnp.stack([channel_mean(net(variables, images)[layer], targets) for net, variables in pairs]).mean(0)


def _by_stages(climb: Callable, objective: FourierObjective, weights, spectrum: fourier.Spectrum, steps: int) -> Ascent:
    """`climb`s through the sizes of the recipe's stages."""
    recipe, size = objective.recipe, objective.size
    optimiser, ascent, done, share = _adam(recipe.learning_rate, steps), None, 0, 0.0
    for part, scale in recipe.stages:
        share += part
        until = round(steps * share)
        if until > done:
            at_size = _nearest_size(objective.networks, weights, 2 * round(size * scale / 2), size)
            ascent = climb(
                replace(objective, size=at_size), spectrum, optimiser=optimiser, steps=until - done, resume=ascent
            )
        done = max(done, until)
    if ascent is None:
        raise InputError(f"the recipe's stages are no part of the steps: {recipe.stages}")
    return ascent


def _nearest_size(networks, weights, wanted: int, size: int) -> int:
    """The first even size from `wanted` up to `size` that all networks take: patches divide only some."""
    for side in range(wanted, size, 2):
        with contextlib.suppress(InputError):
            for scores, variables in zip(networks, weights, strict=True):
                jax.eval_shape(scores, variables, jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32))
            return side
    return size


def _check(networks, weights, classes, size, layer, variants, steps) -> None:
    n, m = len(classes), len(networks)
    refuse(
        {
            f"{m} networks need as many variables, got {len(weights)}": m != len(weights),
            f"at least one class and one variant are needed, got {n} and {variants}": n < 1 or variants < 1,
            f"size must be even and at least 32 pixels, got {size}": size < 32 or size % 2,
            f"steps must be at least 1, got {steps}": steps is not None and steps < 1,
        }
    )
    if not np.issubdtype(np.asarray(classes).dtype, np.integer):
        raise InputError(f"classes must be integers, got {', '.join(map(str, classes))}")
    shape = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    for scores, variables in zip(networks, weights, strict=True):
        answer = jax.eval_shape(scores, variables, shape)
        if isinstance(answer, Mapping) != (layer is not None):
            raise InputError("a layer goes with net.intermediates, a class with net.scores: this function is the other")
        if layer is not None and layer not in answer:
            raise InputError(f'no layer named "{layer}": there are {", ".join(answer)}')
        count, what = (answer if layer is None else answer[layer]).shape[-1], "class" if layer is None else "channel"
        for index in classes:
            if not 0 <= index < count:
                raise InputError(f"no {what} with index {index}: there are {count}, counted from 0")


@cache
def _adam(learning_rate: float, steps: int) -> optax.GradientTransformation:
    falling = max(1, round(0.3 * steps))
    return optax.adam(optax.linear_schedule(learning_rate, 0.0, falling, transition_begin=steps - falling))


@cache
def _sgd(learning_rate: float) -> optax.GradientTransformation:
    return optax.sgd(learning_rate)
