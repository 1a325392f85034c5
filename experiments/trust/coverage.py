"""Sets with a guarantee: how often they hold the right class over random splits, and whether MAPIE's are equal."""

from typing import Any

import numpy as np

from experiments.trust.common import Set, quiet
from tljax.progress import Track
from tljax.transfer import calibrate_sets, fit_probe, predict_probs, prediction_sets

COVERAGES = (0.8, 0.9, 0.95)
COMPARED = 20


def measure(sets: list[Set], resplits: int, track: Track) -> dict[str, Any]:
    """By set and coverage: mean coverage and size, and the share of splits within the bounds."""
    return {one.name: one_set(one, resplits, track) for one in sets}


def one_set(one: Set, resplits: int, track: Track) -> dict[str, Any]:
    """Half of the photos fit the probe; the others are split anew each time, into those that calibrate and new ones."""
    classes, half = len(one.classes), np.zeros(len(one.labels), bool)
    for label in range(classes):
        members = np.flatnonzero(one.labels == label)
        half[members[: len(members) // 2]] = True
    probe = fit_probe(one.values[half], one.labels[half], classes=classes)
    probs, labels = predict_probs(probe, one.values[~half]).astype(np.float64), one.labels[~half]
    rows = {}
    asked = [share for share in COVERAGES if share / (1 - share) < len(labels) // 2]  # others need more photos
    for coverage in asked:
        splits = track(range(resplits), f"{one.name}: sets of {coverage}", resplits)
        tried = [split(probs, labels, coverage, seed) for seed in splits]
        rows[str(coverage)] = summary(tried, coverage)
    with quiet():
        equal = [same_as_mapie(probs, labels, coverage, seed) for coverage in asked for seed in range(COMPARED)]
    known = [one for one in equal if one is not None]
    return {
        "classes": classes,
        "photos": len(labels),
        "accuracy": float((probs.argmax(1) == labels).mean()),
        "rows": rows,
        "sets compared with MAPIE": sum(count for count, _ in known),
        "of them different": sum(different for _, different in known),
    }


def drawn(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """The photos that calibrate, the new ones, and uniform numbers for both."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(labels))
    known, new = order[: len(order) // 2], order[len(order) // 2 :]
    return known, new, (random.uniform(size=len(known)), random.uniform(size=len(new)))


def split(probs: np.ndarray, labels: np.ndarray, coverage: float, seed: int) -> dict[str, tuple[float, float]]:
    """(photos covered, classes in a set) of one split, for sets as `predict` gives them and for randomised ones."""
    known, new, u = drawn(labels, seed)
    calibration = calibrate_sets(probs[known], labels[known])
    result = {}
    for name, numbers in (("as predict", None), ("randomised", u)):
        sets = prediction_sets(calibration, probs[new], coverage=coverage, u=numbers)
        result[name] = int(sets[np.arange(len(new)), labels[new]].sum()), float(sets.sum(1).mean())
    return {**result, "counts": (len(known), len(new))}


def summary(tried: list[dict[str, tuple[float, float]]], coverage: float) -> dict[str, Any]:
    """Mean coverage, mean size, and the share of splits within 95 % of the beta-binomial distribution.

    The randomised sets cover a number of new photos that follows it exactly. Those without randomness cover at least as
    many, so that of them only the lower bound is asked.
    """
    from scipy.stats import betabinom

    known, new = tried[0]["counts"]
    place = int(np.ceil((known + 1) * coverage - 1e-9))
    law = betabinom(new, place, known + 1 - place)
    low, high = law.ppf(0.025), law.ppf(0.975)
    rows = {}
    for name, top in (("as predict", new), ("randomised", high)):
        covered, sizes = np.array([one[name] for one in tried]).T
        rows[name] = {
            "coverage": float(covered.mean() / new),
            "size": float(sizes.mean()),
            "within bounds": float(((covered >= low) & (covered <= top)).mean()),
        }
    return rows


def same_as_mapie(probs: np.ndarray, labels: np.ndarray, coverage: float, seed: int) -> tuple[int, int] | None:
    """(sets compared, those that differ) without the penalty by rank, with and without randomness; None: not there.

    MAPIE chooses the penalty of RAPS by itself, on photos that it takes away, and refuses two classes.
    """
    if probs.shape[1] < 3:
        return None
    known, new, u = drawn(labels, seed)
    calibration = calibrate_sets(probs[known], labels[known], penalty=0)
    different = 0
    for numbers in (None, u):
        theirs = mapie_sets(probs[known], labels[known], probs[new], coverage, numbers)
        if theirs is None:
            return None
        ours = prediction_sets(calibration, probs[new], coverage=coverage, u=numbers)
        different += int((ours != theirs).any(1).sum())
    return 2 * len(new), different


def mapie_sets(
    probs: np.ndarray, labels: np.ndarray, new: np.ndarray, coverage: float, u: tuple[np.ndarray, np.ndarray] | None
) -> np.ndarray | None:
    """MAPIE's adaptive sets of the same probabilities and the same uniform numbers (which it takes away from above)."""
    try:
        from mapie.classification import SplitConformalClassifier
        from mapie.conformity_scores import APSConformityScore
    except ImportError:
        return None
    given = [np.ones(len(probs))] if u is None else [1 - u[0], 1 - u[1]]
    judge = SplitConformalClassifier(
        given_probabilities(probs.shape[1]),
        confidence_level=coverage,
        conformity_score=APSConformityScore(),
        prefit=True,
    )
    judge._mapie_classifier.random_state = given_numbers(given)
    judge.conformalize(probs, labels)
    last = {"include_last_label": True if u is None else "randomized"}
    return judge.predict_set(new, conformity_score_params=last)[1][:, :, 0]


def given_probabilities(classes: int) -> Any:
    """A fitted classifier whose inputs are its probabilities."""
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Given(ClassifierMixin, BaseEstimator):
        def __init__(self, classes: int):
            self.classes, self.classes_ = classes, np.arange(classes)

        def fit(self, X, y):
            return self

        def predict_proba(self, X):
            return X

        def predict(self, X):
            return X.argmax(1)

        def __sklearn_is_fitted__(self):
            return True

    return Given(classes)


def given_numbers(arrays: list[np.ndarray]) -> np.random.RandomState:
    """A random state whose uniform numbers are these arrays, one after the other."""

    class Given(np.random.RandomState):
        def uniform(self, low=0.0, high=1.0, size=None):
            return arrays.pop(0).reshape(size)

    return Given(0)
