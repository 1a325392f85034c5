"""The pure functions behind the measurement, on exact cases."""

from collections import OrderedDict
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.where_transfer_ends import (
    CHOSEN,
    FINETUNED,
    RANDOM,
    frechet,
    make_describe,
    padded,
    pairs,
    stage_names,
    stratified,
    widened,
)
from tljax.metrics import interval
from tljax.transfer import fit_probe, predict_probs


def test_the_distance_is_zero_for_what_batch_norm_remembers_and_exact_for_what_is_shifted_and_stretched():
    n, c = 8, 3
    same = {"a/norm": (np.zeros((n, c)), np.ones((n, c)))}
    shifted = {"a/norm": (np.full((n, c), 2.0), np.full((n, c), 4.0 + 9.0))}  # mean 2, deviation 3
    assert frechet([same]) == {"a": 0}
    assert frechet([shifted])["a"] == pytest.approx(2**2 + (3 - 1) ** 2)
    assert frechet([same, shifted])["a"] == pytest.approx(1 + (np.sqrt(7 - 1) - 1) ** 2)  # moments add up over batches
    assert frechet([{}]) == {}


def test_a_stage_is_its_last_map():
    names = ["stem", "stage1_block0", "stage1_block1", "stage2_block0", "top"]
    assert stage_names(dict.fromkeys(names)) == ["stem", "stage1_block1", "stage2_block0", "top"]
    assert stage_names(dict.fromkeys(["conv1_1", "conv1_2", "conv2_1"])) == ["conv1_2", "conv2_1"]
    assert stage_names(dict.fromkeys(["conv1", "fire2", "fire3", "conv10"])) == ["conv1", "fire2", "fire3"]


@pytest.mark.parametrize("size", [4, 5])
def test_quarters_say_where(size):
    maps = np.zeros((1, size, size, 1), np.float32)
    maps[0, 0, size - 1] = 4.0  # top right
    net = SimpleNamespace(intermediates=lambda variables, images: {"a": variables["a"]})
    means = make_describe(net, ["a"], quarters=True)({"a": jnp.asarray(maps)}, np.zeros((1, 8, 8, 3), np.uint8))
    half = (size + 1) // 2
    np.testing.assert_allclose(means["a"], 4 / size**2)
    np.testing.assert_allclose(means["a, quarters"], [[0, 4 / half**2, 0, 0]])
    assert RANDOM + "a" not in means


def test_a_share_of_the_pictures_has_every_class():
    labels = np.repeat([0, 1, 2], [50, 40, 1])
    some = stratified(np.arange(91), labels, 18, seed=0)
    assert np.bincount(labels[some]).tolist() == [10, 8, 1]
    assert (some == stratified(np.arange(91), labels, 18, seed=0)).all()
    assert set(some) != set(stratified(np.arange(91), labels, 18, seed=1))


def test_columns_of_zeros_change_no_prediction():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    values = (rng.normal(size=(60, 20)) + 2 * np.eye(3, 20)[labels]).astype(np.float32)
    assert padded(values).shape == (60, 128)
    plain, wide = (predict_probs(fit_probe(v, labels, classes=3, l2=0.1), v) for v in (values, padded(values)))
    np.testing.assert_allclose(plain, wide, atol=1e-3)


def test_what_is_compared_is_paired_seed_by_seed():
    by_size = {"80": {"pixels": [0.5, 0.7, 0.6], "last stage, top": [0.4, 0.5, 0.9], CHOSEN: [0.5, 0.7, 0.6]}}
    measured = {"train": 80, "test": 20, "by_size": by_size, FINETUNED: {"80": [1.0, 0.9]}}
    got = pairs(measured)
    assert list(got) == [
        "last stage less pixels",
        "stage chosen by folds less pixels",
        "fine-tuned less pixels",
        "stage chosen by folds less last stage",
        "fine-tuned less last stage",
        "fine-tuned less stage chosen by folds",
    ]
    np.testing.assert_allclose(got["last stage less pixels"], [-0.1, -0.2, 0.3])
    np.testing.assert_allclose(got["stage chosen by folds less pixels"], 0)
    np.testing.assert_allclose(got["fine-tuned less last stage"], [0.6, 0.4])  # two seeds have both
    assert len(pairs({**measured, FINETUNED: {"40": [1.0]}})) == 3


def test_overlapping_training_sets_widen_an_interval():
    differences, measured = [0.01, 0.02, 0.03, 0.04], {"train": 80, "test": 20}
    assert widened(differences, measured) == pytest.approx(interval(differences).half * 2**0.5)  # 1/4 + 1/4 for 1/4
    assert widened(differences, {"train": 80, "test": 0}) == pytest.approx(interval(differences).half)


def test_stages_stay_in_the_order_of_the_network():
    net = SimpleNamespace(intermediates=lambda variables, images: OrderedDict(variables))
    maps = OrderedDict(stem=jnp.ones((1, 2, 2, 1)), layer1=jnp.ones((1, 2, 2, 1)))
    means = make_describe(net, list(maps), quarters=True)(maps, np.zeros((1, 8, 8, 3), np.uint8))
    assert list(means) == ["stem", "stem, quarters", "layer1", "layer1, quarters"]
