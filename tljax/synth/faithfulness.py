"""Whether an attribution says what a network uses: pixels are taken away in its order, or weights forgotten."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from tljax import trees
from tljax.errors import InputError
from tljax.synth.eight_bit import ImagesLike
from tljax.synth.inputs import Labels, Scores, check_images, check_key, check_labels
from tljax.synth.losses import own_score

Maps = Float[Array | np.ndarray, "b h w"]


def deletion(
    scores: Scores,
    variables: Any,
    images: ImagesLike,
    labels: Labels,
    maps: Maps,
    *,
    baseline: ImagesLike | float = 0.0,
    steps: int = 32,
) -> Float[Array, "b s"]:
    """The label's probability as the pixels that a map calls most important are taken away, in steps of equal size.

    The lower the curve (its mean is the area below it), the more the network did use these pixels.

    Args:
        scores: pure function (variables, images) -> (b, classes); `net.scores`.
        images: (b, h, w, c), float32 in [0, 1].
        labels: (b,), the classes that were explained.
        maps: (b, h, w), the greater, the more important.
        baseline: what takes the place of a pixel: a number, or images of a shape that broadcasts.
        steps: after each of which the network is asked, and once before.
    Returns:
        (b, steps + 1), from the whole image to the baseline.
    Raises:
        InputError: fewer than one step, maps of another shape; otherwise as `attribution.saliency`.
    Source: Petsiuk, Das and Saenko, "RISE", 2018 (arXiv 1806.07421).

    >>> maps = tljax.synth.saliency(net.scores, net.variables, images, labels)
    >>> tljax.synth.deletion(net.scores, net.variables, images, labels, maps, steps=4).shape
    (8, 5)
    """
    images, start = _checked(scores, variables, images, labels, maps, baseline, steps)
    return _curve(scores, variables, images, start, jnp.asarray(labels), jnp.asarray(maps), steps)


def insertion(
    scores: Scores,
    variables: Any,
    images: ImagesLike,
    labels: Labels,
    maps: Maps,
    *,
    baseline: ImagesLike | float = 0.0,
    steps: int = 32,
) -> Float[Array, "b s"]:
    """The label's probability as the pixels that a map calls most important are put on a baseline, in equal steps.

    The higher the curve, the better. Its authors start from the blurred image, which is a `baseline`.

    Args, Returns, Raises, Source: as `deletion`, but from the baseline to the whole image.

    >>> maps = tljax.synth.saliency(net.scores, net.variables, images, labels)
    >>> tljax.synth.insertion(net.scores, net.variables, images, labels, maps, steps=4).shape
    (8, 5)
    """
    images, start = _checked(scores, variables, images, labels, maps, baseline, steps)
    return _curve(scores, variables, start, images, jnp.asarray(labels), jnp.asarray(maps), steps)


def randomised(variables: Any, *, layers: tuple[str, ...], key: Array) -> dict[str, Any]:
    """The variables with the parameters of some layers shuffled, each array within itself.

    A map that stays the same when the layers above are shuffled does not explain the network. The values keep their
    distribution, so that the network neither blows up nor dies. Batch statistics stay.

    Args:
        variables: `net.variables`.
        layers: top-level names of `variables["params"]`.
        key: of the shuffling.
    Raises:
        InputError: no such layer.
    Source: Adebayo et al., "Sanity checks for saliency maps", 2018 (arXiv 1810.03292), who draw the weights anew.

    >>> shuffled = tljax.synth.randomised(net.variables, layers=("head",), key=jax.random.key(0))
    >>> bool((shuffled["params"]["block"]["kernel"] == net.variables["params"]["block"]["kernel"]).all())
    True
    >>> bool((shuffled["params"]["head"]["kernel"] == net.variables["params"]["head"]["kernel"]).all())
    False
    """
    key, params = check_key(key), dict(variables["params"])
    for number, layer in enumerate(layers):
        if layer not in params:
            raise InputError(f'no layer named "{layer}": there are {", ".join(params)}')
        flat = trees.flatten({layer: params[layer]})
        keys = jax.random.split(jax.random.fold_in(key, number), len(flat))
        shuffled = {
            path: jax.random.permutation(own, leaf.ravel()).reshape(leaf.shape)
            for own, (path, leaf) in zip(keys, flat.items(), strict=True)
        }
        params |= trees.unflatten(shuffled)
    return {**variables, "params": params}


def rank_correlation(a: Maps, b: Maps) -> Float[Array, " b"]:
    """Spearman's correlation of two maps of each image: 1 where they order the pixels alike, 0 where by chance.

    Pixels of equal value are ordered by their place.

    >>> maps = jnp.arange(8.0).reshape(1, 2, 4)
    >>> tljax.synth.rank_correlation(maps, maps**2).round(3).tolist()
    [1.0]
    """
    ranks = [_ranks(jnp.asarray(maps)).astype(jnp.float32) for maps in (a, b)]
    first, second = (one - one.mean(1, keepdims=True) for one in ranks)
    return (first * second).sum(1) / jnp.sqrt((first**2).sum(1) * (second**2).sum(1))


@partial(jax.jit, static_argnames=("scores", "steps"))
def _curve(scores, variables, before, after, labels, maps, steps) -> Float[Array, "b s"]:
    """The label's probability as pixels pass from one image into the other, the most important ones first."""
    place = _ranks(-maps).reshape(maps.shape)[..., None]  # 0 for the most important

    def ask(share):
        mixed = jnp.where(place < share * maps[0].size, after, before)
        return own_score(jax.nn.softmax(scores(variables, mixed)), labels)

    return jax.lax.map(ask, jnp.arange(steps + 1, dtype=jnp.float32) / steps).T


def _ranks(maps: Array) -> Array:
    """The place of each pixel in ascending order, (b, h * w)."""
    return jnp.argsort(jnp.argsort(maps.reshape(len(maps), -1), axis=1), axis=1)


def _checked(scores, variables, images, labels, maps, baseline, steps) -> tuple[Array, Array]:
    images = check_images(images)
    check_labels(scores, variables, images, jnp.asarray(labels))
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    if np.shape(maps) != images.shape[:3]:
        raise InputError(f"maps must be {images.shape[:3]}, one number for each pixel: got {np.shape(maps)}")
    return images, jnp.broadcast_to(jnp.asarray(baseline, images.dtype), images.shape)
