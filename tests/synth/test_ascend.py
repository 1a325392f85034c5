import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tljax import synth
from tljax.errors import InputError

KEY = jax.random.key(0)


def hill(x, key, top):
    """A paraboloid for each image, its top at `top`; the noise must come from the step's own key."""
    return -jnp.sum((x - top) ** 2, -1) + 0 * jax.random.normal(key)


def test_plain_gradient_ascent_is_the_closed_form():
    start, top = jnp.zeros((2, 3)), jnp.array([[1.0, 2.0, 3.0], [-1.0, 0.0, 1.0]])
    result = synth.ascend(hill, start, optimiser=optax.sgd(0.1), steps=7, key=KEY, args=(top,), chunk=3)
    np.testing.assert_allclose(result.params, top * (1 - 0.8**7), rtol=1e-5)
    left = 0.8 ** (2 * np.arange(7))
    np.testing.assert_allclose(result.values, -left[:, None] * np.array([14.0, 2.0]), rtol=1e-5)
    assert result.finite.all()
    assert result.stopped == [None, None]


def test_the_size_of_the_chunks_and_a_resumption_change_nothing():
    def noisy(x, key):
        return -jnp.sum((x - jax.random.normal(key, x.shape)) ** 2, -1)

    settings = {"optimiser": optax.adam(0.1), "key": KEY}
    start = jnp.ones((2, 4))
    whole = synth.ascend(noisy, start, steps=10, chunk=10, **settings)
    parts = synth.ascend(noisy, start, steps=6, chunk=4, **settings)
    parts = synth.ascend(noisy, start, steps=4, chunk=4, resume=parts, **settings)
    np.testing.assert_allclose(parts.params, whole.params, rtol=1e-6)
    np.testing.assert_allclose(parts.values, whole.values, rtol=1e-6)


def test_an_image_whose_gradient_is_not_finite_stops_there_and_the_others_go_on():
    def cliff(x, key):
        """1 each step; the square root has no gradient once the first image passes 3.5."""
        del key
        broken = jnp.sqrt(jnp.where(x[:, 0] > 3.5, -1.0, 1.0) * jnp.abs(x[:, 0] - 100))
        return x[:, 0] + 0 * broken

    start = jnp.array([[0.0], [-50.0]])
    result = synth.ascend(cliff, start, optimiser=optax.sgd(1.0), steps=8, key=KEY, chunk=3)
    assert result.stopped == [4, None]
    assert result.params[:, 0].tolist() == [4.0, -42.0]
    assert result.finite[:, 0].tolist() == [True] * 4 + [False] * 4
    again = synth.ascend(cliff, start, optimiser=optax.sgd(1.0), steps=2, key=KEY, resume=result)
    assert again.params[:, 0].tolist() == [4.0, -40.0]


def test_the_objective_is_traced_once_for_all_chunks_and_calls():
    traces = []

    def counted(x, key):
        del key
        traces.append(1)
        return -jnp.sum(x**2, -1)

    optimiser = optax.sgd(0.1)
    for steps in (5, 11):
        synth.ascend(counted, jnp.ones((1, 2)), optimiser=optimiser, steps=steps, key=KEY, chunk=4)
    assert len(traces) == 1


def test_progress_is_shown_by_chunk():
    seen = []

    def track(items, description, total):
        seen.append((list(items), total))
        return seen[-1][0]

    synth.ascend(hill, jnp.ones((1, 2)), optimiser=optax.sgd(0.1), steps=10, key=KEY, args=(0.0,), chunk=4, track=track)
    assert seen == [([0, 4, 8], 3)]


def test_no_step_is_refused():
    with pytest.raises(InputError, match="at least 1"):
        synth.ascend(hill, jnp.ones((1, 2)), optimiser=optax.sgd(0.1), steps=0, key=KEY, args=(0.0,))
