"""How good predictions are (accuracy, F1, confusion, calibration) and how sure that is, in NumPy on the host."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tljax.errors import InputError


@dataclass(frozen=True)
class Reliability:
    """What a reliability diagram draws: per bin of confidence, how often the prediction was right.

    edges: (bins + 1,), from 0 to 1. confidence, accuracy: (bins,) means in [0, 1], nan in an empty bin.
    count: (bins,) photos.
    """

    edges: Float[np.ndarray, " e"]
    confidence: Float[np.ndarray, " bins"]
    accuracy: Float[np.ndarray, " bins"]
    count: Int[np.ndarray, " bins"]


class Interval(NamedTuple):
    """A mean over seeds, and half the width of its 95 % interval (nan for a single seed)."""

    mean: float
    half: float


def accuracy(predicted: Int[np.ndarray, " n"], labels: Int[np.ndarray, " n"]) -> float:
    """The share of photos whose predicted class is the true one, in [0, 1]; nan without photos."""
    predicted, labels = _same_length(predicted, labels)
    return _mean(predicted == labels)


def confusion(predicted: Int[np.ndarray, " n"], labels: Int[np.ndarray, " n"], classes: int) -> Int[np.ndarray, "c c"]:
    """Counts of photos: rows are true classes, columns predicted ones.

    Raises:
        InputError: the lengths differ, or a class lies outside 0..classes-1.
    """
    predicted, labels = _same_length(predicted, labels)
    _check_classes("predicted class", predicted, classes)
    _check_classes("label", labels, classes)
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def per_class_accuracy(matrix: Int[np.ndarray, "c c"]) -> Float[np.ndarray, " c"]:
    """The recall of each class from a confusion matrix, in [0, 1]; nan for a class without a true photo."""
    photos = matrix.sum(1)
    return np.where(photos > 0, np.diag(matrix) / np.maximum(photos, 1), np.nan)


def balanced_accuracy(matrix: Int[np.ndarray, "c c"]) -> float:
    """The mean recall of the classes that have a true photo, from a confusion matrix; nan without photos."""
    return _mean(per_class_accuracy(matrix)[matrix.sum(1) > 0])


def macro_f1(matrix: Int[np.ndarray, "c c"]) -> float:
    """The mean F1 of the classes that have a true photo, from a confusion matrix; nan without photos.

    A class never rightly predicted counts 0. One without a true photo has no recall and is left out, as in
    `balanced_accuracy`; what is wrongly put there still costs the recall of others.
    """
    photos, hits = matrix.sum(1), np.diag(matrix)
    scores = 2 * hits / np.maximum(photos + matrix.sum(0), 1)
    return _mean(scores[photos > 0])


def top_confusions(
    matrix: Int[np.ndarray, "c c"], classes: Sequence[str], limit: int = 15
) -> list[tuple[str, str, int, float]]:
    """The most frequent mistakes: (true class, predicted class, photos, share of the true class's photos)."""
    matrix = np.asarray(matrix)
    wrong = matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
    rows, columns = (where.tolist() for where in np.unravel_index(order, matrix.shape))
    return [
        (
            str(classes[row]),
            str(classes[column]),
            int(wrong[row, column]),
            float(wrong[row, column] / matrix[row].sum()),
        )
        for row, column in zip(rows, columns, strict=True)
        if wrong[row, column]
    ]


def log_loss(probs: Float[np.ndarray, "n c"], labels: Int[np.ndarray, " n"]) -> float:
    """The mean negative log probability of the true class, in nats; probabilities count as at least 1e-12."""
    probs, labels = _checked(probs, labels)
    return _mean(-np.log(np.maximum(probs[np.arange(len(labels)), labels], 1e-12)))


def reliability(probs: Float[np.ndarray, "n c"], labels: Int[np.ndarray, " n"], bins: int = 15) -> Reliability:
    """Sorts photos into `bins` equal bins by the probability of the predicted class; the right edge belongs."""
    probs, labels = _checked(probs, labels)
    top = probs.max(1)
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, top, side="left") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    known = np.where(count > 0, count, np.nan)
    return Reliability(
        edges,
        np.bincount(place, top, minlength=bins) / known,
        np.bincount(place, probs.argmax(1) == labels, minlength=bins) / known,
        count,
    )


