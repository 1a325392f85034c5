"""Ideal images: those that raise a network's score of a class, or the activation of a channel, as far as it goes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from tljax.distributed import sharding
from tljax.errors import InputError, refuse
from tljax.progress import Track, untracked
from tljax.synth import fourier
from tljax.synth.ascend import Ascent, ascend
from tljax.synth.objectives import FourierObjective, PixelObjective
from tljax.synth.recipes import PixelRecipe, Recipe

_RECIPES: dict[str, type[Recipe] | type[PixelRecipe]] = {"fourier": Recipe, "pixel": PixelRecipe}


class Ideal(NamedTuple):
    """Images, and how they were made.

    Attributes:
        images: (n, size, size, 3), float32 in [0, 1].
        ascent: see `ascend.Ascent`; its `stopped` names the steps at which an image met a non-finite gradient and
            was left as it was.

    >>> made = tljax.synth.dream(net.scores, net.variables, [0, 1], size=32, steps=2, key=jax.random.key(0))
    >>> made.images.shape, made.ascent.stopped
    ((2, 32, 32, 3), [None, None])
    """

    images: Float[Array, "n h w 3"]
    ascent: Ascent


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
        InputError: an unknown method or layer, an index out of range, a size that is odd or below 32, no class.

    >>> made = tljax.synth.dream(
    ...     net.intermediates, net.variables, [3, 5], layer="block", size=32, steps=2, key=jax.random.key(0)
    ... )  # of two channels of a layer
    >>> made.ascent.values.shape
    (2, 2)
    """
    networks = tuple(scores) if isinstance(scores, Sequence) else (scores,)
    weights = tuple(variables) if isinstance(scores, Sequence) else (variables,)
    if method not in _RECIPES:
        raise InputError(f'no method "{method}": it is "fourier" or "pixel"')
    recipe = _RECIPES[method]() if recipe is None else recipe
    _check(networks, weights, classes, size, layer, variants, steps)
    targets = jnp.repeat(jnp.asarray(classes, jnp.int32), variants)
    mesh = sharding.local_mesh(dividing=len(targets))
    weights, targets = sharding.replicate(mesh, weights), sharding.spread(mesh, targets)
    start_key, step_key = jax.random.split(key)
    climb = partial(ascend, key=step_key, args=(weights, targets), track=track)
    if isinstance(recipe, PixelRecipe):
        pixels = sharding.spread(mesh, jax.random.normal(start_key, (len(targets), size, size, 3)))
        objective = PixelObjective(networks, layer, recipe)
        optimiser, steps = _sgd(recipe.learning_rate), 1000 if steps is None else steps
        ascent = climb(objective, pixels, optimiser=optimiser, steps=steps)
        return Ideal(jnp.clip(objective.images(ascent.params), 0, 1), ascent)
    spectrum = sharding.spread(mesh, fourier.init_spectrum(start_key, len(targets), size))
    objective = FourierObjective(networks, layer, variants, size, recipe)
    ascent = _by_stages(climb, objective, spectrum, 256 if steps is None else steps)
    return Ideal(fourier.fourier_images(ascent.params), ascent)


def _by_stages(climb: Callable, objective: FourierObjective, spectrum: fourier.Spectrum, steps: int) -> Ascent:
    """`climb`s through the sizes of the recipe's stages."""
    recipe, size = objective.recipe, objective.size
    optimiser, ascent, done, share = _adam(recipe.learning_rate, steps), None, 0, 0.0
    for part, scale in recipe.stages:
        share += part
        until = round(steps * share)
        if until > done:
            at_size = replace(objective, size=2 * round(size * scale / 2))
            ascent = climb(at_size, spectrum, optimiser=optimiser, steps=until - done, resume=ascent)
        done = max(done, until)
    if ascent is None:
        raise InputError(f"the recipe's stages are no part of the steps: {recipe.stages}")
    return ascent


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
    shape = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    for scores, variables in zip(networks, weights, strict=True):
        answer = jax.eval_shape(scores, variables, shape)
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
