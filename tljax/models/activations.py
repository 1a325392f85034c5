"""ReLUs, and a way for gradients through those that are off."""

import contextlib
import contextvars
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jaxtyping import Array

_redirected = contextvars.ContextVar("redirected ReLUs", default=False)


@contextlib.contextmanager
def redirected_relus(redirected: bool = True) -> Iterator[None]:
    """While the body is traced, gradients find a way through a ReLU that is off everywhere.

    Where nothing of an image's gradient passes a `relu`, what would raise its inputs does, as in Lucid: the inputs
    rise until it wakes.
    """
    token = _redirected.set(redirected)
    try:
        yield
    finally:
        _redirected.reset(token)


def relu(x: Array) -> Array:
    """ReLU; see `redirected_relus`."""
    return _redirected_relu(x) if _redirected.get() else jax.nn.relu(x)


@jax.custom_vjp
def _redirected_relu(x: Array) -> Array:
    return jax.nn.relu(x)


def _redirect(x: Array, cotangent: Array) -> tuple[Array]:
    through = jnp.where(x > 0, cotangent, 0)
    uphill = jnp.maximum(cotangent, 0)
    blocked = (through == 0).all(tuple(range(1, x.ndim)), keepdims=True)
    return (jnp.where(blocked, uphill, through),)


_redirected_relu.defvjp(lambda x: (jax.nn.relu(x), x), _redirect)


def relu6(x: Array) -> Array:
    """ReLU clipped at 6; the derivative is 0 at both ends, as in torch."""
    return jnp.where(x < 6.0, relu(x), 6.0)
