"""Sets with a guarantee: the classes of a photo that hold the right one as often as was asked for.

A class scores the less, the fewer likelier ones stand before it. It is in the set unless its score is higher than those
that the right classes reached on photos that nobody learned from. That holds for whatever gives the probabilities; how
large the sets are is what a better network changes.
"""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int

from tljax.errors import InputError, refuse

Calibration = Mapping[str, np.ndarray]
"""Of m photos: before (m,) and prob (m,), float64, fold (m,) int32, and penalty (), float64; see `calibrate_sets`."""

_FREE = 5
_ROUNDING = 1e-9


def calibrate_sets(
    probs: Float[np.ndarray, "m c"],
    labels: Int[np.ndarray, " m"],
    *,
    fold: Int[np.ndarray, " m"] | None = None,
    penalty: float = 0.01,
) -> dict[str, np.ndarray]:
    """What the right classes of photos score that nothing was learned from.

    Args:
        probs: the probabilities of the photos, as they will be computed for new ones.
        labels: their classes, 0..C-1.
        fold: the part of the photos that each belongs to, 0..K-1, where K classifiers learned from all parts but one
            and `probs` are those of the one that did not see the photo; None: one classifier, which saw none.
        penalty: what a class scores more for each rank beyond the fifth, which shortens long sets: lambda of the paper,
            5 its k_reg. With 0 these are its adaptive sets without regularisation.
    Returns:
        before: what stands before the right class, the sum of the likelier classes' probabilities and the penalties of
        its rank; prob: its own probability; both (m,) float64. fold (m,) int32, penalty () float64.
    Raises:
        InputError: shapes that do not fit, a label out of range.
    Source: regularised adaptive prediction sets (RAPS), Angelopoulos et al., arXiv 2009.14193.

    >>> probs = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]])
    >>> tljax.transfer.calibrate_sets(probs, np.array([0, 2]))["before"].round(2).tolist()
    [0.0, 0.9]
    """
    probs, labels = np.asarray(probs, np.float64), np.asarray(labels)
    if probs.ndim != 2 or labels.shape != probs.shape[:1]:
        raise InputError(f"probs {probs.shape} and labels {labels.shape}: expected (m, C) and (m,)")
    if len(labels) and not 0 <= labels.min() <= labels.max() < probs.shape[1]:
        raise InputError(f"labels from {labels.min()} to {labels.max()}: there are {probs.shape[1]} classes, from 0")
    right = np.arange(len(labels)), labels
    fold = np.zeros(len(labels), np.int32) if fold is None else np.asarray(fold, np.int32)
    before = _standing_before(probs, penalty)[right]
    return {"before": before, "prob": probs[right], "fold": fold, "penalty": np.array(penalty, np.float64)}


def prediction_sets(
    calibration: Calibration,
    probs: Float[np.ndarray, "n *k c"],
    *,
    coverage: float,
    u: tuple[Float[np.ndarray, " m"], Float[np.ndarray, " n"]] | None = None,
) -> Bool[np.ndarray, "n c"]:
    """Which classes are in the set of each photo.

    With one classifier the right class is in the set with a probability of at least `coverage`, over the photos and
    those of the calibration, if all are drawn alike. With K folds the share of lower scores is the mean of the folds',
    and the promise is 1 - 2 (1 - coverage); mostly it is kept with much room. See `promised`.

    Args:
        calibration: from `calibrate_sets`.
        probs: (n, C), or of K folds (n, K, C): what the classifier of each says.
        u: uniform numbers in [0, 1) for the photos of the calibration and for the n, by which a class counts with a
            random part of its own probability. The sets are then smaller, may be empty, and with one classifier hold
            the right class exactly as often as was asked for: counts are beta-binomial. None: nothing is random, no
            class counts with its own probability, and the likeliest one (of one classifier) is always in the set.
    Returns:
        (n, C).
    Raises:
        InputError: a coverage that is none, or that needs more photos; shapes that do not fit.
    Source: split conformal prediction, Papadopoulos et al., 2002; of folds, the mean of their p-values: Gasparin and
        Ramdas, arXiv 2503.01495 (CV+ of Romano et al., arXiv 2006.02544, promises less, by 2 (K - 1) / (m + K)).

    >>> known = tljax.transfer.calibrate_sets(np.tile([0.6, 0.3, 0.1], (4, 1)), np.array([0, 0, 0, 1]))
    >>> tljax.transfer.prediction_sets(known, np.array([[0.1, 0.5, 0.4], [0.2, 0.1, 0.7]]), coverage=0.8).tolist()
    [[False, True, True], [False, False, True]]
    """
    promised(calibration, coverage)
    before, prob, fold, penalty = (calibration[name] for name in ("before", "prob", "fold", "penalty"))
    probs = np.asarray(probs, np.float64)
    probs = probs[:, None] if probs.ndim == 2 else probs
    parts = np.unique(fold)
    known, new = (0.0, np.zeros(len(probs))) if u is None else (np.asarray(part) for part in u)
    if probs.ndim != 3 or probs.shape[1] != len(parts) or np.shape(new) != probs.shape[:1]:
        raise InputError(f"probs {probs.shape} and u {np.shape(new)}: expected (n, {len(parts)}, C) and (n,)")
    right = before + known * prob
    lower = np.zeros((len(probs), probs.shape[2]))
    for part, of_part in zip(parts, np.moveaxis(probs, 1, 0), strict=True):
        scores = np.sort(right[fold == part])
        found = np.searchsorted(scores, _standing_before(of_part, penalty) + new[:, None] * of_part, side="left")
        lower += found / (len(scores) + 1) / len(parts)
    return lower < coverage - _ROUNDING


def promised(calibration: Calibration, coverage: float) -> float:
    """The least share of the sets that hold the right class: `coverage` itself, or of folds 1 - 2 (1 - coverage).

    Raises:
        InputError: a coverage that is none, or that needs more photos.
    """
    refuse({f"the coverage is {coverage}: expected a share between 0 and 1, such as 0.9": not 0 < coverage < 1})
    sizes = np.unique(calibration["fold"], return_counts=True)[1]
    needed = math.ceil(coverage / (1 - coverage) - _ROUNDING)
    if min(sizes, default=0) < needed:
        folds = f" for each of {len(sizes)} folds" if len(sizes) > 1 else " kept aside"
        raise InputError(
            f"coverage {coverage} needs {needed} photos{folds}, and there are {min(sizes, default=0)}: "
            "ask for less, or train with more photos"
        )
    return coverage if len(sizes) == 1 else max(1 - 2 * (1 - coverage), 0.0)


def _standing_before(probs: Float[np.ndarray, "n c"], penalty: float | np.ndarray) -> Float[np.ndarray, "n c"]:
    """The probabilities of the classes before each (of equals, of those named first), and the penalties of its rank."""
    order = np.argsort(-probs, axis=1, kind="stable")
    sums = np.cumsum(np.take_along_axis(probs, order, 1), axis=1)
    ranked = np.concatenate([np.zeros((len(probs), 1)), sums[:, :-1]], 1)
    ranked += penalty * np.maximum(np.arange(1, probs.shape[1] + 1) - _FREE, 0)
    before = np.empty_like(ranked)
    np.put_along_axis(before, order, ranked, 1)
    return before
