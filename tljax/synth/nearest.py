"""The nearest successes of attacks that seek the smallest change, and how these are brought to 8-bit levels."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from tljax.synth import eight_bit
from tljax.synth.eight_bit import Images
from tljax.synth.problem import Problem
from tljax.trees import select

_STRETCHES = 12


class Nearest(NamedTuple):
    """For each photo the nearest success, or while there is none the image of the best margin.

    Attributes:
        images: at 8-bit levels where these count.
        distance: (b,), in the norm of the problem; infinite until the first success.
        margin: (b,).
        blind: (b,), whether no gradient but zero has been met.
    """

    images: Images
    distance: Float[Array, " b"]
    margin: Float[Array, " b"]
    blind: Bool[Array, " b"]

    def meet(self, problem: Problem, images: Images, margin: Float[Array, " b"], confidence=0.0) -> "Nearest":
        """The better ones of these images and those before; a success has a margin above `confidence`."""
        distance = eight_bit.lengths(images - problem.images, problem.norm)[:, 0, 0, 0]
        success = margin > confidence
        better = jnp.where(success, distance < self.distance, jnp.isinf(self.distance) & (margin > self.margin))
        new = Nearest(images, jnp.where(success, distance, self.distance), margin, self.blind)
        return select(better & jnp.isfinite(margin) & jnp.isfinite(distance), new, self)


def unreached(problem: Problem) -> Nearest:
    """The originals, before any success."""
    nothing = jnp.zeros(len(problem.images), jnp.float32)
    return Nearest(problem.images, nothing + jnp.inf, nothing - jnp.inf, nothing == 0)


def stretch(problem: Problem, nearest: Nearest, confidence=0.0) -> tuple[Nearest, Images]:
    """Stretches each change until it succeeds at 8-bit levels too, as little as that takes.

    Returns:
        the nearest success at 8-bit levels; and the stretched changes, not rounded.
    """
    change = nearest.images - problem.images

    def halve(state, _):
        low, high, met = state
        middle = jnp.sqrt(low * high)
        images = problem.rounded(problem.project(problem.images + middle[:, None, None, None] * change))
        _, (_, margin) = problem.objective(images)
        success = margin > confidence
        met = met.meet(problem, images, margin, confidence)
        return (jnp.where(success, low, middle), jnp.where(success, middle, high), met), None

    ones = jnp.ones(len(change), jnp.float32)
    met = unreached(problem)._replace(blind=nearest.blind)
    (_, high, met), _ = jax.lax.scan(halve, (ones, 256 * ones, met), length=_STRETCHES)
    return met, problem.project(problem.images + high[:, None, None, None] * change) - problem.images
