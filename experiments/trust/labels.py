"""Labels changed at random: which of them are found, beside cleanlab."""

from typing import Any

import numpy as np

from experiments.trust.common import Set, held_out, quiet
from tljax.progress import Track
from tljax.transfer import find_label_errors

SHARE = 0.05


def measure(sets: list[Set], seeds: int, track: Track) -> dict[str, Any]:
    """Precision and recall of each way by set and seed; and how often the photos found are not cleanlab's."""
    return {one.name: [once(one, seed) for seed in track(range(seeds), f"{one.name}: labels", seeds)] for one in sets}


def once(one: Set, seed: int) -> dict[str, Any]:
    """One draw of wrong labels."""
    random = np.random.default_rng(seed)
    count, classes = len(one.labels), len(one.classes)
    wrong = random.permutation(count)[: round(SHARE * count)]
    labels = one.labels.copy()
    labels[wrong] = (labels[wrong] + random.integers(1, classes, len(wrong))) % classes
    probs = held_out(one.values, labels, classes)
    ours = np.isin(np.arange(count), find_label_errors(probs, labels).index)
    with quiet():
        found = {"tljax": ours, **peers(one.values, labels, probs)}
    changed = np.isin(np.arange(count), wrong)
    return {
        "changed": len(wrong),
        "other photos than cleanlab": None if len(found) == 1 else int((ours != found["cleanlab, same numbers"]).sum()),
        "found": {
            name: {
                "precision": float((taken & changed).sum() / max(taken.sum(), 1)),
                "recall": float((taken & changed).sum() / max(changed.sum(), 1)),
            }
            for name, taken in found.items()
        },
    }


def peers(values: np.ndarray, labels: np.ndarray, probs: np.ndarray) -> dict[str, np.ndarray]:
    """What cleanlab finds in the same probabilities, and by its own classifier on the same features."""
    try:
        from cleanlab.classification import CleanLearning
        from cleanlab.filter import find_label_issues
    except ImportError:
        return {}
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    own = CleanLearning(make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)), seed=0)
    issues = own.find_label_issues(values, labels)["is_label_issue"].to_numpy()
    return {"cleanlab, same numbers": find_label_issues(labels, probs, n_jobs=1), "cleanlab, its own": issues}
