"""Activations by name, so that an architecture can be data: `ACTIVATIONS["hard_swish"]`."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import lax
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


def gelu(x: Array) -> Array:
    """The exact GELU, x * P(Z < x) for a standard normal Z: Hendrycks and Gimpel, 2016 (arXiv 1606.08415).

    By the error function as torch has it; JAX's own takes its complement, which is several times slower on a CPU.

    >>> jnp.round(tljax.models.gelu(jnp.array([-10.0, 0.0, 10.0])), 5).tolist()
    [-0.0, 0.0, 10.0]
    """
    return 0.5 * x * (1.0 + lax.erf(x * 2**-0.5))


def quick_gelu(x: Array) -> Array:
    """x * sigmoid(1.702 x), the approximation that OpenAI's CLIP was trained with: Hendrycks and Gimpel, 2016."""
    return x * jax.nn.sigmoid(1.702 * x)


def swiglu(x: Array) -> Array:
    """One half of the channels gates the other: (..., 2 c) -> (..., c); Shazeer, 2020 (arXiv 2002.05202)."""
    gate, value = jnp.split(x, 2, axis=-1)
    return jax.nn.silu(gate) * value


ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "relu6": relu6,
    "gelu": gelu,
    "gelu_tanh": jax.nn.gelu,
    "hard_sigmoid": hard_sigmoid,
    "hard_swish": hard_swish,
    "quick_gelu": quick_gelu,
    "sigmoid": jax.nn.sigmoid,
    "swiglu": swiglu,
    "swish": jax.nn.silu,
}
