"""The attacks of AutoAttack, on linear networks, where the nearest image of another class can be worked out."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.synth.toy import curved, curved_variables, l2, levels, linear, linear_variables, photos
from tljax import synth
from tljax.errors import InputError

IMAGES = photos(6, seed=4)
KEY = jax.random.key(5)


def setting(classes):
    variables = linear_variables(classes, seed=classes)
    return variables, np.asarray(linear(variables, IMAGES).argmax(-1))


def least_budgets(variables, labels, norm):
    """The distance to the nearest of the borders with other classes; no pixel comes near black or white on the way."""
    logits, w = np.asarray(linear(variables, IMAGES), np.float64), np.asarray(variables["w"], np.float64)
    least = []
    for row, label in zip(logits, labels, strict=True):
        between = w - w[..., [label]]
        size = np.abs(between).sum((0, 1, 2)) if norm == "linf" else np.sqrt((between**2).sum((0, 1, 2)))
        least.append(min((row[label] - row[k]) / size[k] for k in range(len(row)) if k != label))
    return np.array(least)


def succeeded(variables, labels, found):
    return np.asarray(synth.margin(linear(variables, found), labels) > 0)


@pytest.mark.parametrize(("classes", "norm"), [(2, "linf"), (3, "l2"), (5, "linf")])
def test_auto_attack_succeeds_just_where_that_is_possible(classes, norm):
    variables, labels = setting(classes)
    least = least_budgets(variables, labels, norm)
    eps = least * np.array([1.05, 0.97] * 3)
    settings = {"norm": norm, "steps": 10, "key": KEY, "quantized": False}
    result = synth.auto_attack(linear, variables, IMAGES, labels, eps=eps, **settings)
    assert result.success.tolist() == [True, False] * 3
    assert (succeeded(variables, labels, result.images) == result.success).all()
    change = np.asarray(result.images, np.float64) - IMAGES
    size = np.abs(change).max((1, 2, 3)) if norm == "linf" else l2(change, 0 * change)
    assert (size <= eps * (1 + 1e-4)).all()
    assert (size[1::2] == 0).all()  # what withstood comes back as it was
    others = classes - 1
    assert (np.asarray(result.gradients)[1::2] == 10 + 2 * 10 * others).all()
    assert (np.asarray(result.gradients)[0::2] < 10 + 2 * 10 * others + 1).all()


@pytest.mark.parametrize(("classes", "norm"), [(2, "linf"), (5, "linf"), (5, "l2")])
def test_fab_finds_the_least_change(classes, norm):
    variables, labels = setting(classes)
    found = synth.fab(linear, variables, IMAGES, labels, norm=norm, steps=20, key=KEY, quantized=False)
    assert succeeded(variables, labels, found).all()
    change = np.asarray(found, np.float64) - IMAGES
    size = np.abs(change).max((1, 2, 3)) if norm == "linf" else l2(change, 0 * change)
    np.testing.assert_allclose(size, least_budgets(variables, labels, norm), rtol=0.06)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_square_needs_scores_only(norm):
    variables, labels = setting(3)
    eps = {"linf": 2, "l2": 4}[norm] * least_budgets(variables, labels, norm)  # six pixels a side are few squares
    settings = {"norm": norm, "eps": eps, "steps": 400, "key": KEY, "quantized": False}

    def rounded(variables, images):
        return linear(variables, jnp.round(images * 1000) / 1000)  # no gradient anywhere

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = synth.square(rounded, variables, IMAGES, labels, **settings)
    assert succeeded(variables, labels, found).all()
    change = np.asarray(found, np.float64) - IMAGES
    size = np.abs(change).max((1, 2, 3)) if norm == "linf" else l2(change, 0 * change)
    assert (size <= eps * (1 + 1e-4)).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ["apgd_t", "fab", "square"])
def test_8_bit_images_inside_the_budget_come_back(name, norm):
    variables, images = curved_variables(), photos(4, seed=1, low=0, high=256)
    labels, eps = curved(variables, images).argmax(-1), 16 / 255 if norm == "linf" else 0.6
    found = getattr(synth, name)(curved, variables, images, labels, eps=eps, norm=norm, steps=20, key=KEY)
    np.testing.assert_allclose(np.asarray(found) * 255, levels(found), atol=1e-4)
    change = (levels(found) - levels(images)) / 255
    size = np.abs(change).max((1, 2, 3)) if norm == "linf" else l2(change, 0 * change)
    assert (size <= eps * (1 + 1e-4)).all()
    gained = synth.margin(curved(variables, found), labels)
    assert (gained >= synth.margin(curved(variables, images), labels) - 1e-4).all()
    assert (gained > 0).sum() >= 2


def test_auto_attack_wins_where_gradients_are_masked_and_costs_nothing_where_nothing_is_to_do():
    variables, labels = setting(3)
    labels = np.where(np.arange(6) == 0, (labels + 1) % 3, labels)

    def coarse(variables, images):
        return linear(variables, jnp.round(images * 100) / 100)

    result = synth.auto_attack(coarse, variables, IMAGES, labels, eps=0.2, steps=4, key=KEY)
    assert result.success.all()
    assert int(result.gradients[0]) == 0
    assert (np.asarray(result.gradients[1:]) == 4 + 2 * 4 * 2).all()
    assert (np.asarray(result.images[0]) == IMAGES[0]).all()


def test_the_other_version_is_refused():
    variables, labels = setting(3)
    with pytest.raises(InputError, match='version must be "standard"'):
        synth.auto_attack(linear, variables, IMAGES, labels, eps=0.1, version="rand", key=KEY)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_minimal_eps_is_the_distance_to_the_border(norm):
    variables, labels = setting(2)
    settings = {"norm": norm, "greatest": 1.0, "bisections": 12, "key": KEY, "steps": 10, "quantized": False}
    eps, found = synth.minimal_eps(synth.pgd, linear, variables, IMAGES, labels, **settings)
    np.testing.assert_allclose(eps, least_budgets(variables, labels, norm), rtol=0.03, atol=1e-3)
    assert succeeded(variables, labels, found).all()
    none, same = synth.minimal_eps(synth.pgd, linear, variables, IMAGES, 1 - labels, **settings)
    assert (np.asarray(none) == 0).all()
    assert (np.asarray(same) == IMAGES).all()