def ece(probs: Float[np.ndarray, "n c"], labels: Int[np.ndarray, " n"], bins: int = 15) -> float:
    """Expected calibration error: |accuracy - confidence| of each bin, weighted by its photos, in [0, 1].

    Source: Guo et al., "On calibration of modern neural networks", 2017 (equal bins of the top probability).
    """
    curve = reliability(probs, labels, bins)
    total = curve.count.sum()
    gaps = np.abs(curve.accuracy - curve.confidence) * curve.count
    return float(np.nansum(gaps) / total) if total else float("nan")


def summarise(probs: Float[np.ndarray, "n c"], labels: Int[np.ndarray, " n"], classes: Sequence[str]) -> dict[str, Any]:
    """The measures that `evaluate` reports, as plain Python values that JSON can hold.

    Args:
        probs: (n, c) probabilities.
        labels: (n,) true classes, 0..c-1.
        classes: c names.
    Returns:
        accuracy, interval (of it, 95 %: [low, high]), balanced_accuracy, macro_f1, ece, log_loss (floats);
        per_class_accuracy {name: float, or None without a true photo}; confusion (rows true, columns predicted);
        classes; images (count).
    Raises:
        InputError: no photo, shapes that do not fit, or a label outside the classes.
    """
    probs, labels = _checked(probs, labels)
    if not len(labels):
        raise InputError("no labelled photo to measure: give at least one that can be read")
    if probs.shape[1] != len(classes):
        raise InputError(f"probabilities have {probs.shape[1]} columns for {len(classes)} classes")
    predicted = probs.argmax(1)
    matrix = confusion(predicted, labels, len(classes))
    shares = per_class_accuracy(matrix)
    return {
        "accuracy": accuracy(predicted, labels),
        "interval": list(wilson(int((predicted == labels).sum()), len(labels))),
        "balanced_accuracy": balanced_accuracy(matrix),
        "macro_f1": macro_f1(matrix),
        "ece": ece(probs, labels),
        "log_loss": log_loss(probs, labels),
        "per_class_accuracy": {
            str(name): None if np.isnan(share) else float(share) for name, share in zip(classes, shares, strict=True)
        },
        "confusion": matrix.tolist(),
        "classes": [str(name) for name in classes],
        "images": len(labels),
    }


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share, `hits` of `count`; never beyond [0, 1], and right for few photos as well.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    z = 1.959964
    share = hits / count
    centre, scale = (share + z * z / (2 * count)), 1 + z * z / count
    half = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(float((centre - half) / scale), 0.0), min(float((centre + half) / scale), 1.0)


def paired(wins: int, losses: int, count: int) -> tuple[float, float]:
    """The 95 % interval of the difference of two shares that were counted on the same `count` photos.

    Args:
        wins: photos that only the first has right.  losses: photos that only the second has right.
    Returns:
        (low, high) of the first share less the second; right for few photos, and never of no width.
    Source: Agresti and Min, "Simple improved confidence intervals for comparing matched proportions", 2005.
    """
    total = count + 2  # each of the four cells of the table counts as if it held half a photo more
    difference = (wins - losses) / total
    half = 1.959964 * np.sqrt(wins + losses + 1 - (wins - losses) ** 2 / total) / total
    return max(float(difference - half), -1.0), min(float(difference + half), 1.0)


def interval(values: Sequence[float]) -> Interval:
    """The mean of the values of several seeds and its 95 % interval by Student's t.

    Args:
        values: one for each seed; where two methods ran on the same seeds, their differences.
    """
    from scipy.special import stdtrit

    count = len(values)
    half = stdtrit(count - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(count) if count > 1 else np.nan
    return Interval(float(np.mean(values)), float(half))


def _same_length(predicted, labels) -> tuple[np.ndarray, np.ndarray]:
    predicted, labels = np.asarray(predicted), np.asarray(labels)
    if predicted.shape != labels.shape or labels.ndim != 1:
        raise InputError(f"predictions of shape {predicted.shape} for labels of shape {labels.shape}")
    return predicted.astype(np.int64), labels.astype(np.int64)


def _checked(probs, labels) -> tuple[np.ndarray, np.ndarray]:
    probs, labels = np.asarray(probs, np.float64), np.asarray(labels).astype(np.int64)
    if probs.ndim != 2 or labels.shape != probs.shape[:1]:
        raise InputError(f"probabilities of shape {probs.shape} for labels of shape {labels.shape}")
    _check_classes("label", labels, probs.shape[1])
    return probs, labels


def _check_classes(what: str, values: np.ndarray, classes: int) -> None:
    wrong = values[(values < 0) | (values >= classes)]
    if len(wrong):
        raise InputError(f"{what} {wrong[0]}: there are {classes} classes, counted from 0")


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
