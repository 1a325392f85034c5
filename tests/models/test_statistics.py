import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tljax.models.network import for_inference, init_network
from tljax.models.statistics import Moments, narrow, with_moments


def test_moments_are_those_of_the_standardised_input_of_each_batch_norm():
    net = init_network("mobilenet_v2", key=jax.random.key(0), classes=3)
    stats = net.variables["batch_stats"]["stem"]["norm"]
    stem = {"mean": stats["mean"] + 0.5, "var": stats["var"] * 4}
    variables = {**net.variables, "batch_stats": {**net.variables["batch_stats"], "stem": {"norm": stem}}}
    images = jax.random.uniform(jax.random.key(1), (2, 32, 32, 3))
    logits, moments = jax.jit(with_moments(net.scores))(variables, images)
    np.testing.assert_allclose(logits, net.scores(variables, images), rtol=1e-4, atol=1e-5)
    paths = {tuple(str(k.key) for k in path[:-1]) for path, _ in jax.tree.leaves_with_path(variables["batch_stats"])}
    assert set(moments) == {"/".join(path) for path in paths}

    x = (images - jnp.array(net.spec.mean)) / jnp.array(net.spec.std)
    kernel = variables["params"]["stem"]["kernel"]
    dimensions = ("NHWC", "HWIO", "NHWC")
    out = jax.lax.conv_general_dilated(x, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=dimensions)
    standard = (out - 0.5) / jnp.sqrt(4 + 1e-5)
    np.testing.assert_allclose(moments["stem/norm"].mean, standard.mean((1, 2)), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(moments["stem/norm"].square, (standard**2).mean((1, 2)), rtol=1e-3, atol=1e-4)


def test_a_network_without_batch_norm_has_no_moments():
    folded = for_inference(init_network("resnet18", key=jax.random.key(0), classes=3))
    images = jnp.ones((1, 32, 32, 3)) / 2
    assert jax.jit(with_moments(folded.scores))(folded.variables, images)[1] == {}
    logits, moments = with_moments(lambda variables, images: images.sum((1, 2)))({}, images)
    assert logits.shape == (1, 3)
    assert moments == {}


@pytest.mark.parametrize(
    ("widths", "kept"),
    [([32, 32, 16, 96, 96, 24, 144], [0, 2, 5]), ([64, 64, 256, 64], [0, 1, 3]), ([8, 8, 8], [0, 1, 2]), ([], [])],
)
def test_narrow_keeps_the_local_minima_of_width(widths, kept):
    moments = {str(i): Moments(jnp.zeros((1, n)), jnp.ones((1, n)), jnp.ones(n)) for i, n in enumerate(widths)}
    assert list(narrow(moments)) == [str(i) for i in kept]
