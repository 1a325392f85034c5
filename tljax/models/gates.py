"""Gates: a factor for each channel of a map, from the means of all its channels."""

import flax.linen as nn
from jaxtyping import Array, Float

from tljax.models.activations import ACTIVATIONS
from tljax.models.layers import Head, spatial_mean


class SqueezeExcite(nn.Module):
    """Two dense layers on the means over space, in float32, give each channel its factor.

    Source: Hu et al., 2018 (arXiv 1709.01507).

    >>> gate = tljax.models.SqueezeExcite(squeeze=2)
    >>> gate.init_with_output(jax.random.key(0), jnp.asarray(images))[0].shape
    (8, 32, 32, 3)
    """

    squeeze: int
    activation: str = "relu"
    gate: str = "sigmoid"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """(b, h, w, c) -> (b, h, w, c)."""
        y = ACTIVATIONS[self.activation](Head(self.squeeze, name="reduce")(spatial_mean(x)))
        y = ACTIVATIONS[self.gate](Head(x.shape[-1], name="expand")(y))
        return x * y[:, None, None].astype(x.dtype)
