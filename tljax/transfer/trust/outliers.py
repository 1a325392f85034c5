"""Photos that are unlike all others of their class."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from tljax.errors import InputError
from tljax.transfer.probe import FOLDS, stratified_folds
from tljax.transfer.trust.unknown import fit_gaussians, own_distances

_FAR = 3.5


@dataclass(frozen=True)
class Outliers:
    """Photos that are unlike their class, the strangest first.

    index: (m,) their places. score: (m,) by how many standard deviations, robustly, the logarithm of the distance
    exceeds the usual one; above 3.5.

    >>> features = np.concatenate([np.eye(8), np.eye(8) + 0.1, [np.full(8, -9.0)]])
    >>> tljax.transfer.find_outliers(features, np.zeros(17, int)).index.tolist()
    [16]
    """

    index: Int[np.ndarray, " m"]
    score: Float[np.ndarray, " m"]


def find_outliers(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    *,
    folds: int = FOLDS,
    seed: int = 0,
    groups: Int[np.ndarray, " n"] | None = None,
) -> Outliers:
    """Photos whose features lie far from those of their own class.

    The distance is that of `fit_unknown`, from the photo's own class and measured on folds held out. Its logarithm is
    compared with the median of all photos by the modified z-score. The only photo of a class is never judged.

    Args:
        features: (n, D), finite. labels: (n,), integers from 0.
        folds, seed, groups: see `fit_probe`.
    Raises:
        InputError: shapes that do not fit, features that are not finite, labels that are no integers from 0.
    Source: Lee et al., arXiv 1807.03888 (the distance); Iglewicz and Hoaglin, 1993 (the score, and 3.5).

    >>> features = tljax.transfer.extract(net, photos).values
    >>> tljax.transfer.find_outliers(features, labels).index.tolist()
    []
    """
    features, labels = np.asarray(features, np.float32), np.asarray(labels)
    if features.ndim != 2 or labels.shape != features.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"features {features.shape} and {labels.dtype} labels {labels.shape}: expected (n, D) and (n,)"
        )
    if not np.isfinite(features).all() or labels.min(initial=0) < 0:
        raise InputError("expected finite features, and labels that are integers from 0")
    held_out = stratified_folds(labels, folds, seed=seed, groups=groups)
    classes = int(labels.max(initial=0)) + 1
    far = np.full(len(labels), np.nan)
    for fold in np.unique(held_out[held_out >= 0]):
        held = held_out == fold
        known = fit_gaussians(features[~held], labels[~held], classes)
        far[held] = own_distances(known, features[held], labels[held])
    judged = np.flatnonzero(np.isfinite(far))
    logs = np.log(np.maximum(far[judged], 1e-30))
    apart = logs - np.median(logs) if len(logs) else logs
    spread = np.median(np.abs(apart)) if len(logs) else 0.0
    scores = 0.6745 * apart / spread if spread > 0 else np.zeros(len(logs))
    order = np.argsort(-scores, kind="stable")[: int((scores > _FAR).sum())]
    return Outliers(judged[order], scores[order])
