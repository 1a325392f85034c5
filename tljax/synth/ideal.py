"""Ideal images: those that raise a network's score of a class, or the activation of a channel, as far as it goes."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Integer

from tljax.distributed import sharding
from tljax.errors import InputError, refuse
from tljax.progress import Track, untracked
from tljax.synth import fourier
from tljax.synth.ascend import Ascent, ascend
from tljax.synth.eight_bit import ImagesLike
from tljax.synth.image_objective import Fourier, ImageObjective, Pixels
from tljax.synth.inputs import check_images, check_key
from tljax.synth.losses import channel_mean, own_score
from tljax.synth.objective import Objective, Term, as_objective, as_response, respond
from tljax.synth.recipes import PixelRecipe, Recipe
from tljax.trees import select

_RECIPES: dict[str, type[Recipe] | type[PixelRecipe]] = {"fourier": Recipe, "pixel": PixelRecipe}
_STRENGTHS = (10.0, 30.0, 100.0)  # of the first noise, where a channel sleeps through the faint one
_STEPS = {Recipe: 256, PixelRecipe: 1000}


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
    classes: Sequence[int] = (),
    *,
    key: Array,
    method: str = "fourier",
    steps: int | None = None,
    size: int = 224,
    layer: str | None = None,
    objective: Objective | Term | None = None,
    start: ImagesLike | None = None,
    variants: int = 1,
    recipe: Recipe | PixelRecipe | None = None,
    track: Track = untracked,
) -> Ideal:
    """Makes images that networks are surest of, and says how.

    Args:
        scores: pure function (variables, images) -> (n, classes) logits: `net.scores`; or a sequence of them, for
            images that several networks agree on. With `layer`, `net.intermediates`; for objectives that read
            scores and layers, `net.outputs`.
        variables: of the network; for a sequence of functions, a sequence.
        classes: indices of classes; with `layer`, of channels. Not needed where an objective names its own.
        key: of the noise and the transformations. Those of an image hang on the key, its class, and how often the class
            came before it, but not on what else is in the batch. What does is how usual the activations are: batch norm
            statistics are compared over all images together (`Recipe.batch_norm_matching=0` leaves that out).
        method: "fourier", or "pixel" for the lesson's.
        steps: default 256, for "pixel" 1,000.
        size: side of the images, in pixels; even.
        layer: maximise the mean of these channels of this layer instead of class scores.
        objective: what is maximised, whole, instead of the recipe's own sum: see `synth.objectives`. `Recipe.objective`
            adds the recipe's penalties to an aim.
        start: (1 or n, size, size, 3) in [0, 1]: photos to start from, instead of noise.
        variants: images of each class, which are kept apart from each other.
        recipe: weights and rates; by default those of the method.
        track: shows progress.
    Returns:
        `Ideal`; the variants of one class follow each other.
    Raises:
        InputError: an unknown method or layer, an index out of range or no integer, a size that is odd or below 32, no
            class, no key, functions that give logits where a layer is asked for, or the other way round; an objective
            that asks for what is not there.

    >>> made = tljax.synth.dream(
    ...     net.intermediates, net.variables, [3, 5], layer="block", size=32, steps=2, key=jax.random.key(0)
    ... )  # of two channels of a layer
    >>> made.ascent.values.shape
    (2, 2)
    >>> from tljax.synth.objectives import channel, logit, smoothness
    >>> objective = logit(1) + 0.3 * channel("block", 7) - smoothness()
    >>> made = tljax.synth.dream(
    ...     net.outputs, net.variables, objective=objective, size=32, steps=2, key=jax.random.key(0)
    ... )
    >>> made.images.shape
    (1, 32, 32, 3)
    """
    networks = tuple(scores) if isinstance(scores, Sequence) else (scores,)
    weights = tuple(variables) if isinstance(scores, Sequence) else (variables,)
    if recipe is None:
        if method not in _RECIPES:
            raise InputError(f'no method "{method}": it is "fourier" or "pixel"')
        recipe = _RECIPES[method]()
    if not len(classes) and objective is not None:
        classes = (0,)  # which no objective reads
    check_dream(networks, weights, classes, size, layer, objective, variants, steps)
    targets = np.repeat(np.asarray(classes, np.int32), variants)
    seeds = np.array([65536 * (targets[:i] == target).sum() + target for i, target in enumerate(targets)], np.uint32)
    mesh = sharding.local_mesh(dividing=len(targets))
    weights, targets, seeds = sharding.replicate(mesh, weights), *sharding.spread(mesh, (targets, seeds))
    start_key, step_key = jax.random.split(check_key(key))
    form = recipe.form(size)
    params = sharding.spread(mesh, _start(form, start, size, seeds, start_key))
    if objective is None:
        objective = recipe.objective(recipe.aim(layer), variants=variants)
    if layer is not None and start is None and isinstance(form, Fourier):
        params = _wake(params, lambda params: _sleeping(networks, layer, weights, targets, form.images(params)))
    goal = ImageObjective(networks, form, as_objective(objective), recipe.transforms)
    steps = _STEPS[type(recipe)] if steps is None else steps
    optimiser, args = _optimiser(recipe, steps), (weights, targets, seeds)
    climb = partial(ascend, optimiser=optimiser, key=step_key, args=args, track=track)
    ascent = _by_stages(climb, goal, weights, params, recipe.stages, steps)
    images = jnp.clip(form.images(ascent.params), 0, 1)
    return Ideal(images, ascent, None if layer is None else _activation(networks, layer, weights, targets, images))


def _start(form: Fourier | Pixels, start, size: int, seeds: Integer[Array | np.ndarray, " n"], key: Array) -> Array:
    """What each image starts from: the photos, or noise of its own."""
    if start is not None:
        photos = check_images(start)
        if photos.shape not in {(n, size, size, 3) for n in (1, len(seeds))}:
            raise InputError(f"start must be 1 or {len(seeds)} images of {size} x {size} pixels, got {photos.shape}")
        return form.params(jnp.broadcast_to(photos, (len(seeds), size, size, 3)))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, seeds)
    if isinstance(form, Pixels):
        return jax.vmap(lambda key: jax.random.normal(key, (size, size, 3), jnp.float32))(keys)
    return jax.vmap(lambda key: fourier.init_spectrum(key, 1, size)[0])(keys)


def _wake(noise: Array, sleeping: Callable) -> Array:
    """The noise, of each image at the least strength that wakes its channel."""
    params = noise
    for strength in _STRENGTHS:
        asleep = sleeping(params)
        if not asleep.any():
            break
        params = select(asleep, strength * noise, params)
    return params


def _sleeping(networks, layer, weights, targets: Int[Array | np.ndarray, " n"], images) -> Bool[Array, " n"]:
    """Whether a channel is 0 everywhere in an image: behind a ReLU that is off, no gradient is."""
    maps = _maps(networks, layer, weights, targets, images)
    return jnp.stack([own_score(jnp.abs(one).max((1, 2)), targets) == 0 for one in maps]).any(0)


def _activation(networks, layer, weights, targets: Int[Array | np.ndarray, " n"], images) -> Float[Array, " n"]:
    return jnp.stack([channel_mean(one, targets) for one in _maps(networks, layer, weights, targets, images)]).mean(0)


def _maps(networks, layer, weights, targets, images) -> list[Float[Array, "n y x c"]]:
    """The layer's maps of each network."""
    pairs = zip(networks, weights, strict=True)
    maps: list[Any] = [as_response(one(variables, images), {}, targets).map(layer) for one, variables in pairs]
    return maps


