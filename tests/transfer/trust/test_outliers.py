"""Outliers: what was put among others is found, in the order of how far it is."""

import numpy as np
import pytest

from tests.transfer.trust.test_unknown import clusters
from tljax.errors import InputError
from tljax.transfer.trust.outliers import find_outliers


def test_what_lies_far_from_its_class_is_found_the_farthest_first():
    features, labels = clusters(200, 16, 4)
    random = np.random.default_rng(5)
    features[7] += 3 * random.normal(size=16)
    features[50] += 30 * random.normal(size=16)
    found = find_outliers(features, labels)
    assert {7, 50} <= {*found.index.tolist()}
    assert len(found.index) <= 4
    assert (np.diff(found.score) <= 0).all()
    assert (found.score > 3.5).all()


def test_a_photo_of_another_class_is_an_outlier_of_its_own():
    features, labels = clusters(200, 16, 4)
    labels = labels.copy()
    labels[3] = (labels[3] + 1) % 4
    assert 3 in find_outliers(features, labels).index


def test_equal_photos_and_single_ones_are_not_judged():
    assert len(find_outliers(np.ones((6, 4), np.float32), np.array([0, 0, 0, 1, 1, 1])).index) == 0
    assert len(find_outliers(np.eye(3, dtype=np.float32), np.arange(3)).index) == 0


@pytest.mark.parametrize(
    ("features", "labels"),
    [
        (np.ones((3, 2)), np.zeros(2, int)),
        (np.full((2, 2), np.inf), np.zeros(2, int)),
        (np.ones((2, 2)), np.array([-1, 0])),
        (np.ones((2, 2)), np.array([0.5, 0])),
    ],
)
def test_bad_input(features, labels):
    with pytest.raises(InputError, match="expected"):
        find_outliers(features, labels)
