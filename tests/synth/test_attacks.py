import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.synth.toy import SHAPE, curved, curved_variables, l2, levels, linear, linear_variables, photos
from tljax import synth
from tljax.errors import InputError
from tljax.synth.apgd import checkpoints
from tljax.synth.problem import Best, MaskedGradientsWarning

ATTACKS = {
    "fgsm": synth.fgsm,
    "pgd": synth.pgd,
    "mi_fgsm": synth.mi_fgsm,
    "apgd_ce": synth.apgd_ce,
    "apgd_dlr": synth.apgd_dlr,
}
KEY = jax.random.key(3)
IMAGES = photos()


def two_class(seed=0):
    """Logits (w x + b, 0): the best L∞ change is -eps sign(w), the best L2 change -eps w / |w|."""
    w = jax.random.normal(jax.random.key(seed), SHAPE)
    return w, {"w": jnp.stack([w, jnp.zeros(SHAPE)], -1), "b": jnp.array([50.0, 0.0])}


@pytest.mark.parametrize("name", ["fgsm", "pgd", "mi_fgsm", "apgd_ce"])
def test_linf_on_a_linear_model_finds_the_optimum(name):
    w, variables = two_class()
    labels = jnp.zeros(len(IMAGES), int)
    found = ATTACKS[name](linear, variables, IMAGES, labels, eps=4 / 255, steps=20, key=KEY)
    assert (levels(found) - levels(IMAGES) == -4 * np.sign(w).astype(int)).all()
    sought = ATTACKS[name](linear, variables, IMAGES, labels, eps=4 / 255, steps=20, key=KEY, targeted=True)
    assert (levels(sought) - levels(IMAGES) == 4 * np.sign(w).astype(int)).all()


@pytest.mark.parametrize("name", ["fgsm", "pgd", "mi_fgsm", "apgd_ce"])
def test_l2_on_a_linear_model_moves_along_the_weights_by_exactly_eps(name):
    w, variables = two_class()
    labels = jnp.zeros(len(IMAGES), int)
    settings = {"eps": 0.5, "norm": "l2", "steps": 60, "key": KEY, "quantized": False}
    found = ATTACKS[name](linear, variables, IMAGES, labels, **settings)
    np.testing.assert_allclose(l2(found, IMAGES), 0.5, rtol=1e-4)
    along = np.asarray(found) - IMAGES
    cosine = -(along * w).sum((1, 2, 3)) / l2(along, 0 * along) / np.linalg.norm(w)
    assert (cosine > 0.98).all()  # not 1: a start far to the side is drawn back by the ball only


@pytest.mark.parametrize(("norm", "eps", "targeted"), [("linf", 7.5 / 255, True), ("l2", 0.4, False)])
@pytest.mark.parametrize("name", ATTACKS)
def test_results_are_8_bit_images_inside_the_budget(name, norm, eps, targeted):
    variables = linear_variables()
    images = photos(seed=1, low=0, high=256)
    labels = linear(variables, images).argmax(-1)
    found = ATTACKS[name](
        linear, variables, images, (labels + 1) % 5 if targeted else labels, eps=eps, norm=norm, steps=8,
        key=KEY, targeted=targeted,
    )  # fmt: skip
    assert found.dtype == jnp.float32
    assert found.shape == images.shape
    np.testing.assert_allclose(np.asarray(found) * 255, levels(found), atol=1e-4)
    change = levels(found) - levels(images)
    assert levels(found).min() >= 0
    assert levels(found).max() <= 255
    assert np.abs(change).max() > 0
    if norm == "linf":
        assert np.abs(change).max() == 7
    else:
        assert (l2(change / 255, 0 * change) <= eps * (1 + 1e-5)).all()


@pytest.mark.parametrize(
    ("name", "targeted"), [("pgd", False), ("pgd", True), ("apgd_ce", False), ("apgd_dlr", False), ("apgd_dlr", True)]
)
def test_iterated_attacks_fool_a_curved_model_where_one_step_does_less(name, targeted):
    variables, images = curved_variables(), photos(16, seed=5)
    labels = curved(variables, images).argmax(-1)
    aims = (labels + 1) % 4 if targeted else labels

    def margins(attack):
        found = attack(curved, variables, images, aims, eps=16 / 255, steps=40, key=KEY, targeted=targeted)
        return np.asarray(synth.margin(curved(variables, found), aims, targeted=targeted))

    strong, weak = margins(ATTACKS[name]), margins(synth.fgsm)
    assert strong.mean() > weak.mean()
    assert (strong > 0).sum() >= (weak > 0).sum()
    assert (strong > 0).mean() > 0.9


