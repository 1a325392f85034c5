"""What is wrong in a set of labelled photos: every kind of trouble, as one list."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int

from tljax.data.fixes import DROP
from tljax.data.source import Source
from tljax.errors import InputError
from tljax.models.network import Network
from tljax.progress import Track, shows_progress, untracked
from tljax.transfer.features import Features, extract
from tljax.transfer.probe import fit_probe, predict_folds
from tljax.transfer.trust.appearance import look_at
from tljax.transfer.trust.copies import Copies, copies_among
from tljax.transfer.trust.label_errors import find_label_errors
from tljax.transfer.trust.outliers import find_outliers
from tljax.transfer.trust.poor_photos import poor_among

KINDS = {
    "label_error": "Its features speak for another class. Score: by how much more probable that class is, 0 to 1.",
    "contradiction": "It shows the same picture as a photo of another class. Score: how alike they are, 0 to 1.",
    "leakage": "It trains, and the same picture validates or tests. Score: how alike they are, 0 to 1.",
    "copy": "The same file is there twice. Score: 1.",
    "near_copy": "It shows the same picture as another photo of its class. Score: how alike they are, 0 to 1.",
    "outlier": "It is unlike all other photos of its class. Score: robust standard deviations, above 3.5.",
    "unreadable": "It cannot be read, and is left out of every run.",
    "tiny": "It has far fewer pixels than the others. Score: 64 pixels by its short side.",
    "odd_shape": "It is over three times as long as wide. Score: 1 there, more beyond.",
    "uniform": "It shows next to nothing. Score: 1 where that begins, more beyond.",
    "dark": "Almost all of it is dark. Score: 1 where that begins, more beyond.",
    "bright": "Almost all of it is bright. Score: 1 where that begins, more beyond.",
    "blurred": "It is blurred. Score: 1 where that begins, more beyond.",
}


@dataclass(frozen=True)
class Issue:
    """Something that may be wrong with a photo.

    Attributes:
        index: its place in the source.
        kind: one of `KINDS`, which say what the score means.
        score: the larger, the worse.
        suggestion: the class that it should have, or "drop".
        other: the place of the photo that shows why: the copy to keep, or the nearest photo of the class suggested;
            None where there is none.
        detail: in words, or "".

    >>> [issue.kind for issue in tljax.transfer.check(net, tljax.data.open_source("photos")).issues]
    []
    """

    index: int
    kind: str
    score: float
    suggestion: str
    other: int | None = None
    detail: str = ""


@dataclass(frozen=True)
class Checked:
    """What `check` found: the issues, kind by kind and the worst first, and the groups of copies.

    >>> tljax.transfer.check(net, tljax.data.open_source("photos")).copies
    ()
    """

    source: Source
    issues: tuple[Issue, ...]
    copies: tuple[Copies, ...]

    def counts(self) -> dict[str, int]:
        """How many issues there are of each kind that occurs."""
        counted = Counter(issue.kind for issue in self.issues)
        return {kind: counted[kind] for kind in KINDS if counted[kind]}


@shows_progress
def check(
    net: Network,
    source: Source,
    *,
    batch_size: int = 32,
    cache: Any = None,
    seed: int = 0,
    track: Track | bool = untracked,
) -> Checked:
    """Finds wrong labels, copies, strange photos and poor ones in labelled photos.

    Labels are judged by linear probes on the network's features, each on a fold that it did not see; copies share a
    fold. See `find_label_errors`, `find_duplicates`, `find_outliers` and `find_poor_photos`.

    Args:
        source: labelled photos; those that cannot be read are issues.
        batch_size, cache: see `extract`.
        seed: of the folds.
        track: True shows progress on stderr; or a function as in `tljax.progress`.
    Raises:
        InputError: fewer than two classes that have a photo which can be read.

    >>> found = tljax.transfer.check(net, tljax.data.open_source("photos"))
    >>> found.counts()
    {}
    """
    shown: Any = track  # a `Track` by now
    source = _labelled(source)
    seen = look_at(source, track=shown)
    copies = tuple(copies_among(seen, track=shown))
    features = extract(net, source, batch_size=batch_size, cache=cache, skip=True, track=shown)
    if len(np.unique(features.labels)) < 2:
        raise InputError(f"{source.name}: fewer than two classes have a photo that can be read: nothing to compare")
    groups = np.full(len(source.files), -1, np.int32)
    for number, group in enumerate(copies):
        groups[list(group.index)] = number
    probs = _held_out(features, source, groups[features.index], seed)
    copied = _copies(copies, source, dict(zip(features.index.tolist(), probs, strict=True)))
    contradicted = {one.index for one in copied if one.kind == "contradiction"}
    issues = [
        *(one for one in _label_errors(features, source, probs) if one.index not in contradicted),
        *copied,
        *_outliers(features, groups[features.index], seed),
        *(Issue(one.index, one.kind, one.score, DROP, None, one.detail) for one in poor_among(seen, source.files)),
    ]
    order = list(KINDS)
    issues.sort(key=lambda one: (order.index(one.kind), -one.score, one.index))
    return Checked(source, tuple(issues), copies)


def _labelled(source: Source) -> Source:
    """The photos that have a label, with their splits."""
    kept = np.flatnonzero(source.labels >= 0)
    splits = {name: np.flatnonzero(np.isin(kept, where)) for name, where in source.splits.items()}
    return replace(source.subset(kept), splits=splits)


def _held_out(
    features: Features, source: Source, groups: Int[np.ndarray, " n"], seed: int
) -> Float32[np.ndarray, "n c"]:
    """What probes say of photos that they were not fitted on, (n, C); where none can, the label as it is given."""
    known, labels = np.unique(features.labels, return_inverse=True)
    options = {"classes": [source.classes[label] for label in known], "seed": seed, "groups": groups}
    strength = fit_probe(features.values, labels, **options).l2
    said, places = predict_folds(features.values, labels, l2=strength, **options)
    probs = np.zeros((len(labels), len(source.classes)), np.float32)
    probs[np.arange(len(labels)), features.labels] = 1
    probs[places] = 0
    probs[places[:, None], known] = said
    return probs


def _label_errors(features: Features, source: Source, probs: Float32[np.ndarray, "n c"]) -> list[Issue]:
    found = find_label_errors(probs, features.labels.astype(np.int64))
    nearest = _nearest(features, found.index, lambda row: features.labels == probs[row].argmax())
    return [
        Issue(int(features.index[row]), "label_error", round(float(score), 4), source.classes[label], other)
        for row, label, score, other in zip(found.index, found.suggestion, found.score, nearest, strict=True)
    ]


def _outliers(features: Features, groups: Int[np.ndarray, " n"], seed: int) -> list[Issue]:
    found = find_outliers(features.values, features.labels, seed=seed, groups=groups)
    nearest = _nearest(features, found.index, lambda row: features.labels == features.labels[row])
    return [
        Issue(int(features.index[row]), "outlier", round(float(score), 3), DROP, other)
        for row, score, other in zip(found.index, found.score, nearest, strict=True)
    ]


def _copies(copies: Sequence[Copies], source: Source, probs: dict[int, Float[np.ndarray, " c"]]) -> list[Issue]:
    """One issue for each copy but the one to be kept: of the class that the group probably is, and of those one that
    does not train, or else the largest."""
    issues = []
    sides = {int(i): name for name, where in source.splits.items() for i in where}
    for group in copies:
        labels = source.labels[list(group.index)]
        said = np.mean([probs[i] for i in group.index if i in probs], axis=0)
        right = max(np.unique(labels), key=lambda label: (said[label], -label))
        tests = dict.fromkeys(i for i in group.index if sides.get(i, "train") != "train")
        rightly = [i for i, label in zip(group.index, labels, strict=True) if label == right]
        kept = next((i for i in rightly if i in tests), rightly[0])
        for i, label, similarity in zip(group.index, labels, group.similarity, strict=True):
            if label != right:
                issues.append(Issue(i, "contradiction", similarity, source.classes[right], kept))
            elif tests and i not in tests:
                issues.append(Issue(i, "leakage", similarity, DROP, next(iter(tests))))
            elif i != kept:
                kind = "copy" if similarity == 1 else "near_copy"
                issues.append(Issue(i, kind, similarity, DROP, kept))
    return issues


def _nearest(features: Features, rows: Int[np.ndarray, " m"], among: Callable[[int], np.ndarray]) -> list[int | None]:
    """The place of the photo that is most similar to each, of those that `among` says."""
    units = features.values / np.maximum(np.linalg.norm(features.values, axis=1, keepdims=True), 1e-12)
    found: list[int | None] = []
    for row in map(int, rows):
        allowed = among(row)
        allowed[row] = False
        similar = np.where(allowed, units @ units[row], -np.inf)
        found.append(int(features.index[similar.argmax()]) if allowed.any() else None)
    return found
