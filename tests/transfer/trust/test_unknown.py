"""None of these: the distance against a plain formula, and the share of own photos that are kept."""

import numpy as np
import pytest

from tljax.errors import InputError
from tljax.transfer.trust.arrays_file import read_unknown, write_arrays
from tljax.transfer.trust.unknown import fit_unknown, unknown_score


def clusters(count, dim, classes, seed=0, spread=0.3):
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(classes, dim)) * 2
    labels = np.arange(count) % classes
    return (centres[labels] + spread * random.normal(size=(count, dim))).astype(np.float32), labels


def test_the_distance_is_that_of_mahalanobis():
    features, labels = clusters(60, 12, 3)
    known = fit_unknown(features, labels, classes=3)
    units = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float64)
    centres = np.stack([units[labels == c].mean(0) for c in range(3)])
    covariance = (units - centres[labels]).T @ (units - centres[labels]) / 57
    inverse = np.linalg.inv((covariance + np.trace(covariance) / 12 * np.eye(12)) / 2)
    apart = units[:, None] - centres
    expected = np.einsum("ncd,de,nce->nc", apart, inverse, apart).min(1)
    np.testing.assert_allclose(unknown_score(known, features) * known["threshold"], expected, rtol=2e-3)


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_the_share_asked_for_is_turned_away(rate):
    features, labels = clusters(400, 16, 4)
    others, _ = clusters(4000, 16, 4, seed=1)
    known = fit_unknown(features, labels, classes=4, rate=rate)
    assert np.mean(np.asarray(unknown_score(known, others)) > 1) == pytest.approx(rate, abs=0.03)


def test_photos_of_another_class_are_known_to_be_none():
    features, labels = clusters(200, 16, 5)
    known = fit_unknown(features[labels < 4], labels[labels < 4], classes=4)
    assert (np.asarray(unknown_score(known, features[labels == 4])) > 1).all()


def test_validation_photos_alone_set_the_threshold_where_there_are_no_folds():
    features, labels = clusters(100, 16, 4)
    far, _ = clusters(100, 16, 4, seed=2, spread=1.5)
    known = fit_unknown(features, labels, classes=4, val=far, folds=0)
    assert np.mean(np.asarray(unknown_score(known, far)) > 1) == pytest.approx(0.05, abs=0.011)


def test_one_photo_a_class_is_enough_to_go_on():
    features, labels = clusters(4, 16, 4)
    assert np.isfinite(np.asarray(unknown_score(fit_unknown(features, labels, classes=4), features))).all()


@pytest.mark.parametrize("rate", [0, 1, -0.1])
def test_a_share_is_a_share(rate):
    with pytest.raises(InputError, match="expected a share between 0 and 1"):
        fit_unknown(*clusters(8, 4, 2), classes=2, rate=rate)


def test_what_was_written_is_read_and_what_is_damaged_is_named(tmp_path):
    path = tmp_path / "unknown.safetensors"
    assert read_unknown(path, classes=3, dim=12) is None
    known = fit_unknown(*clusters(60, 12, 3), classes=3)
    write_arrays(path, known)
    read = read_unknown(path, classes=3, dim=12)
    assert all(np.array_equal(read[name], known[name]) for name in known)
    with pytest.raises(InputError, match="another run"):
        read_unknown(path, classes=4, dim=12)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match="damaged"):
        read_unknown(path, classes=3, dim=12)
    write_arrays(path, known | {"threshold": np.float32(np.nan)})
    with pytest.raises(InputError, match="finite"):
        read_unknown(path, classes=3, dim=12)
