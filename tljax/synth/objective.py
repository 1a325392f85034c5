"""Objectives as sums of terms, and what their terms are shown."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from tljax.errors import InputError
from tljax.models.layers import Outputs
from tljax.models.statistics import Moments, with_moments
from tljax.synth.eight_bit import ImagesLike

Value = Float[Array, " n"] | Float[Array, ""]


class Response(NamedTuple):
    """What a network makes of images, as objectives read it.

    Attributes:
        scores: (n, classes), or None where the network's function gives maps alone.
        maps: layer -> (n, y, x, c); empty where it gives scores alone.
        moments: of each batch norm; see `models.statistics.Moments`.
        targets: (n,), the class (or channel) that each image is made for.

    >>> response = tljax.synth.objectives.respond(net.outputs, net.variables, images, labels)
    >>> response.scores.shape, response.maps["block"].shape
    ((8, 2), (8, 16, 16, 8))
    """

    scores: Float[Array, "n classes"] | None
    maps: Mapping[str, Float[Array, "n y x c"]]
    moments: Mapping[str, Moments]
    targets: Int[Array | np.ndarray, " n"]

    def logits(self) -> Float[Array, "n classes"]:
        """The scores.

        Raises:
            InputError: the network's function gives none.
        """
        if self.scores is None:
            raise InputError("this objective needs the scores of classes: give net.scores or net.outputs")
        return self.scores

    def map(self, layer: str) -> Float[Array | jax.ShapeDtypeStruct, "n y x c"]:
        """The map of a layer.

        Raises:
            InputError: the network's function gives none, or none of this name.
        """
        if not self.maps:
            raise InputError(
                f'"{layer}" is a layer, and this function gives none: give net.intermediates or net.outputs'
            )
        if layer not in self.maps:
            raise InputError(f'no layer named "{layer}": there are {", ".join(self.maps)}')
        return self.maps[layer]


Term = Callable[[ImagesLike, Response], Value]


def respond(function: Callable, variables: Any, images: ImagesLike, targets: Int[Array | np.ndarray, " n"]) -> Response:
    """Shows images to a network.

    Args:
        function: pure (variables, images) -> logits, {layer: map}, or both: `net.scores`, `net.intermediates`, or
            `net.outputs`.
        targets: (n,), what each image is made for.

    >>> tljax.synth.objectives.respond(net.scores, net.variables, images, labels).scores.shape
    (8, 2)
    """
    return as_response(*with_moments(function)(variables, jnp.asarray(images)), targets)


def as_response(output: Any, moments: Mapping[str, Moments], targets: Int[Array | np.ndarray, " n"]) -> Response:
    """What a network's function gave: logits, {layer: map}, or both."""
    if isinstance(output, Outputs):
        return Response(output.scores, output.maps, moments, targets)
    if isinstance(output, Mapping):
        return Response(None, output, moments, targets)
    return Response(output, {}, moments, targets)


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms, each a function (images, response) -> one number for each image, or one for all.

    Objectives add, subtract, and are multiplied by numbers; a plain function of the same form may stand in for one.
    Equal ones compare equal, so that a compiled loop is found again: a function defined anew is another one.

    Attributes:
        terms: (weight, term) in the order in which they are summed. A term sees the images as they are, and what the
            network makes of them under one random transformation.
    Raises:
        InputError: when called, where a term gives another shape, or needs scores or a map that are not there.

    >>> from tljax.synth.objectives import logit, smoothness
    >>> def redness(images, response):
    ...     return images[..., 0].mean((1, 2))
    >>> objective = logit(1) - 0.5 * smoothness() + redness
    >>> objective(images, tljax.synth.objectives.respond(net.scores, net.variables, images, labels)).shape
    (8,)
    >>> logit(1) - 0.5 * smoothness() == logit(1) - 0.5 * smoothness()
    True
    """

    terms: tuple[tuple[float, Term], ...]

    def __call__(self, images: ImagesLike, response: Response) -> Float[Array, " n"]:
        """The sum, (n,)."""
        total = jnp.zeros(len(images), jnp.float32)
        for weight, term in self.terms:
            value = jnp.asarray(term(images, response))
            if value.shape not in ((), total.shape):
                raise InputError(f"an objective gives one number for each image, {total.shape}: got {value.shape}")
            total += weight * value
        return total

    def __add__(self, other: "Objective | Term") -> "Objective":
        """Both, summed."""
        return Objective(self.terms + as_objective(other).terms)

    def __radd__(self, other: Term) -> "Objective":
        """Both, summed."""
        return as_objective(other) + self

    def __sub__(self, other: "Objective | Term") -> "Objective":
        """This one less the other."""
        return self + -1.0 * as_objective(other)

    def __rsub__(self, other: Term) -> "Objective":
        """The other one less this."""
        return as_objective(other) - self

    def __mul__(self, factor: float) -> "Objective":
        """All weights times a number."""
        return Objective(tuple((factor * weight, term) for weight, term in self.terms))

    __rmul__ = __mul__

    def __neg__(self) -> "Objective":
        """What leads away."""
        return -1.0 * self


def as_objective(term: Objective | Term) -> Objective:
    """An objective as it is; a plain function as an objective of one term."""
    return term if isinstance(term, Objective) else Objective(((1.0, term),))


@dataclass(frozen=True)
class Named:
    """A term `function(images, response, *options)` that compares by value, as a closure would not."""

    function: Callable
    options: tuple

    def __call__(self, images: ImagesLike, response: Response) -> Value:
        """What the function gives."""
        return self.function(images, response, *self.options)


def objective(function: Callable, *options: Any) -> Objective:
    """An objective of one such term."""
    return Objective(((1.0, Named(function, options)),))