def _by_stages(climb: Callable, goal: ImageObjective, weights, params: Any, stages, steps: int) -> Ascent:
    """`climb`s through the sizes of the recipe's stages."""
    ascent, done, share = None, 0, 0.0
    for part, scale in stages:
        share += part
        until = round(steps * share)
        if until > done:
            at_size = replace(goal, form=_scaled(goal, weights, scale))
            ascent = climb(at_size, params, steps=until - done, resume=ascent)
        done = max(done, until)
    if ascent is None:
        raise InputError(f"the recipe's stages are no part of the steps: {stages}")
    return ascent


def _scaled(goal: ImageObjective, weights, scale: float) -> Fourier | Pixels:
    """The form of the images at this share of their size, or the next larger that all networks take.

    Patches divide only some.
    """
    form = goal.form
    if isinstance(form, Pixels):
        return form
    for size in range(2 * round(form.size * scale / 2), form.size, 2):
        with contextlib.suppress(InputError):
            for function, variables in zip(goal.networks, weights, strict=True):
                jax.eval_shape(function, variables, jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32))
            return Fourier(size)
    return form


def check_dream(networks, weights, classes, size, layer, objective, variants, steps) -> None:
    """Refuses what `dream` cannot do, before any work; only shapes are computed."""
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
    if layer is None and objective is not None:
        return  # which names its own classes and layers
    images, targets = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32), jax.ShapeDtypeStruct((1,), jnp.int32)
    for function, variables in zip(networks, weights, strict=True):
        response = jax.eval_shape(partial(respond, function), variables, images, targets)
        if not response.maps if layer is not None else response.scores is None:
            raise InputError("a layer goes with net.intermediates, a class with net.scores: this function is the other")
        array, what = (response.scores, "class") if layer is None else (response.map(layer), "channel")
        for index in classes:
            if not 0 <= index < array.shape[-1]:
                raise InputError(f"no {what} with index {index}: there are {array.shape[-1]}, counted from 0")


@cache
def _optimiser(recipe: Recipe | PixelRecipe, steps: int) -> optax.GradientTransformation:
    """The same object for the same recipe and steps, so that a compiled loop is found again."""
    if isinstance(recipe, PixelRecipe):
        return optax.sgd(recipe.learning_rate)
    falling = max(1, round(0.3 * steps))
    return optax.adam(optax.linear_schedule(recipe.learning_rate, 0.0, falling, transition_begin=steps - falling))
