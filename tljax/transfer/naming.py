"""What is in photos, by name: the most likely classes, none of them, or sets with a guarantee."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from tljax.data.loader import Skipped, check_readable
from tljax.data.source import Source
from tljax.data.sources import Photos, photo_source
from tljax.errors import InputError
from tljax.models.network import Network
from tljax.progress import Track, shows_progress, untracked
from tljax.transfer.prediction import score_source
from tljax.transfer.trust.sets import Calibration, prediction_sets, promised


@dataclass(frozen=True)
class Prediction:
    """What a network says of one photo.

    Attributes:
        file: how the photo is called: its path, or "photos[i]" where it came without one.
        label, prob: the most likely class and its probability.
        top: the most likely classes, (name, probability) each, in descending order.
        probs: (classes,) float32, in the order of `spec.classes`.
        unknown: whether it is none of the classes; None where the network does not tell.
        set: the classes among which the right one is with the `coverage` asked for, in descending order of probability;
            None where none was asked for.

    >>> first = tljax.predict(net, photos)[0]
    >>> first.file, first.probs.shape, first.label == first.top[0][0]
    ('photos[0]', (2,), True)
    """

    file: str
    label: str
    prob: float
    top: tuple[tuple[str, float], ...]
    probs: Float[np.ndarray, " k"]
    unknown: bool | None = None
    set: tuple[str, ...] | None = None


@shows_progress
def predict(
    net: Network,
    photos: Photos,
    *,
    top: int = 5,
    coverage: float | None = None,
    skip: bool = False,
    track: Track | bool = untracked,
) -> list[Prediction]:
    """Says what is in photos: one `Prediction` for each, in the order given.

    Args:
        net: pretrained, or a trained run.
        photos: a path, a folder, bytes of a file, a PIL image, a uint8 array (h, w, 3) or (b, h, w, 3), or a list.
        top: how many classes `Prediction.top` names.
        coverage: how often `Prediction.set` holds the right class, at least, such as 0.9, of photos like those that a
            run was trained on; where no photos were kept aside in training (`val_fraction=0`) the promise is
            1 - 2 (1 - coverage), see `prediction_sets`. None makes no sets.
        skip: leave photos out that cannot be read; `Prediction.file` says which are there.
        track: True shows progress on stderr; or a function that sees the batches, as in `tljax.progress`.
    Raises:
        InputError: no photo, or one that cannot be read (names the first, and why) unless `skip`; a `coverage` that is
            no share, that needs more photos than were kept aside, or of a network for which none were.

    >>> [prediction.file for prediction in tljax.predict(net, "photos/cat", top=1)][:1]
    ['photos/cat/0.png']
    >>> probs = np.stack([prediction.probs for prediction in tljax.predict(net, photos)])
    >>> sure = net.replace(calibration=tljax.transfer.calibrate_sets(probs, labels))
    >>> all(prediction.label in prediction.set for prediction in tljax.predict(sure, photos, coverage=0.8))
    True
    """
    source = photo_source(photos)
    shown: Any = track  # a `Track` by now
    probs, strange, index, skipped, sets = score_sets(net, source, coverage=coverage, track=shown)
    if not skip:
        check_readable(skipped, "; skip=True leaves such files out")
    return ranked(net.spec.classes, [source.files[i] for i in index], probs, strange, sets, top=top)


def ranked(
    classes: Sequence[str],
    files: Sequence[str],
    probs: Float[np.ndarray, "n k"],
    strange: Float[np.ndarray, " n"],
    sets: Bool[np.ndarray, "n k"] | None = None,
    *,
    top: int,
) -> list[Prediction]:
    """One `Prediction` for each file, from what `score_sets` gives, with the `top` most likely classes."""
    result = []
    for i, (file, row, score) in enumerate(zip(files, probs, strange, strict=True)):
        order: list[int] = np.argsort(-row, kind="stable").tolist()
        best = tuple((classes[c], float(row[c])) for c in order[:top])
        unknown = None if np.isnan(score) else bool(score > 1)
        among = None if sets is None else tuple(classes[c] for c in order if sets[i, c])
        result.append(Prediction(file, *best[0], best, row, unknown, among))
    return result


def score_sets(
    net: Network, source: Source, *, coverage: float | None, track: Track = untracked
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Skipped], np.ndarray | None]:
    """`score_source`, and which classes are in the sets with this coverage, (n, classes) bool; None: no sets.

    Raises:
        InputError: see `predict`.
    """
    if coverage is None:
        return *score_source(net, source, track=track), None
    known = known_sets(net)
    promised(known, coverage)  # what cannot be promised is told before any work
    folds = "kernel" in known
    said, strange, index, skipped = score_source(_with_fold_heads(net, known) if folds else net, source, track=track)
    probs, judges = (said[:, 0], said[:, 1:]) if folds else (said, said)
    sets = prediction_sets(known, judges, coverage=coverage)
    sets[np.arange(len(probs)), probs.argmax(1)] = True  # of itself, but where folds disagree
    return probs, strange, index, skipped, sets


def known_sets(net: Network) -> Calibration:
    """What the sets of a network are made by.

    Raises:
        InputError: it has nothing of the kind.
    """
    if not isinstance(net, Network):
        raise InputError(f'"{net.path}" cannot give sets with a coverage: take the run that it was exported from')
    if net.calibration is None:
        raise InputError(
            "no sets with a coverage: this network has no photos kept aside for them. Train it anew: runs of earlier "
            "versions have none, nor have those fine-tuned with --val-fraction 0 or --keep best"
        )
    return net.calibration


def _with_fold_heads(net: Network, known: Calibration) -> Network:
    """The network with the heads of the folds behind its own; their number alone reaches the program."""
    head = net.variables["params"]["head"]
    kernel = np.concatenate([np.asarray(head["kernel"])[:, None], known["kernel"]], 1)
    bias = np.concatenate([np.asarray(head["bias"])[None], known["bias"]])
    return net.replace(variables={**net.variables, "heads": {"kernel": kernel, "bias": bias}})
