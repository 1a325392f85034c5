"""What an image is to excite, as objectives that add, subtract and scale: `logit(284) - 100 * smoothness()`."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from tljax.errors import InputError
from tljax.models.statistics import narrow
from tljax.synth import losses
from tljax.synth.objective import Objective, Response, objective, respond

__all__ = [
    "Objective",
    "Response",
    "batch_norm_matching",
    "channel",
    "deep_dream",
    "direction",
    "diversity",
    "log_probability",
    "logit",
    "neuron",
    "probability",
    "respond",
    "smoothness",
]


def logit(label: int | None = None) -> Objective:
    """The score of a class before softmax.

    Args:
        label: index of the class; by default each image's own, of `dream(classes=...)`.

    >>> tljax.synth.objectives.logit(284) + 0.3 * tljax.synth.objectives.channel("block", 7) is not None
    True
    """
    return objective(_logit, label)


def probability(label: int | None = None) -> Objective:
    """The probability of a class, from 0 to 1. Its gradient fades as it nears 1: `log_probability` goes on.

    Args:
        label: as `logit`.

    >>> response = tljax.synth.objectives.respond(net.scores, net.variables, images, labels)
    >>> both = tljax.synth.objectives.probability(0) + tljax.synth.objectives.probability(1)
    >>> np.allclose(both(images, response), 1)
    True
    """
    return objective(_probability, label)


def log_probability(label: int | None = None) -> Objective:
    """The logarithm of the probability of a class: the negative cross-entropy, in nats.

    Args:
        label: as `logit`.

    >>> len(tljax.synth.objectives.log_probability(284).terms)
    1
    """
    return objective(_log_probability, label)


def channel(layer: str, index: int | None = None) -> Objective:
    """The mean of a channel of a layer over space.

    Args:
        layer: a name of `net.intermediates`.
        index: of the channel; by default each image's own, of `dream(classes=...)`.

    >>> response = tljax.synth.objectives.respond(net.intermediates, net.variables, images, labels)
    >>> means = response.maps["block"].mean((1, 2))
    >>> np.allclose(tljax.synth.objectives.channel("block", 3)(images, response), means[:, 3])
    True
    """
    return objective(_channel, layer, index)


def neuron(layer: str, index: int | None = None, y: int | None = None, x: int | None = None) -> Objective:
    """One place of a channel's map.

    Args:
        layer, index: as `channel`.
        y, x: row and column in the map, which is as large as the image at hand makes it: `Recipe.stages` begin with
            smaller ones. By default the middle.

    >>> response = tljax.synth.objectives.respond(net.intermediates, net.variables, images, labels)
    >>> middle = tljax.synth.objectives.neuron("block", 3)(images, response)
    >>> np.allclose(middle, response.maps["block"][:, 8, 8, 3])
    True
    """
    return objective(_neuron, layer, index, y, x)


def direction(layer: str, vector: Sequence[float] | Float[Array | np.ndarray, " c"]) -> Objective:
    """The mean over space of a layer's map along a direction of its channels.

    Args:
        vector: (c,), of any length.

    >>> response = tljax.synth.objectives.respond(net.intermediates, net.variables, images, labels)
    >>> along = tljax.synth.objectives.direction("block", np.eye(8)[3])(images, response)
    >>> np.allclose(along, tljax.synth.objectives.channel("block", 3)(images, response))
    True
    """
    return objective(_direction, layer, tuple(map(float, vector)))


def deep_dream(layer: str) -> Objective:
    """The mean square of a layer's map: whatever is there already grows.

    Source: Mordvintsev, Olah and Tyka, "Inceptionism", 2015.

    >>> response = tljax.synth.objectives.respond(net.intermediates, net.variables, images, labels)
    >>> tljax.synth.objectives.deep_dream("block")(images, response).shape
    (8,)
    """
    return objective(_deep_dream, layer)


def smoothness() -> Objective:
    """A penalty, to be subtracted: the mean absolute difference of neighbouring pixels; 0 for a flat image.

    The sum of both directions, divided by the number of pixels times channels; see `total_variation`.

    >>> response = tljax.synth.objectives.respond(net.scores, net.variables, images, labels)
    >>> float(tljax.synth.objectives.smoothness()(jnp.ones((8, 4, 4, 3)), response)[0])
    0.0
    """
    return objective(_smoothness)


def batch_norm_matching() -> Objective:
    """A penalty, to be subtracted: how unusual the statistics of activations are, where the network is narrow.

    One number for all images: see `losses.batch_norm_distance`; 0 without batch norm.

    >>> response = tljax.synth.objectives.respond(net.scores, net.variables, images, labels)
    >>> bool((tljax.synth.objectives.batch_norm_matching()(images, response) > 0).all())
    True
    """
    return objective(_batch_norm_matching)


def diversity(variants: int) -> Objective:
    """A penalty, to be subtracted: how alike the variants of one class are; see `similarity`.

    Args:
        variants: how many images each class has, at least 2; they follow each other.

    >>> len(tljax.synth.objectives.diversity(variants=2).terms)
    1
    """
    return objective(_diversity, variants)


def _logit(images, response, label):
    return _one_of(response.logits(), label, response, "class")


def _probability(images, response, label):
    return _one_of(jax.nn.softmax(response.logits()), label, response, "class")


def _log_probability(images, response, label):
    labels = response.targets if label is None else jnp.full_like(response.targets, label)
    return -losses.cross_entropy(response.logits(), labels)


def _channel(images, response, layer, index):
    return _one_of(response.map(layer).mean((1, 2)), index, response, "channel")


def _neuron(images, response, layer, index, y, x):
    maps = response.map(layer)
    place = tuple(length // 2 if at is None else at for length, at in zip(maps.shape[1:3], (y, x), strict=True))
    if not all(0 <= at < length for length, at in zip(maps.shape[1:3], place, strict=True)):
        raise InputError(
            f"no neuron at row {place[0]}, column {place[1]}: {layer} is {maps.shape[1]} x {maps.shape[2]}"
        )
    return _one_of(maps[:, place[0], place[1]], index, response, "channel")


def _direction(images, response, layer, vector):
    maps = response.map(layer)
    if maps.shape[-1] != len(vector):
        raise InputError(f"a direction in {layer} has {maps.shape[-1]} numbers, got {len(vector)}")
    return maps.mean((1, 2)) @ jnp.asarray(vector, maps.dtype)


def _deep_dream(images, response, layer):
    return jnp.square(response.map(layer)).mean((1, 2, 3))


def _smoothness(images, response):
    return losses.total_variation(images) / images[0].size


def _batch_norm_matching(images, response):
    return losses.batch_norm_distance(narrow(response.moments))


def _diversity(images, response, variants):
    return losses.similarity(images, variants)


def _one_of(columns: Array, index: int | None, response: Response, what: str) -> Array:
    """The column of this index, or the one that each image is made for, (n,)."""
    if index is None:
        return losses.own_score(columns, response.targets)
    if not 0 <= index < columns.shape[-1]:
        raise InputError(f"no {what} with index {index}: there are {columns.shape[-1]}, counted from 0")
    return columns[:, index]
