"""Which parts of an image a score hangs on: gradients, plain and averaged, and Grad-CAM."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from tljax.errors import InputError
from tljax.synth.eight_bit import Images, ImagesLike
from tljax.synth.inputs import Labels, Scores, check_images, check_labels, image_keys
from tljax.synth.losses import own_score

_STEPS = 64

Maps = Float[Array, "b h w"]


def saliency(scores: Scores, variables: Any, images: ImagesLike, labels: Labels) -> Maps:
    """The greatest absolute derivative of the label's score over the channels of each pixel.

    Args:
        scores: pure function (variables, images) -> (b, classes); `net.scores`.
        images: (b, h, w, c), float32 in [0, 1].
        labels: (b,), the classes that are explained.
    Returns:
        (b, h, w), >= 0, in score per unit of the pixel range.
    Raises:
        InputError: images that are not in [0, 1], labels that are no classes, as in `attacks.pgd`.
    Source: Simonyan, Vedaldi and Zisserman, 2013 (arXiv 1312.6034).

    >>> tljax.synth.saliency(net.scores, net.variables, images, labels).shape
    (8, 32, 32)
    """
    return jnp.abs(_gradient(scores, variables, *_checked(scores, variables, images, labels))).max(-1)


def integrated_gradients(
    scores: Scores,
    variables: Any,
    images: ImagesLike,
    labels: Labels,
    *,
    baseline: ImagesLike | float = 0.0,
    steps: int = _STEPS,
) -> Images:
    """The gradient averaged on the straight way from a baseline to the image, times the difference of the two.

    Summed over an image, it gives the label's score there minus that at the baseline, up to the error of the
    quadrature (Gauss-Legendre). One batch of gradients is in memory at a time.

    Args:
        baseline: where nothing is shown: black by default; a number, or images of a shape that broadcasts.
        steps: gradients taken for each image.
        scores, variables, images, labels: as `saliency`.
    Returns:
        (b, h, w, c), signed, in units of score.
    Raises:
        InputError: fewer than one step; otherwise as `saliency`.
    Source: Sundararajan, Taly and Yan, 2017 (arXiv 1703.01365).

    >>> parts = tljax.synth.integrated_gradients(net.scores, net.variables, images, labels, steps=16)
    >>> parts.shape
    (8, 32, 32, 3)
    """
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    images, labels = _checked(scores, variables, images, labels)
    start = jnp.broadcast_to(jnp.asarray(baseline, images.dtype), images.shape)
    places, weights = np.polynomial.legendre.leggauss(steps)
    quadrature = jnp.asarray((places + 1) / 2, images.dtype), jnp.asarray(weights / 2, images.dtype)
    return _integrate(scores, variables, images, labels, start, quadrature)


def smoothgrad(
    scores: Scores,
    variables: Any,
    images: ImagesLike,
    labels: Labels,
    *,
    noise: float = 0.15,
    samples: int = 32,
    key: Array,
) -> Images:
    """The gradient averaged over copies of the image with Gaussian noise. One batch of them is in memory at a time.

    Args:
        noise: standard deviation, in units of the pixel range.
        samples: copies of each image.
        key: of the noise; one key, or one for each image.
        scores, variables, images, labels: as `saliency`.
    Returns:
        (b, h, w, c), signed, in score per unit of the pixel range.
    Raises:
        InputError: fewer than one sample; otherwise as `saliency`.
    Source: Smilkov et al., 2017 (arXiv 1706.03825).

    >>> parts = tljax.synth.smoothgrad(net.scores, net.variables, images, labels, samples=2, key=jax.random.key(0))
    >>> parts.shape
    (8, 32, 32, 3)
    """
    if samples < 1:
        raise InputError(f"samples must be at least 1, got {samples}")
    images, labels = _checked(scores, variables, images, labels)
    return _smooth(scores, variables, images, labels, noise, image_keys(key, len(images)), samples)


def grad_cam(
    scores: Scores, intermediates: Callable, variables: Any, images: ImagesLike, labels: Labels, *, layer: str
) -> Maps:
    """Where a layer's channels that speak for the label are active: their sum weighed by their mean gradients, ReLU.

    Args:
        intermediates: pure function (variables, images) -> {layer: (b, y, x, c)}; `net.intermediates`.
        layer: name of a convolutional layer, usually the last: the map has its resolution before it is enlarged.
        scores, variables, images, labels: as `saliency`. `scores` must add `variables["perturbations"][layer]` to that
            layer's map, as those of a `Network` do.
    Returns:
        (b, h, w), >= 0, at the size of the images (bilinear); divided by its maximum, in [0, 1]. All zero where nothing
        in the layer speaks for the label.
    Raises:
        InputError: no such layer; otherwise as `saliency`.
    Source: Selvaraju et al., 2016 (arXiv 1610.02391).

    >>> heat = tljax.synth.grad_cam(
    ...     net.scores, net.intermediates, net.variables, images, labels, layer=net.spec.last_layer
    ... )
    >>> heat.shape
    (8, 32, 32)
    """
    images, labels = _checked(scores, variables, images, labels)
    return _grad_cam(scores, intermediates, variables, images, labels, layer=layer)


@partial(jax.jit, static_argnames=("scores", "intermediates", "layer"))
def _grad_cam(scores, intermediates, variables, images, labels, *, layer):
    maps = intermediates(variables, images)
    if layer not in maps:
        raise InputError(f'no layer named "{layer}": there are {", ".join(maps)}')

    def score(perturbation):
        perturbed = {**variables, "perturbations": {layer: perturbation}}
        return own_score(scores(perturbed, images), labels).sum()

    gradient = jax.grad(score)(jnp.zeros_like(maps[layer]))
    cam = jax.nn.relu(jnp.sum(gradient.mean((1, 2), keepdims=True) * maps[layer], -1))
    cam = jax.image.resize(cam, (cam.shape[0], *images.shape[1:3]), "linear")
    return cam / jnp.maximum(cam.max((1, 2), keepdims=True), 1e-12)


@partial(jax.jit, static_argnames="scores")
def _integrate(scores, variables, images, labels, start, quadrature):
    def add(total, place):
        share, weight = place
        gradient = _gradient(scores, variables, start + share * (images - start), labels)
        return total + weight * gradient, None

    total, _ = jax.lax.scan(add, jnp.zeros_like(images), quadrature)
    return total * (images - start)


@partial(jax.jit, static_argnames=("scores", "samples"))
def _smooth(scores, variables, images, labels, noise, keys, samples):
    def add(total, number):
        own = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
        moved = jax.vmap(lambda key: jax.random.normal(key, images.shape[1:], images.dtype))(own)
        return total + _gradient(scores, variables, images + noise * moved, labels), None

    total, _ = jax.lax.scan(add, jnp.zeros_like(images), jnp.arange(samples))
    return total / samples


def _checked(scores, variables, images, labels):
    images, labels = check_images(images), jnp.asarray(labels)
    check_labels(scores, variables, images, labels)
    return images, labels


@partial(jax.jit, static_argnames="scores")
def _gradient(scores, variables, images, labels):
    return jax.grad(lambda x: own_score(scores(variables, x), labels).sum())(images)
