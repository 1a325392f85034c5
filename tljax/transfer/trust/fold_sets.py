"""Sets of a run whose photos all trained: by the probes of its folds, each of which did not see some."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from tljax.transfer.probe import Probe, predict_probs
from tljax.transfer.trust.sets import calibrate_sets


def calibrate_folds(
    fitted: Sequence[tuple[Probe, Int[np.ndarray, " _"]]],
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
) -> dict[str, np.ndarray]:
    """As `calibrate_sets`, with what new photos are judged by: the probes of K folds.

    Args:
        fitted: from `fit_folds(features, labels, ...)`.
    Returns:
        also kernel (D, K, C) and bias (K, C), float32; nothing where no photo could be held out.
    """
    if not fitted:
        return {}
    probs = np.concatenate([predict_probs(probe, features[places]) for probe, places in fitted])
    fold = np.repeat(np.arange(len(fitted)), [len(places) for _, places in fitted])
    known = calibrate_sets(probs, labels[np.concatenate([places for _, places in fitted])], fold=fold)
    kernel, bias = np.stack([probe.kernel for probe, _ in fitted], 1), np.stack([probe.bias for probe, _ in fitted])
    return {**known, "kernel": kernel, "bias": bias}
