"""An objective as a function of what an image is made of: the bridge between `ascend` and a network."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from tljax.synth import fourier
from tljax.synth.objective import Objective, respond
from tljax.synth.transforms import Transforms, random_transform


@dataclass(frozen=True)
class Fourier:
    """Images by their spectra; see `fourier.fourier_images`.

    Attributes:
        size: side of the images, in pixels: below the spectrum's own, they are shown at a lower resolution.

    >>> form = tljax.synth.Fourier(size=32)
    >>> np.allclose(form.images(form.params(images)), images, atol=0.01)
    True
    """

    size: int

    def images(self, params: fourier.Spectrum) -> Float[Array, "n size size 3"]:
        """The images of these spectra, in [0, 1]."""
        return fourier.fourier_images(params, self.size)

    def params(self, images: Float[Array | np.ndarray, "n size size 3"]) -> fourier.Spectrum:
        """The spectra of these images."""
        return fourier.spectra(images)


@dataclass(frozen=True)
class Pixels:
    """Images as mid-grey plus pixels of a contrast; not clipped.

    Attributes:
        contrast: of one unit, in units of the pixel range.

    >>> form = tljax.synth.Pixels(contrast=0.25)
    >>> np.allclose(form.images(form.params(images)), images)
    True
    """

    contrast: float

    def images(self, params: Float[Array, "n h w 3"]) -> Float[Array, "n h w 3"]:
        """The images of these pixels."""
        return 0.5 + self.contrast * params

    def params(self, images: Float[Array | np.ndarray, "n h w 3"]) -> Float[Array, "n h w 3"]:
        """The pixels of these images."""
        return (jnp.asarray(images) - 0.5) / self.contrast


@dataclass(frozen=True)
class ImageObjective:
    """What `ascend` follows: (params, key, variables of the networks, targets, seeds) -> (n,).

    Equal ones compare equal, so that a compiled loop is found again.

    Attributes:
        networks: pure functions (variables, images) -> outputs; the objective is averaged over them.
        form: what `params` are.
        objective: of the images, and of what a network makes of them.
        transforms: what the images undergo, each network's drawn anew, before it is shown them; None: nothing.

    >>> from tljax.synth.objectives import logit, smoothness
    >>> goal = tljax.synth.ImageObjective((net.scores,), tljax.synth.Pixels(0.25), logit() - smoothness())
    >>> goal(jnp.zeros((2, 32, 32, 3), jnp.float32), None, (net.variables,), jnp.array([0, 1]), None).shape
    (2,)
    """

    networks: tuple[Callable, ...]
    form: Fourier | Pixels
    objective: Objective
    transforms: Transforms | None = None

    def __call__(self, params, key, variables, targets: Int[Array, " n"], seeds) -> Float[Array, " n"]:
        """What each image is worth under one random transformation, drawn by the key and its seed."""
        images = self.form.images(params)
        total = jnp.zeros(len(images), jnp.float32)
        for number, (function, own) in enumerate(zip(self.networks, variables, strict=True)):
            seen = images
            if self.transforms is not None:
                seen = random_transform(images, self.transforms, key=jax.random.fold_in(key, number), seeds=seeds)
            total += self.objective(images, respond(function, own, seen, targets)) / len(self.networks)
        return total
