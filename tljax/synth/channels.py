"""The channels of a layer, each by its ideal picture, the photos that excite it, its classes and its likes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Array, Float, UInt8

from tljax.data import loader
from tljax.data.loader import Skipped
from tljax.data.source import Source
from tljax.data.sources import Photos, photo_source
from tljax.errors import InputError
from tljax.models.network import Network
from tljax.progress import Track, untracked
from tljax.synth.eight_bit import to_bytes
from tljax.synth.excitement import (
    Excitement,
    count_channels,
    crop_around,
    excitement,
    head_weights,
    mean_probs,
    most_excited,
    similar_channels,
    strongest,
)
from tljax.synth.ideal import check_dream, dream
from tljax.synth.recipes import Recipe

_AT_ONCE, _READ = 24, 16
_WEIGHT = 2.0
"""Of a channel against the penalties of the recipe: a small picture has few steps to wake it."""

_PHOTOS, _CROP = 9, 96
_FEW = 3
_ENOUGH = 10
"""Photos from which correlations over them are told."""


@dataclass(frozen=True)
class Channel:
    """What is known of a channel.

    Attributes:
        index: in its layer, from 0.
        image: uint8 (size, size, 3), its ideal picture.
        activation: the mean of its map in that; one of exactly 0 never woke, and its picture shows nothing.
        photos: the files that excite it most, the strongest first; at most nine.
        crops: uint8 (photos, 96, 96, 3), what of them does.
        classes: the three that it speaks for most, and how much; see `LayerChannels.classes_by`.
        similar: (index, correlation) of the three channels that answer most like it, over ten photos or more.

    >>> seen = tljax.synth.describe_channels(net, "block", photos, count=1, size=32, steps=2, key=jax.random.key(0))
    >>> len(seen.channels[0].photos) == len(seen.channels[0].crops), seen.channels[0].crops.shape[1:]
    (True, (96, 96, 3))
    """

    index: int
    image: UInt8[np.ndarray, "s s 3"]
    activation: float
    photos: tuple[str, ...]
    crops: UInt8[np.ndarray, "m 96 96 3"]
    classes: tuple[tuple[str, float], ...]
    similar: tuple[tuple[int, float], ...]


class LayerChannels(NamedTuple):
    """Channels of a layer.

    Attributes:
        layer: its name.
        channels: what is known of each.
        classes_by: "weights": a class is given with the weight of the channel in its score, less the mean over the
            classes; "photos": with its mean probability over the channel's photos, weighted by their peaks; None: there
            are no classes, or nothing tells.
        photos: how many were shown.
        skipped: those that could not be read.

    >>> seen = tljax.synth.describe_channels(net, "block", channels=[5, 2], size=32, steps=2, key=jax.random.key(0))
    >>> [channel.index for channel in seen.channels], seen.classes_by, seen.photos
    ([5, 2], 'weights', 0)
    """

    layer: str
    channels: list[Channel]
    classes_by: Literal["weights", "photos"] | None
    photos: int
    skipped: tuple[Skipped, ...]


def describe_channels(
    net: Network,
    layer: str | None = None,
    photos: Photos | None = None,
    *,
    key: Array,
    channels: Sequence[int] | None = None,
    count: int = 24,
    size: int = 112,
    steps: int = 96,
    track: Track = untracked,
) -> LayerChannels:
    """What channels of a layer stand for: what they would like to see, and what in photos comes nearest to that.

    Args:
        net: not folded: the ideal pictures are held to the statistics of its batch norm.
        layer: a name of `net.intermediates`; by default the last one.
        photos: that the channels are shown; see `data.photo_source`. Those that cannot be read are skipped.
        channels: indices; by default the `count` that the photos excite most, relative to each one's usual answer (see
            `excitement.most_excited`), or without photos the first ones.
        key, size, steps: of the ideal pictures; see `channel_pictures`.
        track: shows progress.
    Raises:
        InputError: an unknown layer, a channel out of range, a count below 1; as `excitement` and `dream`.

    >>> seen = tljax.synth.describe_channels(net, photos=photos, count=3, size=32, steps=2, key=jax.random.key(0))
    >>> seen.layer, len(seen.channels)
    ('block', 3)
    """
    layer = net.spec.last_layer if layer is None else layer
    there = count_channels(net, layer)
    if count < 1:
        raise InputError(f"count must be at least 1, got {count}")
    asked = [0] if channels is None else channels
    check_dream((net.intermediates,), (net.variables,), asked, size, layer, None, 1, steps)  # before photos are shown
    source = None if photos is None else photo_source(photos)
    answers = None if source is None else excitement(net, source, layer, track=track)
    if channels is None:
        channels = range(min(count, there)) if answers is None else most_excited(answers, count).tolist()
    wanted = list(dict.fromkeys(int(k) for k in channels or ()))
    images, activations = channel_pictures(net, layer, wanted, key=key, size=size, steps=steps, track=track)
    weights = head_weights(net, excitement(net, images[:1], layer) if answers is None else answers)
    described = [
        Channel(k, image, float(activation), **_known(net.spec.classes, weights, source, answers, k))
        for k, image, activation in zip(wanted, images, activations, strict=True)
    ]
    if source is None or answers is None:
        return LayerChannels(layer, described, None if weights is None else "weights", 0, ())
    _fill_crops(net, source, answers, described, track)
    by = "weights" if weights is not None else "photos" if net.spec.classes else None
    return LayerChannels(layer, described, by, len(answers.index), answers.skipped)


def channel_pictures(
    net: Network,
    layer: str,
    channels: Sequence[int],
    *,
    key: Array,
    size: int = 112,
    steps: int = 96,
    track: Track = untracked,
) -> tuple[UInt8[np.ndarray, "n size size 3"], Float[np.ndarray, " n"]]:
    """The ideal pictures of channels of one layer: 24 at once, all by one program, whichever channels they are.

    Args, Raises: as `dream`. 112 pixels are a multiple of the patches of all vision transformers here.
    Returns:
        the pictures, and the mean of each channel over space in its own; exactly 0: it never woke.

    >>> images, activations = tljax.synth.channel_pictures(
    ...     net, "block", [3, 5], size=32, steps=2, key=jax.random.key(0)
    ... )
    >>> images.shape, activations.shape
    ((2, 32, 32, 3), (2,))
    """
    recipe, images, activations = Recipe(), [], []
    objective = recipe.objective(_WEIGHT * recipe.aim(layer))
    for start in range(0, len(channels), _AT_ONCE):
        some = [int(k) for k in channels[start : start + _AT_ONCE]]
        full = [*some, *[some[-1]] * (min(len(channels), _AT_ONCE) - len(some))]  # of a size that is compiled
        options = {"key": key, "size": size, "steps": steps, "track": track}
        made = dream(net.intermediates, net.variables, full, layer=layer, objective=objective, **options)
        images.append(np.asarray(to_bytes(made.images))[: len(some)])
        activations.append(np.asarray(made.activation)[: len(some)])
    return np.concatenate(images), np.concatenate(activations)


def _known(names: Sequence[str], weights: Any, source: Source | None, answers: Excitement | None, k: int) -> dict:
    """What photos and the head's weights tell of a channel; its crops are still black."""
    if source is None or answers is None:
        classes = () if weights is None else _greatest(names, weights[k])
        return {"photos": (), "crops": _black(0), "classes": classes, "similar": ()}
    rows = strongest(answers, k, _PHOTOS)
    return {
        "photos": tuple(source.files[i] for i in answers.index[rows]),
        "crops": _black(len(rows)),
        "classes": _greatest(names, mean_probs(answers, k, rows) if weights is None else weights[k]),
        "similar": tuple(similar_channels(answers, k, _FEW)) if len(answers.index) >= _ENOUGH else (),
    }


