"""Wrong labels: cases that can be worked out by hand, and what is never done."""

import numpy as np
import pytest

from tljax.errors import InputError
from tljax.transfer.trust.label_errors import find_label_errors


def noisy(count=300, classes=4, share=0.1, seed=0):
    random = np.random.default_rng(seed)
    true = np.arange(count) % classes
    logits = random.normal(size=(count, classes))
    logits[np.arange(count), true] += 5
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wrong = random.permutation(count)[: round(share * count)]
    labels = true.copy()
    labels[wrong] = (true[wrong] + random.integers(1, classes, len(wrong))) % classes
    return probs, labels, true, wrong


def test_changed_labels_are_found_with_the_class_that_they_had():
    probs, labels, true, wrong = noisy()
    found = find_label_errors(probs, labels)
    hits = np.isin(found.index, wrong)
    assert hits.mean() > 0.95
    assert hits.sum() / len(wrong) > 0.8
    assert (found.suggestion[hits] == true[found.index[hits]]).mean() > 0.95
    assert (np.diff(found.score) <= 0).all()
    np.testing.assert_allclose(
        found.score, probs[found.index, found.suggestion] - probs[found.index, labels[found.index]]
    )


def test_the_numbers_of_the_table_decide_how_many_are_taken():
    # three photos of class 0 are called 1, but only two are as surely 0 as photos of label 0 are: two are taken
    probs = np.array([[0.8, 0.2]] * 4 + [[0.2, 0.8]] * 4 + [[0.95, 0.05], [0.9, 0.1], [0.55, 0.45]])
    labels = np.array([0] * 4 + [1] * 7)
    assert find_label_errors(probs, labels).index.tolist() == [8, 9]


def test_right_labels_are_left_alone():
    probs, _, true, _ = noisy()
    assert len(find_label_errors(np.eye(4)[true], true).index) == 0
    assert len(find_label_errors(probs, true).index) <= 3


def test_the_only_photo_of_a_label_stays():
    probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.9, 0.1]])
    assert find_label_errors(probs, np.array([0, 0, 1])).index.tolist() == []


@pytest.mark.parametrize(
    ("probs", "labels", "said"),
    [
        (np.ones((3, 2)), np.zeros(2, int), "expected"),
        (np.ones((3, 2)), np.array([0, 1, 2]), "integers from 0 to 1"),
        (np.full((2, 2), np.nan), np.array([0, 1]), "not finite"),
        (np.ones((2, 2)), np.array([0.0, 1.0]), "integers"),
    ],
)
def test_bad_input(probs, labels, said):
    with pytest.raises(InputError, match=said):
        find_label_errors(probs, labels)
