"""Which network serves labelled photos best: accuracy on equal folds, time for each photo, and what is mere luck."""

import time
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool

from tljax import metrics, trees
from tljax.data import loader
from tljax.data.source import Source
from tljax.data.splits import split
from tljax.distributed import sharding
from tljax.errors import InputError
from tljax.models.network import Network, for_inference
from tljax.models.spec import get_family
from tljax.progress import Track, shows_progress, untracked
from tljax.transfer.features import Features, embedded, extract
from tljax.transfer.layer_choice import AUTO, with_best_layer
from tljax.transfer.probe import FOLDS, predict_folds

_TIMED, _TIMES = 32, 3
_ALIKE = 1.1
"""Times that differ by less than this factor count as equal: a busy machine makes as much of a difference."""


@shows_progress
def compare(
    source: Source,
    nets: Mapping[str, Network],
    *,
    layer: Literal["auto"] | None = None,
    seed: int = 0,
    cache: bool | str | Path | None = None,
    track: Track | bool = untracked,
) -> dict[str, Any]:
    """How good a linear probe is on the features of each network, on the same photos held out.

    All labelled photos but the test photos take part, where each network can read them. The accuracy is the one that
    `train` reports of these photos with `val_fraction=0`. The intervals are those of other photos of the same kind;
    that the best was chosen among several is not allowed for, nor that folds share most of their training photos.

    Args:
        nets: by the names that they go by.
        layer: "auto" takes of each network the stage that serves best (see `with_best_layer`). It is chosen on the
            same photos, so that the accuracies of earlier stages are too good by a little.
        seed: of the folds, which are the same for all.
        cache: of the features, see `extract`.
        track: see `extract`.
    Returns:
        models, the most accurate first (of equal ones the fastest): {name, accuracy, interval (95 %),
        seconds_per_photo (see `seconds_per_photo`), params (of a classifier of these classes on this network),
        difference (how far its accuracy lies below the best), difference_interval (of it, 95 %, paired photo by photo),
        luck (whether that interval holds 0), layer (None: the last one's features)} each, interval and luck of the
        difference None for the best; best, its name; advice, sentences; images, classes, folds; skipped ({file, reason}
        each).
    Raises:
        InputError: no network; no photo that can be read, or none that can be held out; a class without a photo.

    >>> compared = tljax.transfer.compare(tljax.data.open_source("photos"), {"toy": net})
    >>> compared["best"], compared["images"]
    ('toy', 8)
    """
    if not nets:
        raise InputError("no network to compare: name at least one")
    shown: Any = track  # a `Track` by now
    shares = split(source, val_fraction=0).items()
    photos = source.subset(np.unique(np.concatenate([where for name, where in shares if name != "test"])))
    found = _features(nets, photos, cache, shown)
    index = _read_by_all(found)
    read = photos.subset(index)
    if layer == AUTO:
        nets = {
            name: with_best_layer(net, read, _rows(found[name], index), seed=seed, track=_said_of(name, shown))
            for name, net in nets.items()
        }
        found |= _features({name: net for name, net in nets.items() if net.spec.layers}, photos, cache, shown)
    right = {}
    for name, features in shown(found.items(), f"accuracy, by {FOLDS} folds for each network", len(found)):
        probs, places = predict_folds(_rows(features, index), read.labels, classes=source.classes, seed=seed)
        right[name] = probs.argmax(1) == read.labels[places]
    timed = shown(nets.items(), f"time, {_TIMES} times for each network", len(nets))
    seconds = {name: seconds_per_photo(net, read) for name, net in timed}
    order = sorted(nets, key=lambda name: (-right[name].sum(), seconds[name]))
    models = [
        {
            "name": name,
            "accuracy": float(right[name].mean()),
            "interval": list(metrics.wilson(int(right[name].sum()), len(right[name]))),
            "seconds_per_photo": seconds[name],
            "params": _params(nets[name], len(source.classes)),
            "layer": "".join(nets[name].spec.layers) or None,
            **(_below(right[order[0]], right[name]) if name != order[0] else _BEST),
        }
        for name in order
    ]
    reasons = {one.file: one.reason for features in found.values() for one in features.skipped}
    return {
        "models": models,
        "best": order[0],
        "advice": advice(models),
        "images": len(right[order[0]]),
        "classes": list(source.classes),
        "folds": FOLDS,
        "skipped": [{"file": file, "reason": reason} for file, reason in reasons.items()],
    }


