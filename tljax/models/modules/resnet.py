"""ResNets and their kin: He et al., 2015 (arXiv 1512.03385), in torchvision's form "v1.5", timm's, and Keras' of 2015.

The stride of a bottleneck is on its 3x3 convolution in the first two, on its first 1x1 in Keras'; padding is explicit
and symmetric in all.
"""

from functools import partial

import flax.linen as nn
from jaxtyping import Array, Float

from tljax.models import ops
from tljax.models.gates import SqueezeExcite
from tljax.models.layers import ConvNorm, Execution, Head, Outputs, Taps, dropout, spatial_mean
from tljax.models.resnet_architectures import ResNetConfig


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
            features, groups = 4 * self.width, self.config.groups
            inner = self.width * self.config.base_width // 64 * groups
            first, second = (self.stride, 1) if self.config.stride_first else (1, self.stride)
            y = conv(inner, 1, first, name="conv1")(x)
            y = conv(inner, 3, second, padding=1, groups=groups, name="conv2")(y)
            y = conv(features, 1, activation=None, name="conv3")(y)
        if self.config.gated:
            y = SqueezeExcite(max(8, (features // 16 + 4) // 8 * 8), name="gate")(y)
        if self.stride != 1 or x.shape[-1] != features:
            stride = 1 if self.config.pooled else self.stride
            if stride != self.stride:
                x = ops.avg_pool(x, self.stride, ceil_mode=True)
            x = conv(features, 1, stride, activation=None, name="shortcut")(x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """A stem, four stages of residual blocks, a dense layer on the averaged map.

    Attributes:
        config: kind of block, blocks in each stage, and what differs between the forms.
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
        stem = partial(ConvNorm, execution=self.execution, eps=self.config.eps, bias=self.config.bias)
        if self.config.stem:
            for number, width in enumerate(self.config.stem):
                x = stem(width, 3, 1 if number else 2, 1, name=f"stem{number}")(x)
        else:
            x = stem(64, 7, 2, 3, name="stem")(x)
        x = tap("stem", x)
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
