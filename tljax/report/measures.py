"""What the pages count, from probabilities, labels and the record of a training."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tljax.report.text import duration, number


class Calibration(NamedTuple):
    """Photos sorted into equal bins of the predicted class's probability.

    edges: (bins + 1,). confidence, accuracy: (bins,) means in [0, 1], nan in an empty bin. count: (bins,) photos.
    """

    edges: Float[np.ndarray, " e"]
    confidence: Float[np.ndarray, " bins"]
    accuracy: Float[np.ndarray, " bins"]
    count: Int[np.ndarray, " bins"]

    @property
    def error(self) -> float:
        """The expected calibration error: |accuracy - confidence|, weighted by photos (Guo et al. 2017)."""
        gaps = np.abs(self.accuracy - self.confidence) * self.count
        return float(np.nansum(gaps) / max(self.count.sum(), 1))


def calibrate(probs: Float[np.ndarray, "n c"], labels: Int[np.ndarray, " n"], bins: int = 15) -> Calibration:
    """What a reliability diagram draws; a probability on an edge belongs to the bin on its left."""
    top, right = probs.max(1), probs.argmax(1) == labels
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, top, side="left") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    known = np.where(count > 0, count, np.nan)
    means = [np.bincount(place, values, minlength=bins) / known for values in (top, right)]
    return Calibration(edges, *means, count)


class Measures(NamedTuple):
    """What a page says about n predictions; shares in [0, 1], nan without photos.

    matrix: (c, c) counts, rows true, columns predicted. balanced_accuracy: the mean recall of classes with a photo.
    """

    matrix: Int[np.ndarray, "c c"]
    accuracy: float
    balanced_accuracy: float
    calibration: Calibration


def measure(probs: Float[np.ndarray, "n c"], labels: Int[np.ndarray, " n"]) -> Measures:
    """Counts what a page shows of probabilities (n, c) and the true classes (n,), 0..c-1."""
    probs, labels = np.asarray(probs, float), np.asarray(labels)
    classes = probs.shape[1]
    matrix = np.bincount(labels * classes + probs.argmax(1), minlength=classes**2).reshape(classes, classes)
    photos, right = matrix.sum(1), matrix.diagonal()
    seen = photos > 0
    if not seen.any():
        return Measures(matrix, float("nan"), float("nan"), calibrate(probs, labels))
    balanced = float(np.mean(right[seen] / photos[seen]))
    return Measures(matrix, float(right.sum() / photos.sum()), balanced, calibrate(probs, labels))


def top_confusions(
    matrix: Int[np.ndarray, "c c"], classes: Sequence[str], limit: int = 15
) -> list[tuple[str, str, int, float]]:
    """The most frequent mistakes: (true class, predicted class, photos, share of the true class's photos)."""
    matrix = np.asarray(matrix)
    wrong = matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
    cells = [(int(i) // len(matrix), int(i) % len(matrix)) for i in order]
    return [
        (classes[row], classes[column], int(wrong[row, column]), float(wrong[row, column] / matrix[row].sum()))
        for row, column in cells
        if wrong[row, column]
    ]


class Interval(NamedTuple):
    """A mean over seeds, and half the width of its 95 % interval (nan for a single seed)."""

    mean: float
    half: float


def interval(values: Sequence[float]) -> Interval:
    """The mean of the values of several seeds and its 95 % interval by Student's t; give differences for pairs."""
    from scipy.special import stdtrit

    values = np.asarray(values, float)
    count = len(values)
    if count < 2:
        return Interval(float(values.mean()), float("nan"))
    half = float(stdtrit(count - 1, 0.975) * values.std(ddof=1) / np.sqrt(count))
    return Interval(float(values.mean()), half)


def cost_tiles(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Tiles (label, value, note) of what a training took: classes, train_images, val_images, seconds, where known."""
    tiles = []
    if record.get("classes"):
        tiles.append(("Classes", number(len(record["classes"])), ""))
    train, validation = record.get("train_images"), record.get("val_images")
    if train is not None:
        held_out = f"{number(validation)} to validate" if validation is not None else ""
        tiles.append(("Training photos", number(train), held_out))
    if record.get("seconds") is not None:
        tiles.append(("Time", duration(record["seconds"]), ""))
    return tiles
