"""Activations by name, so that an architecture can be data: `ACTIVATIONS["hard_swish"]`."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array


def relu6(x: Array) -> Array:
    """ReLU clipped at 6; the derivative is 0 at both ends, as in torch."""
    return jnp.where(x < 6.0, jax.nn.relu(x), 6.0)


def hard_sigmoid(x: Array) -> Array:
    """A sigmoid of three straight pieces, relu6(x + 3) / 6: Howard et al., 2019 (arXiv 1905.02244)."""
    return relu6(x + 3.0) * (1.0 / 6.0)


def hard_swish(x: Array) -> Array:
    """x * `hard_sigmoid`(x): Howard et al., 2019 (arXiv 1905.02244)."""
    return x * hard_sigmoid(x)


ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "relu6": relu6,
    "hard_sigmoid": hard_sigmoid,
    "hard_swish": hard_swish,
    "sigmoid": jax.nn.sigmoid,
    "swish": jax.nn.silu,
}