def test_the_best_iterate_is_kept_for_each_image():
    variables, images = curved_variables(), photos(8, seed=6)
    labels = curved(variables, images).argmax(-1)

    def margins(steps):  # steps far too long, so that the last iterate is seldom the best
        found = synth.pgd(curved, variables, images, labels, eps=0.1, steps=steps, key=KEY, step_size=0.15)
        return np.asarray(synth.margin(curved(variables, found), labels))

    few, many = margins(3), margins(12)
    assert (many >= few - 1e-5).all()


def test_more_restarts_are_never_worse():
    variables, images = curved_variables(), photos(8, seed=7)
    labels = curved(variables, images).argmax(-1)

    def margins(restarts):
        found = synth.apgd_ce(curved, variables, images, labels, eps=0.02, steps=10, key=KEY, restarts=restarts)
        return np.asarray(synth.margin(curved(variables, found), labels))

    assert (margins(3) >= margins(1) - 1e-5).all()


def test_checkpoints_of_100_steps_are_those_of_the_paper():
    marks, windows = checkpoints(100)
    assert (np.flatnonzero(marks) + 1).tolist() == [22, 41, 57, 70, 80, 87, 93, 99]
    assert windows[marks].tolist() == [22, 19, 16, 13, 10, 7, 6, 6]


def test_dlr_is_refused_with_too_few_classes():
    _, variables = two_class()
    with pytest.raises(InputError, match=r"at least 3 classes .* use apgd_ce"):
        synth.apgd_dlr(linear, variables, IMAGES, jnp.zeros(4, int), eps=0.1, key=KEY)
    three = linear_variables(classes=3)
    with pytest.raises(InputError, match="at least 4 classes"):
        synth.apgd_dlr(linear, three, IMAGES, jnp.zeros(4, int), eps=0.1, key=KEY, targeted=True)


@pytest.mark.parametrize("name", [*ATTACKS, "cw_l2"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"eps": 0.003}, "below one 8-bit step"),
        ({"eps": -1}, "above 0"),
        ({"eps": np.array([0.1, 0.1, -1, 0.1])}, "above 0"),
        ({"eps": np.array([0.1, 0.1])}, "eps must be a number, or 4 of them"),
        ({"images": 255 * IMAGES}, "divide by 255"),
        ({"images": 2 * IMAGES - 1.5}, "normalised by a mean"),
        ({"images": IMAGES - 0.24}, "clip them"),
        ({"images": IMAGES.astype(int)}, "float32"),
        ({"images": IMAGES * np.nan}, "finite"),
        ({"images": IMAGES[0]}, r"images\[None\]"),
        ({"steps": 0}, "at least 1"),
        ({"labels": np.zeros(3, int)}, "labels must be 4 integers"),
        ({"labels": np.zeros(4)}, "labels must be 4 integers"),
        ({"labels": np.full(4, 5)}, "no class with index 5: there are 5"),
    ],
)
def test_bad_input_is_refused_in_one_line(name, change, words):
    attack = getattr(synth, name)
    settings = {"labels": np.zeros(4, int), "eps": 0.1, "norm": "l2", "steps": 2, "key": KEY, "images": IMAGES}
    settings |= change
    labels, images = settings.pop("labels"), settings.pop("images")
    with pytest.raises(InputError, match=words) as error:
        attack(linear, linear_variables(), images, labels, **settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["pgd", "apgd_ce", "apgd_dlr"])
@pytest.mark.parametrize("key", [None, 3, jax.random.split(KEY, 3)])
def test_what_is_no_key_is_refused(name, key):
    with pytest.raises(InputError, match="key must be"):
        ATTACKS[name](linear, linear_variables(), IMAGES, np.zeros(4, int), eps=0.1, key=key)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ATTACKS)
def test_each_image_can_have_a_budget_of_its_own(name, norm):
    eps = np.array([2, 4, 60, 100]) / 255
    settings = {"norm": norm, "steps": 10, "key": KEY}
    found = ATTACKS[name](linear, linear_variables(), IMAGES, np.zeros(4, int), eps=eps, **settings)
    change = np.asarray(found, np.float64) - IMAGES
    size = np.abs(change).max((1, 2, 3)) if norm == "linf" else l2(change, 0 * change)
    assert (size <= eps * (1 + 1e-5)).all()
    assert (size >= 0.3 * eps).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ATTACKS)
