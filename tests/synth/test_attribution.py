import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.synth.toy import curved, curved_variables, linear, linear_variables, photos
from tljax import synth
from tljax.errors import InputError
from tljax.models.network import init_network

IMAGES = photos(3)
LABELS = jnp.array([0, 2, 1])


def test_saliency_of_a_linear_model_is_its_largest_absolute_weight():
    variables = linear_variables()
    expected = np.abs(np.asarray(variables["w"])[..., np.asarray(LABELS)]).max(2)
    np.testing.assert_allclose(
        synth.saliency(linear, variables, IMAGES, LABELS), np.moveaxis(expected, -1, 0), rtol=1e-5
    )


def test_integrated_gradients_of_a_linear_model_are_weight_times_difference():
    variables = linear_variables()
    found = synth.integrated_gradients(linear, variables, IMAGES, LABELS, baseline=0.25, steps=2)
    expected = np.moveaxis(np.asarray(variables["w"])[..., np.asarray(LABELS)], -1, 0) * (IMAGES - 0.25)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_integrated_gradients_are_complete():
    variables = curved_variables()
    base = jax.random.uniform(jax.random.key(9), IMAGES.shape)
    for baseline in (0.0, base):
        found = synth.integrated_gradients(curved, variables, IMAGES, LABELS, baseline=baseline)
        start = jnp.broadcast_to(jnp.asarray(baseline, jnp.float32), IMAGES.shape)
        ends = [curved(variables, x)[jnp.arange(3), LABELS] for x in (IMAGES, start)]
        np.testing.assert_allclose(found.sum((1, 2, 3)), ends[0] - ends[1], rtol=1e-3, atol=1e-3)


def test_no_step_is_refused():
    with pytest.raises(InputError, match="at least 1"):
        synth.integrated_gradients(linear, linear_variables(), IMAGES, LABELS, steps=0)


@pytest.mark.parametrize("label", [-1, 5])
@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", "grad_cam"])
def test_a_label_that_is_no_class_is_refused(method, label):
    functions = (linear, toy_maps) if method == "grad_cam" else (linear,)
    layer = {"layer": "patches"} if method == "grad_cam" else {}
    with pytest.raises(InputError, match=f"no class with index {label}: there are 5"):
        getattr(synth, method)(*functions, linear_variables(), IMAGES, jnp.array([0, label, 1]), **layer)
    with pytest.raises(InputError, match="divide by 255"):
        getattr(synth, method)(*functions, linear_variables(), 255 * IMAGES, LABELS, **layer)


def toy_maps(variables, images):
    return toy_cam(variables, images)[0]


def toy_cam(variables, images):
    """Two channels, mean red and mean green of 2 x 2 patches; class 0 is red, class 1 green less half of red."""
    maps = images.reshape(-1, 3, 2, 3, 2, 3).mean((2, 4))[..., :2]
    maps = maps + variables.get("perturbations", {}).get("patches", 0)
    return {"patches": maps}, maps.mean((1, 2)) @ jnp.array([[1.0, -0.5], [0.0, 1.0]])


def test_grad_cam_by_hand():
    images = np.zeros((2, 6, 6, 3), np.float32)
    images[:, :2, :2, 0], images[:, 4:, 4:, 1] = 0.8, 0.6
    settings = (lambda v, x: toy_cam(v, x)[1], lambda v, x: toy_cam(v, x)[0], {}, images, jnp.array([0, 1]))
    cam = synth.grad_cam(*settings, layer="patches")
    assert cam.shape == (2, 6, 6)
    assert float(cam[0, 0, 0]) == pytest.approx(1)  # red speaks for class 0, in the first corner
    assert float(cam[0, 5, 5]) == 0
    assert float(cam[1, 5, 5]) == pytest.approx(1)  # green for class 1; red speaks against it
    assert float(cam[1, 0, 0]) == 0
    with pytest.raises(InputError, match='no layer named "nowhere": there are patches'):
        synth.grad_cam(*settings, layer="nowhere")


@pytest.mark.slow
def test_grad_cam_of_a_network():
    net = init_network("squeezenet1_1", key=jax.random.key(0), classes=4)
    images = jax.random.uniform(jax.random.key(1), (2, 64, 64, 3))
    settings = (net.scores, net.intermediates, net.variables, images, jnp.array([0, 3]))
    layer = list(jax.eval_shape(net.intermediates, net.variables, images))[-1]
    cam = synth.grad_cam(*settings, layer=layer)
    assert cam.shape == (2, 64, 64)
    assert np.isfinite(cam).all()
    assert 0 <= float(cam.min()) <= float(cam.max()) <= 1
