"""The Fourier parametrisation of images: a spectrum with decorrelated colours, which gradient ascent then moves."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# The square root of the covariance of colours in natural images (Lucid's figures), its longest column scaled to 1.
_COLOURS = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
COLOURS = (_COLOURS / np.linalg.norm(_COLOURS, axis=0).max()).astype(np.float32)
_ROOM = 0.5 / 255  # between [0, 1] and what a sigmoid is asked for

Spectrum = Float[Array, "n h f 3 2"]


def init_spectrum(key: Array, n: int, size: int, *, scale: float = 0.01) -> Spectrum:
    """A random spectrum for `fourier_images`: after scaling by frequency, faint natural-looking noise.

    Args:
        n: number of images.
        size: their side, in pixels; even.
        scale: standard deviation of the unscaled coefficients.
    Returns:
        (n, size, size // 2 + 1, 3, 2): vertical and horizontal frequency, decorrelated colour, real and imaginary part.
    """
    return scale * jax.random.normal(key, (n, size, size // 2 + 1, 3, 2), jnp.float32)


def fourier_images(spectrum: Spectrum, size: int | None = None) -> Float[Array, "n size size 3"]:
    """Images in [0, 1] from their spectra: 1/frequency scaling, inverse FFT, correlated colours, sigmoid.

    All frequencies then learn at the pace at which natural images use them.

    Args:
        spectrum: as `init_spectrum` makes it.
        size: side of the images; below the spectrum's own, the higher frequencies are left out, which shows the same
            images at a lower resolution.
    Source: Olah, Mordvintsev and Schubert, "Feature visualization", Distill 2017, and their library Lucid.
    """
    full = spectrum.shape[1]
    size = full if size is None else size
    low = size // 2
    if size < full:
        spectrum = jnp.concatenate([spectrum[:, :low], spectrum[:, full - low :]], 1)[:, :, : low + 1]
    scaled = spectrum / _frequencies(size)[..., None, None]
    waves = jax.lax.complex(scaled[..., 0], scaled[..., 1])
    plain = jnp.fft.irfft2(waves, (size, size), axes=(1, 2)) * (size * size / 4)
    # by planes: as a matrix product this takes as long as the transform
    mixed = [sum(plain[..., i] * COLOURS[k, i] for i in range(3)) for k in range(3)]
    return jax.nn.sigmoid(jnp.stack(mixed, -1))


def spectra(images: Float[Array | np.ndarray, "n size size 3"]) -> Spectrum:
    """The spectra whose `fourier_images` these are, to half an 8-bit step.

    Args:
        images: in [0, 1]; their side is even.
    """
    size = images.shape[1]
    plain = jax.scipy.special.logit(jnp.clip(images, _ROOM, 1 - _ROOM)) @ np.linalg.inv(COLOURS).T.astype(np.float32)
    waves = jnp.fft.rfft2(plain, axes=(1, 2)) * (4 / (size * size))
    return jnp.stack([waves.real, waves.imag], -1) * _frequencies(size)[..., None, None]


def _frequencies(size: int) -> np.ndarray:
    """Cycles in an image of each coefficient of its spectrum, at least 1; (size, size // 2 + 1)."""
    cycles = np.hypot(np.fft.fftfreq(size, 1 / size)[:, None], np.arange(size // 2 + 1)[None, :])
    return np.maximum(cycles, 1.0).astype(np.float32)