def test_where_there_is_no_gradient_nothing_is_fooled_and_it_is_said(name, norm):
    def coarse(variables, images):
        return linear(variables, jnp.round(images * 15) / 15)

    labels = coarse(linear_variables(), IMAGES).argmax(-1)
    settings = {"eps": 4 / 255, "norm": norm, "steps": 3, "key": KEY}
    with pytest.warns(MaskedGradientsWarning, match="of 4 images withstood without a gradient"):
        found = ATTACKS[name](coarse, linear_variables(scale=3.0), IMAGES, labels, **settings)
    assert np.isfinite(found).all()


def test_no_image_that_is_not_finite_wins():
    best = Best(jnp.zeros((3, 1, 1, 1)), jnp.array([-1.0, -1.0, -jnp.inf]), jnp.zeros(3, bool))
    images = jnp.array([jnp.nan, 0.5, 0.5]).reshape(3, 1, 1, 1)
    met = best.meet(images, jnp.array([1.0, jnp.nan, jnp.inf]))
    assert met.images.sum() == 0
    assert met.margin.tolist() == [-1, -1, -np.inf]


@pytest.mark.parametrize("name", ["fgsm", "pgd", "mi_fgsm", "apgd_ce"])
def test_a_network_that_is_sure_does_not_hide_its_gradient(name):
    labels = curved(curved_variables(), IMAGES).argmax(-1)

    def sure(variables, images):
        return 1000 * curved(variables, images)

    settings = {"eps": 16 / 255, "steps": 10, "key": KEY}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ATTACKS[name](sure, curved_variables(), IMAGES, labels, **settings)
    plain = ATTACKS[name](curved, curved_variables(), IMAGES, labels, **settings)
    gained = [synth.margin(curved(curved_variables(), images), labels).mean() for images in (found, plain)]
    assert gained[0] > gained[1] - 1


@pytest.mark.parametrize("name", ["pgd", "apgd_ce"])
def test_with_a_key_for_each_image_the_batch_does_not_change_an_image(name):
    variables, keys = curved_variables(), jax.random.split(KEY, 4)
    labels = curved(variables, IMAGES).argmax(-1)
    settings = {"eps": 0.1, "steps": 1, "quantized": False}
    together = ATTACKS[name](curved, variables, IMAGES, labels, key=keys, **settings)
    alone = ATTACKS[name](curved, variables, IMAGES[2:3], labels[2:3], key=keys[2:3], **settings)
    np.testing.assert_allclose(alone[0], together[2], atol=1e-6)
    several = ATTACKS[name](curved, variables, IMAGES[:2], labels[:2], key=KEY, **settings)
    more = ATTACKS[name](curved, variables, IMAGES, labels, key=KEY, **settings)
    np.testing.assert_allclose(several, more[:2], atol=1e-6)


@pytest.mark.parametrize("name", [*ATTACKS, "cw_l2"])
def test_a_gradient_that_is_not_finite_leaves_that_image_finite(name):
    def broken(variables, images):
        logits = linear(variables, images)
        return logits.at[1].multiply(jnp.where(images[1].sum() > 0, jnp.nan, 1.0))

    settings = {"norm": "l2", "eps": 0.5, "steps": 4, "key": KEY}
    found = getattr(synth, name)(broken, linear_variables(), IMAGES, jnp.zeros(4, int), **settings)
    assert np.isfinite(found).all()
    assert l2(found, IMAGES)[0] > 0


def test_equal_calls_are_traced_once_whatever_eps_is():
    traces = []

    def counted(variables, images):
        traces.append(images.shape)
        return linear(variables, images)

    variables, labels = linear_variables(), jnp.zeros(4, int)
    synth.pgd(counted, variables, IMAGES, labels, eps=0.02, steps=5, key=KEY)
    first = len(traces)
    synth.pgd(counted, variables, IMAGES, labels, eps=0.05, steps=5, key=jax.random.key(8))
    assert len(traces) <= first + 1  # the check of the labels looks at the shape of the logits


def test_attacks_run_under_jit():
    variables, labels = linear_variables(), jnp.zeros(4, int)
    settings = {"eps": 4 / 255, "steps": 5, "key": KEY}
    attack = jax.jit(lambda images, labels: synth.pgd(linear, variables, images, labels, **settings))
    assert (attack(IMAGES, labels) == synth.pgd(linear, variables, IMAGES, labels, **settings)).all()