def _greatest(names: Sequence[str], worth: Float[np.ndarray, " k"]) -> tuple[tuple[str, float], ...]:
    """The classes of the greatest values above 0."""
    return tuple(
        (names[c], float(worth[c])) for c in map(int, np.argsort(-worth, kind="stable")[:_FEW]) if worth[c] > 0
    )


def _black(count: int) -> UInt8[np.ndarray, "m 96 96 3"]:
    return np.zeros((count, _CROP, _CROP, 3), np.uint8)


def _fill_crops(net: Network, source: Source, answers: Excitement, described: list[Channel], track: Track) -> None:
    """Cuts the crops out of the photos, of which each is read once more: all of them may not fit the memory."""
    wanted: dict[int, list[tuple[Channel, int]]] = {}
    for channel in described:
        for rank, row in enumerate(strongest(answers, channel.index, _PHOTOS)):
            wanted.setdefault(int(row), []).append((channel, rank))
    rows = {int(answers.index[row]): row for row in sorted(wanted)}
    feed = loader.batches(source, rows, net.spec, batch_size=_READ)
    for batch in track(feed, f"crops, of {_READ} photos at once", -(-len(rows) // _READ)):
        for i, photo in zip(batch.index[batch.mask], batch.images[batch.mask], strict=True):
            for channel, rank in wanted[rows[int(i)]]:
                place = answers.places[rows[int(i)], channel.index]
                channel.crops[rank] = crop_around(photo, place, answers.cells, size=_CROP)
