"""Layers on the channels of each position by itself, wherever it lies: those of ConvNeXt and of transformers."""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from tljax.models.layers import DRAWN_LATER, Execution


class Dense(nn.Module):
    """A dense layer on the last axis, in the dtype of the execution; `Head` is the one in float32 for logits.

    >>> tljax.models.Dense(4).init_with_output(jax.random.key(0), jnp.asarray(images))[0].shape
    (8, 32, 32, 4)
    """

    features: int
    bias: bool = True
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b f"]:
        """(..., d) -> (..., features)."""
        kernel = self.param("kernel", DRAWN_LATER, (x.shape[-1], self.features), jnp.float32).astype(
            self.execution.dtype
        )
        flat = x.astype(self.execution.dtype).reshape(-1, x.shape[-1]) @ kernel
        x = flat.reshape(*x.shape[:-1], self.features)
        if self.bias:
            x = x + self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32).astype(x.dtype)
        return x


class LayerNorm(nn.Module):
    """Each position's channels with mean 0 and variance 1, then a `scale` and a `bias`; statistics in float32.

    Source: Ba, Kiros and Hinton, 2016 (arXiv 1607.06450).

    >>> y = tljax.models.LayerNorm().init_with_output(jax.random.key(0), jnp.asarray(images))[0]
    >>> bool(jnp.allclose(y.mean(-1), 0, atol=1e-3))
    True
    """

    eps: float = 1e-6
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        """(..., d) -> (..., d)."""
        shape, x = x.shape[-1:], x.astype(jnp.float32)
        scale = self.param("scale", nn.initializers.ones, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape, jnp.float32)
        x = x - x.mean(-1, keepdims=True)
        x = x * lax.rsqrt((x * x).mean(-1, keepdims=True) + self.eps)
        return (x * scale + bias).astype(self.execution.dtype)


class LayerScale(nn.Module):
    """A factor for each channel at the end of a residual branch: Touvron et al., 2021 (arXiv 2103.17239).

    >>> tljax.models.LayerScale().init(jax.random.key(0), jnp.asarray(images))["params"]["scale"].shape
    (3,)
    """

    @nn.compact
    def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        """(..., d) -> (..., d)."""
        return x * self.param("scale", nn.initializers.ones, x.shape[-1:], jnp.float32).astype(x.dtype)
