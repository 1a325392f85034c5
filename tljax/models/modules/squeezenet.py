"""SqueezeNet 1.0 and 1.1: Iandola et al., 2016 (arXiv 1602.07360), as torchvision and Caffe have them.

The stem is not padded, max pools keep the partial window (ceil mode), and a ReLU follows the last convolution:
`logits` are after it, `scores` before it.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from tljax.models import ops
from tljax.models.layers import Conv, Execution, Head, Outputs, Taps, dropout, spatial_mean
from tljax.models.squeezenet import SqueezeNetConfig


class Fire(nn.Module):
    """Squeeze by 1x1, expand by 1x1 and 3x3 side by side."""

    squeeze: int
    expand: int
    execution: Execution

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w f"]:
        """(b, h, w, c) -> (b, h, w, 2 * expand)."""
        x = nn.relu(Conv(self.squeeze, 1, execution=self.execution, name="squeeze")(x))
        one = Conv(self.expand, 1, execution=self.execution, name="expand1x1")(x)
        three = Conv(self.expand, 3, padding=1, execution=self.execution, name="expand3x3")(x)
        return nn.relu(jnp.concatenate([one, three], axis=-1))


class SqueezeNet(nn.Module):
    """A convolution, eight fire modules, a 1x1 convolution to the classes, averaged over space.

    Attributes:
        config: the widths, and where the pools are.
        classes: number of logits.
        head: "original" (conv10) or "linear" (a dense layer on the embedding).
    """

    config: SqueezeNetConfig
    classes: int
    head: str = "original"
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"], tap: Taps) -> Outputs:
        """Normalised images, (b, h, w, 3), at least 21 pixels on a side -> `Outputs`."""
        width, kernel = self.config.stem
        x = tap("conv1", nn.relu(Conv(width, kernel, 2, execution=self.execution, name="conv1")(x)))
        for number, (squeeze, expand) in enumerate(self.config.fires, start=2):
            if number in self.config.pools:
                x = ops.max_pool(x, 3, 2, ceil_mode=True)
            x = tap(f"fire{number}", Fire(squeeze, expand, self.execution, name=f"fire{number}")(x))
        embed = spatial_mean(x)
        if self.head == "linear":
            logits = Head(self.classes, name="head")(dropout(embed, 0.5, self.execution))
            return Outputs(embed, logits, logits, tap.maps)
        x = Conv(self.classes, 1, execution=self.execution, name="conv10")(dropout(x, 0.5, self.execution))
        x = tap("conv10", x)
        return Outputs(embed, spatial_mean(x), spatial_mean(nn.relu(x)), tap.maps)
