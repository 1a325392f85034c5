"""Inverted residual blocks: MobileNetV2 (arXiv 1801.04381) and V3 (arXiv 1905.02244), EfficientNet (arXiv 1905.11946)
and V2 (arXiv 2104.00298), as torchvision, timm and Keras have them."""

from functools import partial

import flax.linen as nn
from jaxtyping import Array, Float

from tljax.models.activations import ACTIVATIONS
from tljax.models.gates import SqueezeExcite
from tljax.models.inverted import Block, InvertedConfig
from tljax.models.layers import ConvNorm, Execution, Head, Outputs, Taps, dropout, spatial_mean


class InvertedResidual(nn.Module):
    """Expand, filter each channel, gate, project (linear); added to the input where shapes allow."""

    config: InvertedConfig
    block: Block
    execution: Execution

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b y x f"]:
        """(b, h, w, c) -> (b, h / stride, w / stride, features)."""
        features, kernel, stride, wide, squeeze, activation, fused = self.block
        padding = "SAME" if self.config.same else kernel // 2
        conv = partial(ConvNorm, eps=self.config.eps, activation=ACTIVATIONS[activation], execution=self.execution)
        if fused:
            y = conv(wide or features, kernel, stride, padding, name="expand" if wide else "conv")(x)
        else:
            y = conv(wide, 1, name="expand")(x) if wide else x
            y = conv(y.shape[-1], kernel, stride, padding, groups=y.shape[-1], name="depthwise")(y)
            if squeeze:
                y = SqueezeExcite(squeeze, self.config.gate_activation, self.config.gate, name="gate")(y)
        if wide or not fused:
            y = conv(features, 1, activation=None, name="project")(y)
        return x + y if stride == 1 and x.shape[-1] == features else y


class InvertedNet(nn.Module):
    """A stem, stages of inverted residual blocks, a wide 1x1 layer, a dense layer or two on the averaged map.

    Attributes:
        config: widths and blocks, padding, eps of batch norm.
        classes: number of logits.
        head: "original" has a hidden layer in MobileNetV3; "linear": a dense layer on the embedding.
    """

    config: InvertedConfig
    classes: int
    head: str = "original"
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"], tap: Taps) -> Outputs:
        """Normalised images, (b, h, w, 3) -> `Outputs`."""
        config, activation = self.config, ACTIVATIONS[self.config.activation]
        conv = partial(ConvNorm, eps=config.eps, activation=activation, execution=self.execution)
        x = tap("stem", conv(config.stem, 3, 2, "SAME" if config.same else 1, name="stem")(x))
        for s, stage in enumerate(config.stages, start=1):
            for b, block in enumerate(stage):
                name = f"stage{s}_block{b}"
                x = tap(name, InvertedResidual(config, block, self.execution, name=name)(x))
        x = tap("top", conv(config.top, 1, name="top")(x))
        y = embed = spatial_mean(x)
        if config.hidden and self.head == "original":
            y = activation(Head(config.hidden, name="hidden")(y))
        logits = Head(self.classes, name="head")(dropout(y, config.dropout, self.execution))
        return Outputs(embed, logits, logits, tap.maps)
