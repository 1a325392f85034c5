"""What photos do to the channels of a layer: how far each one answers, where, and beside which others."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from tljax.data import loader
from tljax.data.loader import Skipped
from tljax.data.sources import Photos, photo_source
from tljax.distributed import sharding
from tljax.errors import InputError
from tljax.models.layered import layered_spec
from tljax.models.layers import QUARTERS
from tljax.models.network import Network, for_inference
from tljax.models.spec import get_family
from tljax.progress import Track, untracked

_BATCH = 16
_CONTEXT, _LEAST = 3, 0.2
"""A crop is as wide as this many cells of the map, and at least this share of the photo."""


@dataclass(frozen=True)
class Excitement:
    """The answers of the c channels of a layer to n photos, and what the network took the photos for.

    Attributes:
        index: (n,), the places of the photos among those given: of the ones that could be read.
        peaks: (n, c), the greatest activation in a channel's map.
        places: (n, c, 2), its row and column as the middle of the cell, in shares of the photo's sides.
        means, variances: (n, c), of each map over space.
        scores, probs: (n, classes), before and after the softmax; of no columns without a classifier.
        cells: rows and columns of a map.
        skipped: the photos that could not be read.

    >>> answers = tljax.synth.excitement(net, photos, "block")
    >>> answers.peaks.shape, answers.places.shape, answers.cells
    ((8, 8), (8, 8, 2), (16, 16))
    """

    index: Int[np.ndarray, " n"]
    peaks: Float[np.ndarray, "n c"]
    places: Float[np.ndarray, "n c 2"]
    means: Float[np.ndarray, "n c"]
    variances: Float[np.ndarray, "n c"]
    scores: Float[np.ndarray, "n k"]
    probs: Float[np.ndarray, "n k"]
    cells: tuple[int, int]
    skipped: tuple[Skipped, ...]


def excitement(net: Network, photos: Photos, layer: str, *, track: Track = untracked) -> Excitement:
    """Shows photos to a network and keeps how far they excite each channel of a layer.

    Args:
        photos: a folder, paths, a `Source`, a uint8 array, ...: see `data.photo_source`.
        layer: a name of `net.intermediates`.
        track: shows progress.
    Raises:
        InputError: no such layer (suggests the nearest); not one photo that can be read.

    >>> tljax.synth.excitement(net, "photos/cat", "block").index.tolist()
    [0, 1, 2, 3]
    """
    count_channels(net, layer)
    source, mesh = photo_source(photos), sharding.local_mesh()
    net = for_inference(net, images=len(source.files))
    rows = sharding.whole_rows(min(_BATCH, len(source.files)), mesh)
    variables = sharding.replicate(mesh, net.variables)
    feed = loader.batches(source, range(len(source.files)), net.spec, batch_size=rows)
    parts, index, skipped, cells = [], [], [], (1, 1)
    for batch in track(feed, f"photos, in batches of {rows}", -(-len(source.files) // rows)):
        skipped.extend(batch.skipped)
        if not batch.mask.any():
            continue
        cells, answers = _answers(net.outputs, layer, variables, sharding.spread(mesh, batch.images))
        parts.append([np.asarray(answer)[batch.mask] for answer in answers])
        index.append(batch.index[batch.mask])
    if not parts:
        raise InputError(f'no photo can be read: "{skipped[0].file}": {skipped[0].reason}')
    peaks, at, means, variances, scores, probs = map(np.concatenate, zip(*parts, strict=True))
    height, width = map(int, cells)
    places = np.stack([(at // width + 0.5) / height, (at % width + 0.5) / width], -1)
    whole = np.concatenate(index)
    return Excitement(whole, peaks, places, means, variances, scores, probs, (height, width), tuple(skipped))


@partial(jax.jit, static_argnums=(0, 1))
def _answers(outputs, layer, variables, images):
    """The size of the maps; of each channel the peak, its place, mean and variance; scores, and probabilities."""
    seen = outputs(variables, images.astype(jnp.float32) / 255)
    maps = seen.maps[layer].astype(jnp.float32)
    flat = maps.reshape(len(maps), -1, maps.shape[-1])
    said = seen.scores, jax.nn.softmax(seen.logits)
    return maps.shape[1:3], (flat.max(1), flat.argmax(1), flat.mean(1), flat.var(1), *said)


def count_channels(net: Network, layer: str) -> int:
    """How many channels a layer has.

    Raises:
        InputError: no such layer; suggests the nearest.
    """
    return layered_spec(net.spec, (layer.removesuffix(QUARTERS),)).feature_dim


def most_excited(answers: Excitement, count: int) -> Int[np.ndarray, " m"]:
    """The channels that the photos excite most, relative to each one's usual answer; the first one most.

    A channel counts by how many standard deviations (of all places of all photos) above its mean the peaks of a quarter
    of the photos lie: then it answers to what is in them, and not to something odd in a few.

    Args:
        count: how many channels; as many as there are, at most.
    """
    mean, deviation = _usual(answers)
    peak = np.quantile(answers.peaks, 0.75, axis=0)
    return np.argsort(-(peak - mean) / np.where(deviation > 0, deviation, np.inf), kind="stable")[:count]


def strongest(answers: Excitement, channel: int, count: int) -> Int[np.ndarray, " m"]:
    """The rows of the photos that excite a channel most, strongest first; none that leaves it at its mean."""
    peaks, (mean, _) = answers.peaks[:, channel], _usual(answers)
    rows = np.argsort(-peaks, kind="stable")[:count]
    return rows[peaks[rows] > mean[channel]]


def similar_channels(answers: Excitement, channel: int, count: int) -> list[tuple[int, float]]:
    """The channels whose peaks go with those of one, over the photos, and their correlations, -1 to 1; highest first.

    A channel that answers all photos alike goes with none.
    """
    apart = answers.peaks - answers.peaks.mean(0, dtype=np.float64)
    lengths = np.sqrt((apart**2).sum(0))
    products = lengths * lengths[channel]
    alike = np.where(products > 0, apart.T @ apart[:, channel] / np.where(products > 0, products, 1), -np.inf)
    alike[channel] = -np.inf
    order = np.argsort(-alike, kind="stable")[:count]
    return [(int(other), float(alike[other])) for other in order if np.isfinite(alike[other])]


def mean_probs(answers: Excitement, channel: int, rows: Int[np.ndarray, " m"]) -> Float[np.ndarray, " k"]:
    """What the network takes some of the photos for, on average: weighted by the channel's peaks above its mean."""
    if not len(rows):
        return np.zeros(answers.probs.shape[1])
    weights = answers.peaks[rows, channel] - _usual(answers)[0][channel]
    return np.average(answers.probs[rows], axis=0, weights=weights)


