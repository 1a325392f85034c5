"""MobileNetV2: Sandler et al., 2018 (arXiv 1801.04381), width 1.0, as torchvision and Keras have it."""

from functools import partial

import flax.linen as nn
from jaxtyping import Array, Float

from tljax.models.activations import relu6
from tljax.models.layers import ConvNorm, Execution, Head, Outputs, Taps, dropout, spatial_mean
from tljax.models.mobilenet import MobileConfig, Stage


class InvertedResidual(nn.Module):
    """Expand (1x1), filter each channel (depthwise), project (1x1, linear); added to the input where shapes allow."""

    config: MobileConfig
    stage: Stage
    stride: int
    execution: Execution

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b y x f"]:
        """(b, h, w, c) -> (b, h / stride, w / stride, features)."""
        expand, features, _, _, kernel = self.stage
        conv = partial(ConvNorm, eps=self.config.eps, activation=relu6, execution=self.execution)
        wide = expand * x.shape[-1]
        y = conv(wide, 1, name="expand")(x) if expand > 1 else x
        padding = "SAME" if self.config.same else kernel // 2
        y = conv(wide, kernel, self.stride, padding, groups=wide, name="depthwise")(y)
        y = conv(features, 1, activation=None, name="project")(y)
        return x + y if self.stride == 1 and x.shape[-1] == features else y


class MobileNetV2(nn.Module):
    """A stem, seven stages of inverted residual blocks, a wide 1x1 layer, a dense layer on the averaged map.

    Attributes:
        config: widths and stages, padding, eps of batch norm.
        classes: number of logits.
        head: "original" and "linear" are the same here.
    """

    config: MobileConfig
    classes: int
    head: str = "original"
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"], tap: Taps) -> Outputs:
        """Normalised images, (b, h, w, 3) -> `Outputs`."""
        conv = partial(ConvNorm, eps=self.config.eps, activation=relu6, execution=self.execution)
        x = tap("stem", conv(self.config.stem, 3, 2, "SAME" if self.config.same else 1, name="stem")(x))
        for s, stage in enumerate(self.config.stages, start=1):
            for b in range(stage.repeats):
                name = f"stage{s}_block{b}"
                stride = stage.stride if b == 0 else 1
                x = tap(name, InvertedResidual(self.config, stage, stride, self.execution, name=name)(x))
        x = tap("top", conv(self.config.top, 1, name="top")(x))
        embed = spatial_mean(x)
        logits = Head(self.classes, name="head")(dropout(embed, 0.2, self.execution))
        return Outputs(embed, logits, logits, tap.maps)