def seconds_per_photo(net: Network, photos: Source) -> float:
    """How long this machine takes for a photo, from the file to its features: the median of three passes over 32.

    Of more photos 32 are taken, spread over all, and of fewer some again, so that the batch is as full as with many;
    the program is compiled before. It has the form that `extract` takes for that many photos.
    """
    mesh = sharding.local_mesh()
    rows = sharding.whole_rows(_TIMED, mesh)
    count = len(photos.files)
    shown = np.linspace(0, count - 1, rows).astype(int) if count > rows else np.resize(np.arange(count), rows)
    fast = for_inference(net, images=count)

    def once(_: int) -> float:
        began = time.perf_counter()
        for _batch in embedded(fast, loader.batches(photos, shown, fast.spec, batch_size=rows), mesh):
            pass
        return (time.perf_counter() - began) / rows

    once(0)
    return float(np.median([once(i) for i in range(_TIMES)]))


def advice(models: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which network to take, and what the others lose and gain, a sentence each.

    Args:
        models: as `compare` returns them, the best first.
    """
    best, *others = models
    low, high = best["interval"]
    layer = f" with --layer {best['layer']}" if best["layer"] else ""
    sure = f"95 % interval {100 * low:.1f} to {100 * high:.1f}"
    said = [f"Take {best['name']}{layer}: {100 * best['accuracy']:.1f} % ({sure})"]
    for other in others:
        low, high = other["difference_interval"]
        luck = ": may be luck" if other["luck"] else ""
        said.append(
            f"{other['name']} is {100 * other['difference']:.1f} points below "
            f"({100 * low:.1f} to {100 * high:.1f}{luck}) and {_speed(best, other)}"
        )
    return said


def _speed(best: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    times = best["seconds_per_photo"] / other["seconds_per_photo"]
    if 1 / _ALIKE < times < _ALIKE:
        return "as fast"
    return f"{times:.1f} times as fast" if times > 1 else f"takes {1 / times:.1f} times as long"


_BEST = {"difference": 0.0, "difference_interval": None, "luck": None}


def _below(best: Bool[np.ndarray, " n"], other: Bool[np.ndarray, " n"]) -> dict[str, Any]:
    """How far a network lies below the best one; (n,) whether each photo is right."""
    wins, losses = int((best & ~other).sum()), int((other & ~best).sum())
    low, high = metrics.paired(wins, losses, len(best))
    return {"difference": (wins - losses) / len(best), "difference_interval": [low, high], "luck": low <= 0}


def _features(nets: Mapping[str, Network], photos: Source, cache: Any, track: Track) -> dict[str, Features]:
    """The features of each network, of all photos that it can read."""
    return {
        name: extract(net, photos, cache=cache, skip=True, track=_said_of(name, track)) for name, net in nets.items()
    }


def _rows(features: Features, index: np.ndarray) -> np.ndarray:
    """Those of the photos at `index`."""
    return features.values[np.isin(features.index, index)]


def _read_by_all(found: Mapping[str, Features]) -> np.ndarray:
    """The places of the photos that every network can read.

    Raises:
        InputError: there are none, or none of which one can be held out.
    """
    first = next(iter(found.values()))
    index = reduce(np.intersect1d, [features.index for features in found.values()])
    if not len(index):
        unread = next(iter(first.skipped))
        raise InputError(f'no photo can be read: "{unread.file}": {unread.reason}')
    labels = first.labels[np.isin(first.index, index)]
    if np.bincount(labels).max() < 2:
        raise InputError("each class has a single photo: at least 2 are needed, one of them to be held out")
    return index


def _params(net: Network, classes: int) -> int:
    """The parameters of a linear classifier on the network: its own classifier is not among them."""
    own = {*get_family(net.spec.family).head, "head"}
    kept = {name: value for name, value in net.variables["params"].items() if name not in own}
    return sum(leaf.size for leaf in trees.flatten(kept).values()) + (net.spec.feature_dim + 1) * classes


def _said_of(name: str, track: Track) -> Track:
    """The same display, whose lines name the network."""
    if track is untracked:
        return untracked
    return lambda items, description="", total=None: track(items, f"{name}: {description}", total)
