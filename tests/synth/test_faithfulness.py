import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.synth.toy import linear, linear_variables, photos
from tljax import synth
from tljax.errors import InputError

IMAGES = photos(3)
LABELS = jnp.array([0, 2, 1])
VARIABLES = linear_variables()
EXACT = np.moveaxis(np.asarray(VARIABLES["w"])[..., np.asarray(LABELS)], -1, 0) * IMAGES
"""What each value adds to its label's logit."""


def bright(variables, images):
    """Two classes: the logit of the first is how bright the upper left pixel is."""
    return jnp.stack([variables["scale"] * images[:, 0, 0, 0], jnp.zeros(len(images))], -1)


def test_deletion_and_insertion_by_hand():
    """One pixel decides: the curve falls, or rises, at the step in which it passes."""
    images, labels, variables = jnp.ones((1, 2, 2, 1)), jnp.array([0]), {"scale": 2.0}
    high, low = 1 / (1 + np.exp(-2)), 0.5
    for place, gone in ((3.0, 1), (0.0, 4)):  # the pixel is called the most important, then the least
        maps = jnp.array([[[place, 1.5], [1.0, 0.5]]])
        options = (bright, variables, images, labels, maps)
        expected = np.where(np.arange(5) < gone, high, low)
        np.testing.assert_allclose(synth.deletion(*options, steps=4)[0], expected, rtol=1e-5)
        expected = np.where(np.arange(5) < gone, low, high)
        np.testing.assert_allclose(synth.insertion(*options, steps=4)[0], expected, rtol=1e-5)


def test_what_adds_to_the_logit_is_deleted_sooner_than_by_chance():
    exact = EXACT.sum(-1)
    chance = jax.random.normal(jax.random.key(0), exact.shape)
    areas = [synth.deletion(linear, VARIABLES, IMAGES, LABELS, maps).mean(1) for maps in (exact, chance, -exact)]
    assert (areas[0] < areas[1]).all()
    assert (areas[1] < areas[2]).all()


def test_a_curve_runs_from_the_image_to_the_baseline():
    curve = synth.deletion(linear, VARIABLES, IMAGES, LABELS, EXACT.sum(-1), baseline=0.5, steps=5)
    ends = [jax.nn.softmax(linear(VARIABLES, x))[jnp.arange(3), LABELS] for x in (IMAGES, jnp.full_like(IMAGES, 0.5))]
    np.testing.assert_allclose(curve[:, 0], ends[0], rtol=1e-5)
    np.testing.assert_allclose(curve[:, -1], ends[1], rtol=1e-5)


def test_randomised_layers_keep_their_values_and_others_their_places():
    params = {"a": {"kernel": jnp.arange(12.0).reshape(3, 4)}, "b": {"kernel": jnp.arange(6.0)}}
    made = synth.randomised({"params": params, "batch_stats": {}}, layers=("a",), key=jax.random.key(0))["params"]
    assert made["a"]["kernel"].shape == (3, 4)
    assert (made["a"]["kernel"] != params["a"]["kernel"]).any()
    assert sorted(made["a"]["kernel"].ravel().tolist()) == list(range(12))
    assert made["b"]["kernel"].tolist() == list(range(6))
    with pytest.raises(InputError, match='no layer named "c": there are a, b'):
        synth.randomised({"params": params}, layers=("c",), key=jax.random.key(0))


def test_rank_correlation_by_hand():
    a = jnp.array([[[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0]]])
    b = jnp.array([[[1.0, 20.0, 21.0]], [[3.0, 2.0, 1.0]], [[1.0, 3.0, 2.0]]])
    np.testing.assert_allclose(synth.rank_correlation(a, b), [1, -1, 0.5], rtol=1e-5)


def test_maps_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"maps must be \(3, 6, 6\)"):
        synth.deletion(linear, VARIABLES, IMAGES, LABELS, EXACT)
    with pytest.raises(InputError, match="steps must be at least 1"):
        synth.insertion(linear, VARIABLES, IMAGES, LABELS, EXACT.sum(-1), steps=0)


def test_smoothgrad_of_a_linear_model_is_its_gradient():
    found = synth.smoothgrad(linear, VARIABLES, IMAGES, LABELS, samples=3, key=jax.random.key(0))
    expected = np.moveaxis(np.asarray(VARIABLES["w"])[..., np.asarray(LABELS)], -1, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_smoothgrad_averages_over_noise():
    """The gradient of a step is nowhere; that of its smoothed form is a bell."""

    def step(variables, images):
        return jnp.stack([jnp.maximum(images - 0.5, 0).sum((1, 2, 3)), jnp.zeros(len(images))], -1)

    images, options = jnp.full((1, 20, 20, 3), 0.5), {"noise": 0.1, "samples": 20, "key": jax.random.key(0)}
    found = synth.smoothgrad(step, {}, images, jnp.array([0]), **options)
    assert float(found.mean()) == pytest.approx(0.5, abs=0.03)  # the slope is 1 for half of the noise


def test_occlusion_of_a_linear_model_is_what_the_patch_adds():
    found = synth.occlusion(linear, VARIABLES, IMAGES, LABELS, window=2, stride=2, baseline=0.25)
    expected = np.moveaxis(np.asarray(VARIABLES["w"])[..., np.asarray(LABELS)], -1, 0) * (IMAGES - 0.25)
    patches = expected.reshape(3, 3, 2, 3, 2, 3).sum((2, 4, 5))
    np.testing.assert_allclose(found, patches.repeat(2, 1).repeat(2, 2), rtol=1e-3, atol=1e-4)


def test_windows_that_overlap_are_averaged_and_reach_the_edge():
    found = synth.occlusion(linear, VARIABLES, IMAGES, LABELS, window=4, stride=3, baseline=0.0)
    assert found.shape == (3, 6, 6)
    assert (found[:, 0, 0] != 0).all()
    assert (found[:, 5, 5] != 0).all()
    corners = [EXACT[:, y : y + 4, x : x + 4].sum((1, 2, 3)) for y in (0, 2) for x in (0, 2)]
    np.testing.assert_allclose(found[:, 3, 3], np.mean(corners, 0), rtol=1e-3, atol=1e-4)
    with pytest.raises(InputError, match="window must be from 1 to 6"):
        synth.occlusion(linear, VARIABLES, IMAGES, LABELS, window=7)
