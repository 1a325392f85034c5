"""Which labels are wrong: confident learning on what classifiers say of photos that they were not trained on."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from tljax.errors import InputError

_CLOSE = 1e-6


@dataclass(frozen=True)
class LabelErrors:
    """Photos whose label is probably wrong, the surest first.

    index: (m,) their places. suggestion: (m,) the class that each probably is. score: (m,) by how much more probable
    that class is than the label, in (0, 1].

    >>> tljax.transfer.find_label_errors(np.eye(2)[[0, 0, 1, 1]], np.array([0, 0, 1, 1])).score.tolist()
    []
    """

    index: Int[np.ndarray, " m"]
    suggestion: Int[np.ndarray, " m"]
    score: Float[np.ndarray, " m"]


def find_label_errors(probs: Float[np.ndarray, "n c"], labels: Int[np.ndarray, " n"]) -> LabelErrors:
    """Photos whose label is probably wrong, by confident learning.

    A photo counts for a class when its probability is at least the mean that photos of that label have. The table of
    labels against these counts, scaled to the labels' own numbers, estimates how many photos of label i are of class j;
    so many are taken, those whose probability of j exceeds that of i by most. One photo of each label always stays.

    Args:
        probs: (n, C), of classifiers that were not trained on the photo: of folds held out.
        labels: (n,), 0..C-1, as they are given.
    Raises:
        InputError: shapes that do not fit, a label out of range, probabilities that are not finite.
    Source: Northcutt, Jiang and Chuang, arXiv 1911.00068 ("prune by noise rate", which cleanlab takes by default and
        which this equals to the photo).

    >>> probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.95, 0.05]])
    >>> found = tljax.transfer.find_label_errors(probs, np.array([0, 0, 1, 1, 1]))
    >>> found.index.tolist(), found.suggestion.tolist()
    ([4], [0])
    """
    probs, labels = _checked(probs, labels)
    classes = probs.shape[1]
    wrong = _wrong_counts(probs, labels)
    found = np.zeros(len(labels), bool)
    for label in range(classes):
        members = np.flatnonzero(labels == label)
        for other in np.flatnonzero(wrong[label]) if len(members) > 1 else ():
            if other != label:
                margin = probs[members, other] - probs[members, label]
                found[members[np.argsort(-margin)[: wrong[label, other]]]] = True
    own = probs[np.arange(len(labels)), labels]
    favoured = probs.copy()
    favoured[np.arange(len(labels)), labels] += _CLOSE
    found &= favoured.argmax(1) != labels
    index = np.flatnonzero(found)
    suggestion = probs[index].argmax(1)
    score = probs[index, suggestion] - own[index]
    order = np.argsort(-score, kind="stable")
    return LabelErrors(index[order], suggestion[order], score[order])


def _wrong_counts(probs: Float[np.ndarray, "n c"], labels: Int[np.ndarray, " n"]) -> Int[np.ndarray, "c c"]:
    """How many photos of each label (rows) are probably of each class (columns); whole numbers, diagonal included."""
    classes = probs.shape[1]
    counts = np.bincount(labels, minlength=classes)
    means = [probs[labels == label, label].mean() if counts[label] else 2.0 for label in range(classes)]
    sure = probs >= np.maximum(means, 2 * _CLOSE) - _CLOSE
    which = np.where(sure.sum(1) > 1, probs.argmax(1), sure.argmax(1))
    some = sure.any(1)
    joint = np.zeros((classes, classes))  # rows are classes until it is rounded
    np.add.at(joint, (which[some], labels[some]), 1)
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    joint = joint / joint.sum(0) * counts
    joint = _rounded((joint / joint.sum() * len(labels)).T).T.astype(float)
    kept = np.maximum(joint.diagonal(), 1)
    others = np.maximum(np.count_nonzero(joint, axis=0) - 1, 1)
    joint = np.maximum(joint - (kept - joint.diagonal()) / others, 0)
    np.fill_diagonal(joint, kept)
    return _rounded(np.floor(joint)).T


def _rounded(table: Float[np.ndarray, "c c"]) -> Int[np.ndarray, "c c"]:
    """Whole numbers, each row with the sum that it had, rounded: where rounding moved most, one is added or taken."""
    whole = np.round(table)
    for row, values in zip(whole, table, strict=True):
        missing = int(np.round(values.sum()) - row.sum())
        order = np.argsort(values - row)
        row[order[::-1][:missing] if missing > 0 else order[:-missing]] += np.sign(missing)
    return whole.astype(np.int64)


def _checked(probs, labels) -> tuple[np.ndarray, np.ndarray]:
    probs, labels = np.asarray(probs, np.float64), np.asarray(labels)
    if probs.ndim != 2 or labels.shape != probs.shape[:1] or 0 in probs.shape:
        raise InputError(f"probabilities {probs.shape} and labels {labels.shape}: expected (n, C) and (n,)")
    if not np.isfinite(probs).all():
        raise InputError("probabilities that are not finite: leave these photos out")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= probs.shape[1]:
        raise InputError(f"labels must be integers from 0 to {probs.shape[1] - 1}")
    return probs, labels.astype(np.int64)
