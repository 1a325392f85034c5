"""ResNet-18 to ResNet-152: He et al., 2015 (arXiv 1512.03385), in torchvision's form "v1.5" and in Keras' form of 2015.

The stride of a bottleneck is on its 3x3 convolution in the first, on its first 1x1 in the second; padding is explicit
and symmetric in both.
"""

from functools import partial

import flax.linen as nn
from jaxtyping import Array, Float

from tljax.models import ops
from tljax.models.layers import ConvNorm, Execution, Head, Outputs, Taps, dropout, spatial_mean
from tljax.models.resnet import ResNetConfig


class Block(nn.Module):
    """A residual block, "basic" (3x3, 3x3) or "bottleneck" (1x1, 3x3, 1x1 to four times the width)."""

    config: ResNetConfig
    width: int
    stride: int
    execution: Execution

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b y x f"]:
        """(b, h, w, c) -> (b, h / stride, w / stride, features)."""
        conv = partial(ConvNorm, eps=self.config.eps, bias=self.config.bias, execution=self.execution)
        if self.config.block == "basic":
            features = self.width
            y = conv(self.width, 3, self.stride, padding=1, name="conv1")(x)
            y = conv(features, 3, padding=1, activation=None, name="conv2")(y)
        else:
            features = 4 * self.width
            first, second = (self.stride, 1) if self.config.stride_first else (1, self.stride)
            y = conv(self.width, 1, first, name="conv1")(x)
            y = conv(self.width, 3, second, padding=1, name="conv2")(y)
            y = conv(features, 1, activation=None, name="conv3")(y)
        if self.stride != 1 or x.shape[-1] != features:
            x = conv(features, 1, self.stride, activation=None, name="shortcut")(x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """A stem, four stages of residual blocks, a dense layer on the averaged map.

    Attributes:
        config: kind of block, blocks in each stage, and what differs between the two forms.
        classes: number of logits.
        head: "original" and "linear" are the same here.
    """

    config: ResNetConfig
    classes: int
    head: str = "original"
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"], tap: Taps) -> Outputs:
        """Normalised images, (b, h, w, 3) -> `Outputs`."""
        stem = ConvNorm(64, 7, 2, 3, execution=self.execution, eps=self.config.eps, bias=self.config.bias, name="stem")
        x = tap("stem", stem(x))
        x = ops.max_pool(x, 3, 2, padding=1)
        for stage, blocks in enumerate(self.config.repeats, start=1):
            for b in range(blocks):
                stride = 2 if b == 0 and stage > 1 else 1
                name = f"stage{stage}_block{b}"
                x = tap(name, Block(self.config, 64 * 2 ** (stage - 1), stride, self.execution, name=name)(x))
        embed = spatial_mean(x)
        rate = 0.2 if self.head == "linear" else 0.0
        logits = Head(self.classes, name="head")(dropout(embed, rate, self.execution))
        return Outputs(embed, logits, logits, tap.maps)
