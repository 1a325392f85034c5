"""Which layer serves best: the last, unless an earlier one is surely better."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tljax.data.source import Source
from tljax.distributed import collectives
from tljax.models.layered import layered_spec, places, with_layers
from tljax.models.network import Network
from tljax.progress import Track, say, shows_progress, untracked
from tljax.transfer.features import extract
from tljax.transfer.probe import FOLDS, Probe, fit_probe, predict_folds

AUTO = "auto"
"""In the place of a layer's name: the one that `with_best_layer` finds."""

_WIDTHS = (128, 512, 1280, 5120)
_SURE = 2.0
"""Standard errors. Of EfficientNet-Lite0, accuracy of the best stage on folds against the last: digits 6.7 (on other
photos 95.5 to 99.2 %); textures up to 1.4 (there 98.1 to 97.1 %); pets below 0."""


@shows_progress
def with_best_layer(
    net: Network,
    photos: Source,
    own: Float[np.ndarray, "n d"],
    *,
    batch_size: int = 32,
    track: Track | bool = untracked,
    **options: Any,
) -> Network:
    """The network on the stage whose features serve labelled photos best; as it is, where that is its last.

    All stages are looked at in one pass: the last map of each, averaged over space, and over each of its quarters.

    Args:
        photos: n labelled photos that can be read; of those that shall validate, none.
        own: their features, `net.embed`.
        batch_size, track: see `extract`.
        options: balanced, l2, seed; see `fit_probe`.
    Returns:
        `models.with_layers` of one layer, or `net`.
    Raises:
        InputError: as `fit_probe`.

    >>> source = tljax.data.open_source("photos")
    >>> own = tljax.transfer.extract(net, source).values
    >>> tljax.transfer.with_best_layer(net, source, own).spec.layers
    ()
    """
    shown: Any = track  # a `Track` by now
    names = [place for place in places(net.spec) if place != net.spec.last_layer]
    found = extract(with_layers(net, *names), photos, batch_size=batch_size, track=_said(shown))
    ends = np.cumsum([layered_spec(net.spec, [name]).feature_dim for name in names])
    candidates = dict(zip(names, np.split(found.values, ends[:-1], axis=1), strict=True))
    options = {"classes": len(photos.classes), **options}
    layer = best_layer(own, candidates, photos.labels, track=shown, **options)
    layer = collectives.from_first(lambda: layer)
    say(shown, f"{net.spec.name}: features of {layer or 'the last layer'}, chosen by {FOLDS} folds")
    return net if layer is None else with_layers(net, layer)


def best_layer(
    own: Float[np.ndarray, "n d"],
    candidates: Mapping[str, Float[np.ndarray, "n _"]],
    labels: Int[np.ndarray, " n"],
    *,
    seed: int = 0,
    track: Track = untracked,
    **options: Any,
) -> str | None:
    """The candidate whose features are surely better for a probe; None: `own` are as good.

    The one of least loss on one draw of folds must be right more often than `own`, on another draw, by more than two
    standard errors of the paired differences: the best of many is partly so by luck, and photos of one origin (the
    textures are parts of a few photographs) make earlier stages look better than they are on others.

    Args:
        own: features that are kept in case of doubt.  candidates: others of the same n photos.
        options: classes, balanced, l2; see `fit_probe`.
    Source: the rule of standard errors, Breiman et al., "Classification and Regression Trees", 1984, there with one.
    """
    fits = {
        name: fit_probe(_padded(values), labels, seed=seed, **options)
        for name, values in track(candidates.items(), "layers", len(candidates))
    }
    losses = {name: loss for name, fit in fits.items() if (loss := _loss(fit)) is not None}
    if not losses:  # one photo a class: nothing to choose by
        return None
    best = min(losses, key=lambda name: losses[name])
    mine = fit_probe(own, labels, seed=seed, **options)
    ours, theirs = (
        _right(values, labels, seed=seed + 1, **{**options, "l2": fit.l2})
        for values, fit in ((own, mine), (_padded(candidates[best]), fits[best]))
    )
    better = theirs - ours
    return best if better.mean() > _SURE * better.std(ddof=1) / np.sqrt(len(better)) else None


def _loss(fit: Probe) -> float | None:
    """The loss on photos held out, at the strength that was taken."""
    return next(step["val_loss"] for step in fit.path if step["l2"] == fit.l2)


def _right(values: np.ndarray, labels: np.ndarray, **options: Any) -> np.ndarray:
    """Whether each photo that can be held out is right, as 0.0 or 1.0."""
    probs, index = predict_folds(values, labels, **options)
    return (probs.argmax(1) == labels[index]).astype(float)


def _padded(values: np.ndarray) -> np.ndarray:
    """The features with columns of zeros, to which a probe gives no weight: a few widths, so a few programs."""
    width = next((width for width in _WIDTHS if width >= values.shape[1]), values.shape[1])
    return np.pad(values, ((0, 0), (0, width - values.shape[1])))


def _said(track: Track) -> Track:
    """The same display, which says that all stages are looked at."""
    return lambda items, description="", total=None: track(items, f"all stages: {description}", total)