def head_weights(net: Network, answers: Excitement) -> Float[np.ndarray, "c k"] | None:
    """What a channel adds to the score of each class, less what it adds on average, where the head is such a sum.

    None unless the scores are a matrix times the means of the layer's channels, which the photos put to the test: in
    a vision transformer the head reads another token, and a network may go on after the layer.
    """
    for name in dict.fromkeys(("head", get_family(net.spec.family).head[0])):
        layer = net.variables["params"].get(name, {})
        shape = answers.means.shape[1], answers.scores.shape[1]
        if "kernel" not in layer or layer["kernel"].size != shape[0] * shape[1] or 0 in shape:
            continue
        weights = np.asarray(layer["kernel"], np.float64).reshape(shape)
        scores = answers.means @ weights + np.asarray(layer.get("bias", 0.0))
        if np.allclose(scores, answers.scores, rtol=1e-2, atol=1e-2 * np.abs(scores).max()):
            return weights - weights.mean(1, keepdims=True)
    return None


def crop_around(
    photo: UInt8[np.ndarray, "h w 3"], place: Sequence[float] | np.ndarray, cells: Sequence[int], *, size: int
) -> UInt8[np.ndarray, "size size 3"]:
    """The part of a photo around a place of a map: three cells wide, at least a fifth of the photo; whole within it.

    Args:
        place: row and column in shares of the sides, as in `Excitement.places`.
        cells: rows and columns of the map.
        size: side of the result in pixels.
    """
    sides = np.array(photo.shape[:2])
    width = min(max(_CONTEXT * (sides / cells).max(), _LEAST * sides.max()), sides.min())
    top, left = np.clip(np.asarray(place) * sides - width / 2, 0, sides - width)
    box = (float(left), float(top), float(left + width), float(top + width))
    return np.asarray(Image.fromarray(photo).resize((size, size), Image.Resampling.LANCZOS, box=box))


def _usual(answers: Excitement) -> tuple[Any, Any]:
    """The mean and standard deviation of each channel over all places of all photos, (c,) float64."""
    within, means = answers.variances.astype(np.float64), answers.means.astype(np.float64)
    return means.mean(0), np.sqrt(within.mean(0) + means.var(0))
