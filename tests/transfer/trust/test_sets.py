"""Sets with a guarantee: small cases by hand, and how often they hold the right class over many draws."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import betabinom

from tljax.errors import InputError
from tljax.transfer.trust.arrays_file import read_sets, write_arrays
from tljax.transfer.trust.sets import calibrate_sets, prediction_sets, promised


def drawn(count, classes=6, seed=0, sharpness=2.0):
    """Probabilities, and labels that are drawn by others: the sets do not rely on them."""
    random = np.random.default_rng(seed)
    logits = sharpness * random.normal(size=(count, classes))
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = np.exp(0.5 * logits) / np.exp(0.5 * logits).sum(1, keepdims=True)
    labels = (truth.cumsum(1) > random.uniform(size=(count, 1))).argmax(1)
    return probs.astype(np.float32), labels


def test_what_stands_before_a_class_is_the_sum_of_likelier_ones():
    known = calibrate_sets(np.array([[0.1, 0.6, 0.3]] * 3), np.array([0, 1, 2]))
    np.testing.assert_allclose(known["before"], [0.9, 0, 0.6])
    np.testing.assert_allclose(known["prob"], [0.1, 0.6, 0.3])
    assert known["fold"].tolist() == [0, 0, 0]


def test_each_rank_beyond_the_fifth_is_punished():
    probs = np.array([[0.3, 0.2, 0.15, 0.12, 0.1, 0.08, 0.05]] * 7)
    before = calibrate_sets(probs, np.arange(7))["before"]
    np.testing.assert_allclose(before, [0, 0.3, 0.5, 0.65, 0.77, 0.87 + 0.01, 0.95 + 0.02])
    plain = calibrate_sets(probs, np.arange(7), penalty=0)["before"]
    np.testing.assert_allclose(plain, [0, 0.3, 0.5, 0.65, 0.77, 0.87, 0.95])


def test_a_set_holds_what_fewer_than_the_share_score_below():
    """Of 9 photos the scores are 0, 0.1, ..., 0.8: with 70 % the seventh, 0.6, is the most that a class may score."""
    tops = np.arange(9) / 10
    probs = np.stack([np.maximum(tops, 1 - tops), np.minimum(tops, 1 - tops)], 1)
    known = calibrate_sets(probs, np.zeros(9, int)) | {"before": tops, "prob": np.zeros(9)}
    new = np.array([[0.3, 0.29, 0.41], [0.5, 0.1, 0.4], [0.6, 0.4, 0.0], [0.61, 0.39, 0.0]])
    expected = [[True, False, True], [True, False, True], [True, True, False], [True, False, False]]
    assert prediction_sets(known, new, coverage=0.7).tolist() == expected


def test_the_likeliest_class_is_always_in_where_nothing_is_random():
    probs, labels = drawn(200)
    sets = prediction_sets(calibrate_sets(probs[:100], labels[:100]), probs[100:], coverage=0.01)
    assert (sets.sum(1) == 1).all()
    assert sets[np.arange(100), probs[100:].argmax(1)].all()


def test_a_network_that_is_right_often_enough_names_one_class():
    probs = np.eye(4, dtype=np.float32)[np.arange(40) % 4] * 0.9 + 0.025
    labels = np.arange(40) % 4
    labels[0] = 3
    assert (prediction_sets(calibrate_sets(probs, labels), probs, coverage=0.9).sum(1) == 1).all()
    assert (prediction_sets(calibrate_sets(probs, labels), probs, coverage=0.975).sum(1) > 1).all()


def test_equal_probabilities_stand_in_the_order_of_the_classes():
    known = calibrate_sets(np.full((4, 4), 0.25), np.array([0, 0, 1, 1]))
    assert prediction_sets(known, np.full((1, 4), 0.25), coverage=0.8).tolist() == [[True, True, False, False]]


def test_random_sets_may_be_empty():
    known = calibrate_sets(np.tile([0.9, 0.1], (9, 1)), np.zeros(9, int))
    sets = prediction_sets(
        known, np.array([[0.5, 0.5], [0.9, 0.1]]), coverage=0.9, u=(np.full(9, 0.1), np.array([0, 0.9]))
    )
    assert sets.tolist() == [[True, False], [False, False]]


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_the_right_class_is_in_as_often_as_was_asked_for(coverage):
    """Counts of 300 photos after a calibration with 100 are beta-binomial with random parts, and larger without."""
    probs, labels = drawn(4000)
    random, exact, at_least = np.random.default_rng(1), [], []
    for _ in range(500):
        chosen = random.permutation(4000)[:400]
        old, new = chosen[:100], chosen[100:]
        known, right = calibrate_sets(probs[old], labels[old]), (np.arange(300), labels[new])
        u = random.uniform(size=100), random.uniform(size=300)
        exact.append(prediction_sets(known, probs[new], coverage=coverage, u=u)[right].sum())
        at_least.append(prediction_sets(known, probs[new], coverage=coverage)[right].sum())
    place = int(np.ceil(101 * coverage - 1e-9))
    counts = betabinom(300, place, 101 - place)
    assert np.mean(exact) == pytest.approx(counts.mean(), abs=4 * counts.std() / np.sqrt(500))
    low, high = counts.ppf([0.025, 0.975])
    assert np.mean((np.array(exact) >= low) & (np.array(exact) <= high)) == pytest.approx(0.95, abs=0.035)
    assert np.mean(at_least) > 300 * coverage - 4 * counts.std() / np.sqrt(500)


def folded(labels, random):
    """What three classifiers say: each is right in its own way, and no better on one third than on the others."""
    own, shared = random.normal(size=(len(labels), 3, 6)), random.normal(size=(len(labels), 1, 6))
    logits = 2 * np.eye(6)[labels][:, None] + own + shared
    return (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).astype(np.float32)


def test_folds_keep_more_than_they_promise():
    random, held, coverage = np.random.default_rng(3), [], 0.8
    for _ in range(200):
        labels = random.integers(0, 6, 90)
        probs, fold = folded(labels, random), np.arange(60) % 3
        known = calibrate_sets(probs[np.arange(60), fold], labels[:60], fold=fold)
        assert promised(known, coverage) == pytest.approx(0.6)
        held.append(prediction_sets(known, probs[60:], coverage=coverage)[np.arange(30), labels[60:]].mean())
    assert np.mean(held) > 0.78


def test_one_fold_is_split_conformal():
    probs, labels = drawn(60)
    known = calibrate_sets(probs[:40], labels[:40])
    whole = prediction_sets(known, probs[40:], coverage=0.8)
    assert np.array_equal(prediction_sets(known, probs[40:, None], coverage=0.8), whole)


def test_a_class_of_folds_is_in_by_the_mean_of_their_shares():
    """Two folds of 4 photos that score 0: a class scores 0 (share 0) or more (4 of 5): of both, of one, of none."""
    known = calibrate_sets(np.tile([1.0, 0, 0], (8, 1)), np.zeros(8, int), fold=np.arange(8) % 2)
    probs = np.array([[[0.6, 0.4, 0.0], [0.4, 0.6, 0.0]]])
    assert prediction_sets(known, probs, coverage=0.5).tolist() == [[True, True, False]]
    assert prediction_sets(known, probs, coverage=0.8).tolist() == [[True, True, False]]
    assert prediction_sets(known, probs, coverage=0.4).tolist() == [[False, False, False]]


@pytest.mark.parametrize(
    ("coverage", "photos"), [(0.5, 1), (0.7, 3), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99), (0.999, 999)]
)
def test_too_few_photos_are_told_with_how_many_are_needed(coverage, photos):
    probs, labels = drawn(photos)
    assert promised(calibrate_sets(probs, labels), coverage) == coverage
    fewer = calibrate_sets(probs[1:], labels[1:])
    with pytest.raises(InputError, match=rf"coverage {coverage} needs {photos} photos kept aside, and there are"):
        prediction_sets(fewer, probs, coverage=coverage)


def test_each_fold_needs_as_many_photos():
    probs, labels = drawn(20)
    known = calibrate_sets(probs, labels, fold=np.arange(20) % 5)
    with pytest.raises(InputError, match="needs 9 photos for each of 5 folds, and there are 4"):
        promised(known, 0.9)
    assert promised(known, 0.8) == pytest.approx(0.6)
    assert promised(calibrate_sets(probs, labels, fold=np.arange(20) % 2), 0.4) == 0


@pytest.mark.parametrize("coverage", [0, 1, -0.1, 90, float("nan")])
def test_a_coverage_is_a_share(coverage):
    with pytest.raises(InputError, match="expected a share between 0 and 1"):
        promised(calibrate_sets(*drawn(20)), coverage)


@pytest.mark.skipif("TLJAX_TYPECHECK" in os.environ, reason="the annotations refuse it before we can")
def test_what_does_not_fit_is_named():
    probs, labels = drawn(20)
    with pytest.raises(InputError, match=r"probs \(20, 6\) and labels \(19,\)"):
        calibrate_sets(probs, labels[1:])
    with pytest.raises(InputError, match="labels from 0 to 6: there are 6 classes, from 0"):
        calibrate_sets(probs, np.arange(20) % 7)
    with pytest.raises(InputError, match=r"u \(19,\): expected \(n, 1, C\) and \(n,\)"):
        prediction_sets(calibrate_sets(probs, labels), probs, coverage=0.5, u=(np.zeros(20), np.zeros(19)))


def test_what_was_written_is_read_and_what_is_damaged_is_named(tmp_path):
    path = tmp_path / "sets.safetensors"
    assert read_sets(path, classes=6, dim=3) is None
    write_arrays(path, {})
    assert not path.exists()
    known = calibrate_sets(*drawn(20), fold=np.arange(20) % 2)
    heads = {"kernel": np.zeros((3, 2, 6), np.float32), "bias": np.zeros((2, 6), np.float32)}
    write_arrays(path, known | heads)
    read = read_sets(path, classes=6, dim=3)
    assert all(np.array_equal(read[name], leaf) and read[name].dtype == leaf.dtype for name, leaf in known.items())
    with pytest.raises(InputError, match="belongs to another run: remove it, and it makes no sets"):
        read_sets(path, classes=5, dim=3)
    write_arrays(path, known | {"before": known["before"].astype(np.float32)})
    with pytest.raises(InputError, match='expected finite numbers of float64 as "before"'):
        read_sets(path, classes=6, dim=3)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match="damaged"):
        read_sets(path, classes=6, dim=3)


def test_sets_need_no_jax():
    code = "import sys, tljax.transfer.trust.sets; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
