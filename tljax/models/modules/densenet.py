"""DenseNet: Huang et al., 2016 (arXiv 1608.06993), as torchvision has it."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from tljax.models import ops
from tljax.models.densenet import DenseNetConfig
from tljax.models.layers import Conv, ConvNorm, Execution, Head, Outputs, Taps, batch_norm, dropout, spatial_mean


class DenseLayer(nn.Module):
    """Batch norm, 1x1 convolution, batch norm, 3x3 convolution: the channels that are added to those before."""

    config: DenseNetConfig
    execution: Execution

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w g"]:
        """(b, h, w, c) -> (b, h, w, growth)."""
        growth, eps = self.config.growth, self.config.eps
        x = nn.relu(batch_norm(self, "first_norm", eps, self.execution)(x))
        x = ConvNorm(4 * growth, 1, execution=self.execution, eps=eps, name="conv1")(x)
        return Conv(growth, 3, padding=1, bias=False, execution=self.execution, name="conv2")(x)


class Transition(nn.Module):
    """Batch norm, a 1x1 convolution to half the channels, an average over 2x2 pixels."""

    config: DenseNetConfig
    execution: Execution

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b y x f"]:
        """(b, h, w, c) -> (b, h / 2, w / 2, c / 2)."""
        x = nn.relu(batch_norm(self, "first_norm", self.config.eps, self.execution)(x))
        return ops.avg_pool(Conv(x.shape[-1] // 2, 1, bias=False, execution=self.execution, name="conv")(x), 2)


class DenseNet(nn.Module):
    """A stem, four blocks of layers that each see all before them, a dense layer on the averaged map.

    Attributes:
        config: widths and depths, eps of batch norm.
        classes: number of logits.
        head: "original" and "linear" are the same here.
    """

    config: DenseNetConfig
    classes: int
    head: str = "original"
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"], tap: Taps) -> Outputs:
        """Normalised images, (b, h, w, 3), at least 29 pixels on a side -> `Outputs`."""
        config, run = self.config, self.execution
        x = tap("stem", ConvNorm(config.stem, 7, 2, 3, execution=run, eps=config.eps, name="stem")(x))
        x = ops.max_pool(x, 3, 2, padding=1)
        for b, repeats in enumerate(config.repeats, start=1):
            if b > 1:
                name = f"transition{b - 1}"
                x = tap(name, Transition(config, run, name=name)(x))
            for number in range(1, repeats + 1):
                new = DenseLayer(config, run, name=f"block{b}_layer{number}")(x)
                x = jnp.concatenate([x, new], axis=-1)
            x = tap(f"block{b}", x)
        x = tap("last_norm", nn.relu(batch_norm(self, "last_norm", config.eps, run)(x)))
        embed = spatial_mean(x)
        rate = 0.2 if self.head == "linear" else 0.0
        logits = Head(self.classes, name="head")(dropout(embed, rate, run))
        return Outputs(embed, logits, logits, tap.maps)
