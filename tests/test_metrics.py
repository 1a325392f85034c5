import json
import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn import metrics as reference

from tljax import metrics
from tljax.errors import InputError

CLASSES = ("ant", "bee", "cow", "dog")
UNCHECKED = pytest.mark.skipif("TLJAX_TYPECHECK" in os.environ, reason="the annotations refuse it before we can")


@pytest.fixture
def labels():
    return np.array([0, 0, 0, 1, 1, 3])  # no cow


@pytest.fixture
def predicted():
    return np.array([0, 0, 1, 1, 2, 0])


def random_case(seed, photos=300, classes=5):
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(photos, classes)) * 2
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return probs, generator.integers(0, classes, photos)


def test_confusion_has_true_rows_and_predicted_columns(predicted, labels):
    expected = [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    assert metrics.confusion(predicted, labels, 4).tolist() == expected


def test_exact_figures(predicted, labels):
    matrix = metrics.confusion(predicted, labels, 4)
    assert metrics.accuracy(predicted, labels) == 3 / 6
    np.testing.assert_array_equal(metrics.per_class_accuracy(matrix), [2 / 3, 1 / 2, np.nan, 0])
    assert metrics.balanced_accuracy(matrix) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert metrics.macro_f1(matrix) == pytest.approx((4 / 6 + 2 / 4 + 0) / 3)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_scikit_learn(seed):
    probs, labels = random_case(seed)
    predicted = probs.argmax(1)
    matrix = metrics.confusion(predicted, labels, 5)
    np.testing.assert_array_equal(matrix, reference.confusion_matrix(labels, predicted))
    assert metrics.accuracy(predicted, labels) == reference.accuracy_score(labels, predicted)
    assert metrics.balanced_accuracy(matrix) == pytest.approx(reference.balanced_accuracy_score(labels, predicted))
    assert metrics.macro_f1(matrix) == pytest.approx(reference.f1_score(labels, predicted, average="macro"))
    assert metrics.log_loss(probs, labels) == pytest.approx(reference.log_loss(labels, probs))


def test_top_confusions_are_the_largest_off_the_diagonal():
    matrix = np.array([[90, 3, 0], [7, 10, 3], [0, 0, 5]])
    mistakes = metrics.top_confusions(matrix, ["a", "b", "c"])
    assert mistakes == [("b", "a", 7, 0.35), ("a", "b", 3, 3 / 93), ("b", "c", 3, 0.15)]
    assert metrics.top_confusions(matrix, ["a", "b", "c"], limit=1) == mistakes[:1]


def test_ece_by_hand():
    # bin (0.5, 0.6]: confidence 0.6, 1 of 2 right; bin (0.9, 1.0]: confidence 1.0, 1 of 1 right
    probs = np.array([[0.6, 0.4], [0.4, 0.6], [1.0, 0.0]])
    assert metrics.ece(probs, np.array([0, 0, 0]), bins=10) == pytest.approx(2 / 3 * 0.1)


def test_ece_of_calibrated_and_of_overconfident_probabilities():
    generator = np.random.default_rng(0)
    top = generator.uniform(0.5, 1, 20_000)
    labels = (generator.uniform(size=20_000) > top).astype(int)
    probs = np.stack([top, 1 - top], 1)
    sure = np.stack([np.full(20_000, 0.99), np.full(20_000, 0.01)], 1)
    assert metrics.ece(probs, labels) < 0.02
    assert metrics.ece(sure, labels) == pytest.approx(0.99 - np.mean(labels == 0))


def test_interval_is_that_of_students_t():
    mean, half = metrics.interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert half == pytest.approx(4.302653 / np.sqrt(3))  # t(0.975, 2 degrees of freedom), standard deviation 1
    assert np.isnan(metrics.interval([0.5]).half)
    assert metrics.interval([0.5]).mean == 0.5


def test_reliability_bins_hold_every_photo():
    probs, labels = random_case(0)
    curve = metrics.reliability(probs, labels, bins=7)
    full = curve.count > 0
    assert curve.count.sum() == len(labels)
    assert np.isnan(curve.accuracy[~full]).all()
    assert (curve.edges[:-1][full] < curve.confidence[full]).all()
    assert (curve.confidence[full] <= curve.edges[1:][full]).all()
    assert np.sum(curve.accuracy[full] * curve.count[full]) == pytest.approx(np.sum(probs.argmax(1) == labels))


def test_summary_is_json_with_the_keys_of_evaluate(labels):
    probs = np.full((6, 4), 0.1) + 0.6 * np.eye(4)[[0, 0, 1, 1, 2, 0]]
    summary = metrics.summarise(probs, labels, CLASSES)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["images"] == 6
    assert summary["classes"] == list(CLASSES)
    assert summary["per_class_accuracy"] == {"ant": pytest.approx(2 / 3), "bee": 0.5, "cow": None, "dog": 0.0}
    assert summary["confusion"][1] == [0, 1, 1, 0]
    assert {"accuracy", "balanced_accuracy", "macro_f1", "ece", "log_loss"} < set(summary)


@pytest.mark.parametrize(
    ("probs", "labels", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0, int), "no labelled photo"),
        pytest.param(np.ones((3, 2)) / 2, np.array([0, 1]), "shape", marks=UNCHECKED),
        (np.ones((2, 2)) / 2, np.array([0, 2]), "label 2"),
        (np.ones((2, 3)) / 3, np.array([0, 2]), "3 columns for 2 classes"),
    ],
)
def test_what_does_not_fit_is_refused(probs, labels, message):
    with pytest.raises(InputError, match=message):
        metrics.summarise(probs, labels, ("a", "b"))


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (197, 200, 0.9569, 0.9949)],
)
def test_wilsons_interval_is_scipys(hits, count, low, high):
    from scipy.stats import binomtest

    assert metrics.wilson(hits, count) == pytest.approx((low, high), abs=1e-4)
    assert metrics.wilson(hits, count) == pytest.approx(
        tuple(binomtest(hits, count).proportion_ci(method="wilson")), abs=1e-6
    )


def test_a_prediction_out_of_range_is_refused():
    with pytest.raises(InputError, match="predicted class 5"):
        metrics.confusion(np.array([5]), np.array([0]), 2)


def test_they_need_neither_jax_nor_matplotlib():
    code = "import sys, tljax.metrics; print([m for m in ('jax', 'matplotlib', 'scipy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_paired_differences_are_those_of_agresti_and_min():
    low, high = metrics.paired(14, 5, 100)
    half = 1.959964 * np.sqrt(14.5 + 5.5 - 9**2 / 102) / 102
    assert (low, high) == pytest.approx((9 / 102 - half, 9 / 102 + half))
    assert metrics.paired(5, 14, 100) == pytest.approx((-high, -low))
    low, high = metrics.paired(0, 0, 50)  # not one differs, which is no proof that none would
    assert low == -high
    assert 0.02 < high < 0.06
    assert metrics.paired(3, 0, 3)[1] == 1.0


def test_paired_intervals_hold_the_truth_95_times_in_100():
    random = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        draws = random.choice(3, 80, p=[0.08, 0.03, 0.89])
        low, high = metrics.paired(int((draws == 0).sum()), int((draws == 1).sum()), 80)
        held += low <= 0.05 <= high
    assert 0.93 < held / 2000 < 0.985
