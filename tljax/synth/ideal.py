"""Ideal images: what a network sees when it is surest of a class, or when a channel answers most."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from tljax.distributed import sharding
from tljax.errors import InputError
from tljax.progress import Track, untracked
from tljax.synth import image_params
from tljax.synth.ascend import Ascent, ascend
from tljax.synth.goals import FourierGoal, PixelGoal, PixelRecipe, Recipe

Images = Float[Array, "n h w 3"]


class Ideal(NamedTuple):
    """Images with the story of how they were made.

    Attributes:
        images: (n, size, size, 3), float32 in [0, 1].
        ascent: see `ascend.Ascent`; its `stopped` names the steps at which an image met a non-finite gradient and
            was left as it was.
    """

    images: Images
    ascent: Ascent


def ideal(scores: Any, variables: Any, classes: Sequence[int], **options: Any) -> Images:
    """Makes images, one for each class, that networks are surest of: all in one batch.

    Args, Raises: as `dream`, which also returns how each image came about.
    Returns:
        (classes * variants, size, size, 3), float32 in [0, 1].
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
        recipe: weights and rates.
        track: shows progress.
    Returns:
        `Ideal`; the variants of one class follow each other.
    Raises:
        InputError: an unknown method or layer, an index out of range, a size that is odd or below 32, no class.
    """
    networks = tuple(scores) if isinstance(scores, Sequence) else (scores,)
    weights = tuple(variables) if isinstance(scores, Sequence) else (variables,)
    recipe = recipe or _recipe(method)
    _check(networks, weights, classes, size, layer, variants)
    if steps is not None and steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    targets = jnp.repeat(jnp.asarray(classes, jnp.int32), variants)
    mesh = sharding.local_mesh(dividing=len(targets))
    weights, targets = sharding.replicate(mesh, weights), sharding.spread(mesh, targets)
    if isinstance(recipe, PixelRecipe):
        steps = 1000 if steps is None else steps
        return _pixel(networks, weights, targets, mesh, key, steps, size, layer, recipe, track)
    steps = 256 if steps is None else steps
    return _fourier(networks, weights, targets, mesh, key, steps, size, layer, variants, recipe, track)


def _fourier(networks, weights, targets, mesh, key, steps, size, layer, variants, recipe, track) -> Ideal:
    start_key, step_key = jax.random.split(key)
    params = sharding.spread(mesh, image_params.init_spectrum(start_key, len(targets), size))
    optimiser, ascent, done, share = _adam(recipe.learning_rate, steps), None, 0, 0.0
    for part, scale in recipe.stages:
        share += part
        goal = FourierGoal(networks, layer, variants, 2 * round(size * scale / 2), recipe)
        until = round(steps * share)
        if until > done:
            ascent = ascend(
                goal, params, optimiser=optimiser, steps=until - done, key=step_key, args=(weights, targets),
                resume=ascent, track=track,
            )  # fmt: skip
        done = max(done, until)
    return Ideal(image_params.fourier_images(ascent.params), ascent)


def _pixel(networks, weights, targets, mesh, key, steps, size, layer, recipe, track) -> Ideal:
    start_key, step_key = jax.random.split(key)
    pixels = sharding.spread(mesh, jax.random.normal(start_key, (len(targets), size, size, 3)))
    goal, optimiser = PixelGoal(networks, layer, recipe), _sgd(recipe.learning_rate)
    ascent = ascend(goal, pixels, optimiser=optimiser, steps=steps, key=step_key, args=(weights, targets), track=track)
    return Ideal(jnp.clip(goal.images(ascent.params), 0, 1), ascent)


def _recipe(method: str) -> Recipe | PixelRecipe:
    if method == "fourier":
        return Recipe()
    if method == "pixel":
        return PixelRecipe()
    raise InputError(f'no method "{method}": it is "fourier" or "pixel"')


def _check(networks, weights, classes, size, layer, variants) -> None:
    if len(networks) != len(weights):
        raise InputError(f"{len(networks)} networks need as many variables, got {len(weights)}")
    if len(classes) < 1 or variants < 1:
        raise InputError(f"at least one class and one variant are needed, got {len(classes)} and {variants}")
    if size < 32 or size % 2:
        raise InputError(f"size must be even and at least 32 pixels, got {size}")
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
