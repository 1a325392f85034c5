import jax
import jax.numpy as jnp
import numpy as np

from tljax.synth.fourier import COLOURS, fourier_images, init_spectrum


def test_images_start_as_faint_noise_around_grey():
    images = fourier_images(init_spectrum(jax.random.key(0), 3, 64))
    assert images.shape == (3, 64, 64, 3)
    assert images.dtype == jnp.float32
    assert abs(float(images.mean()) - 0.5) < 0.02
    assert 1e-4 < float(images.std()) < 0.05


def test_the_constant_coefficient_sets_the_colour():
    spectrum = jnp.zeros((1, 32, 17, 3, 2)).at[0, 0, 0, 1, 0].set(8.0)
    expected = jax.nn.sigmoid(8 / 4 * COLOURS[:, 1])
    np.testing.assert_allclose(fourier_images(spectrum), jnp.broadcast_to(expected, (1, 32, 32, 3)), rtol=1e-5)


def test_a_wave_is_scaled_by_one_over_its_frequency():
    def depth(frequency):
        spectrum = jnp.zeros((1, 64, 33, 3, 2)).at[0, 0, frequency, 0, 0].set(0.04)
        return float(jnp.ptp(fourier_images(spectrum)))

    np.testing.assert_allclose(depth(2) / depth(8), 4, rtol=1e-3)


def test_a_smaller_size_shows_the_same_image():
    key = jax.random.key(1)
    spectrum = init_spectrum(key, 1, 64, scale=1.0).at[:, 8:-7].set(0).at[:, :, 8:].set(0)  # nothing above 8 cycles
    large, small = fourier_images(spectrum), fourier_images(spectrum, 32)
    np.testing.assert_allclose(large[:, ::2, ::2], small, atol=1e-4)
