import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from tljax.errors import InputError
from tljax.synth import cross_entropy, dlr_loss, margin, targeted_dlr_loss, total_variation

LOGITS = jnp.array([[3.0, 1.0, 0.0, -1.0], [0.0, 2.0, 1.0, 4.0]])
LABELS = jnp.array([0, 1])


def test_total_variation_of_a_two_by_two_image():
    image = jnp.array([[1.0, 4.0], [2.0, 7.0]])[None, :, :, None]
    # rows: |2 - 1| + |7 - 4|, columns: |4 - 1| + |7 - 2|
    assert total_variation(image).tolist() == [12.0]
    assert total_variation(-2 * jnp.concatenate([image, image], -1)).tolist() == [48.0]


def test_total_variation_is_per_image_and_zero_for_a_flat_one():
    ramp = jnp.arange(5.0)[None, :, None, None] * jnp.ones((1, 5, 3, 2))
    values = total_variation(jnp.concatenate([ramp, jnp.ones((1, 5, 3, 2))]))
    assert values.tolist() == [4 * 3 * 2, 0.0]


def test_cross_entropy_of_known_probabilities():
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]])) + 7
    np.testing.assert_allclose(cross_entropy(logits, jnp.array([1, 2])), [np.log(4), -np.log(0.7)], rtol=1e-5)


def test_the_gradient_of_cross_entropy_survives_a_probability_that_rounds_to_one():
    gradient = jax.grad(lambda x: cross_entropy(x, jnp.array([0])).sum())(jnp.array([[60.0, 0.0, -1.0]]))
    np.testing.assert_allclose(gradient[0, 0], -np.exp(-60) * (1 + np.exp(-1)), rtol=1e-4)


def test_margin_is_positive_exactly_when_the_attack_succeeds():
    assert margin(LOGITS, LABELS).tolist() == [-2.0, 2.0]
    assert margin(LOGITS, LABELS, targeted=True).tolist() == [2.0, -2.0]


def test_dlr_by_hand():
    np.testing.assert_allclose(dlr_loss(LOGITS, LABELS), [-2 / 3, 2 / 3], rtol=1e-6)
    # (1 - 3) / (3 - (0 - 1) / 2) and (4 - 2) / (4 - (1 + 0) / 2)
    np.testing.assert_allclose(targeted_dlr_loss(LOGITS, LABELS, jnp.array([1, 3])), [-2 / 3.5, 2 / 3.5], rtol=1e-6)


def test_dlr_of_too_few_classes_is_refused():
    with pytest.raises(InputError, match="dlr_loss needs at least 3 classes"):
        dlr_loss(LOGITS[:, :2], LABELS)
    with pytest.raises(InputError, match="targeted_dlr_loss needs at least 4 classes"):
        targeted_dlr_loss(LOGITS[:, :3], LABELS, LABELS)


def test_dlr_ignores_scale_and_shift_of_the_logits():
    np.testing.assert_allclose(dlr_loss(100 * LOGITS + 5, LABELS), dlr_loss(LOGITS, LABELS), rtol=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        cross_entropy,
        margin,
        dlr_loss,
        lambda logits, labels: targeted_dlr_loss(logits, labels, jnp.array([2, 0])),
    ],
)
def test_gradients_agree_with_finite_differences(loss):
    check_grads(lambda x: loss(x, LABELS).sum(), (LOGITS,), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)


def test_the_gradient_of_total_variation_agrees_with_finite_differences():
    """No two pixels are alike, or nearly: it is bent where they are."""
    x = 0.2 * jax.random.permutation(jax.random.key(0), jnp.arange(40.0)).reshape(1, 4, 5, 2)
    check_grads(lambda x: total_variation(x).sum(), (x,), order=1, modes=["rev"], eps=1e-2, atol=1e-2, rtol=1e-2)
