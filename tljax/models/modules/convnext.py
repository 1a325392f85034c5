"""ConvNeXt: Liu et al., 2022 (arXiv 2201.03545), and V2: Woo et al., 2023 (arXiv 2301.00808)."""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from tljax.models.activations import gelu
from tljax.models.channels import Dense, LayerNorm, LayerScale
from tljax.models.convnext_architectures import ConvNeXtConfig
from tljax.models.layers import Conv, Execution, Head, Outputs, Taps, dropout, spatial_mean


class ResponseNorm(nn.Module):
    """Global response normalisation: a channel counts by its norm over space, divided by the mean norm of all channels.

    Source: Woo et al., 2023, section 3, and timm for the 1e-6.
    """

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """(b, h, w, c) -> (b, h, w, c)."""
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:], jnp.float32).astype(x.dtype)
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:], jnp.float32).astype(x.dtype)
        # The derivative of a root is infinite at 0, where a channel is 0 all over; the floor changes no other norm.
        norms = lax.sqrt(jnp.maximum((x.astype(jnp.float32) ** 2).sum((1, 2), keepdims=True), 1e-30))
        share = (norms / (norms.mean(-1, keepdims=True) + 1e-6)).astype(x.dtype)
        return x + (x * share * scale + bias)


class Block(nn.Module):
    """Each channel filtered by itself, layer norm, two dense layers; added to the input."""

    config: ConvNeXtConfig
    kernel: int
    execution: Execution

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """(b, h, w, c) -> (b, h, w, c)."""
        c, config = x.shape[-1], self.config
        conv = Conv(c, self.kernel, padding=self.kernel // 2, groups=c, execution=self.execution, name="depthwise")
        y = LayerNorm(config.eps, self.execution, name="norm1")(conv(x))
        y = gelu(Dense(4 * c, execution=self.execution, name="expand")(y))
        if config.response_norm:
            y = ResponseNorm(name="response_norm")(y)
        y = Dense(c, execution=self.execution, name="project")(y)
        return x + (LayerScale(name="layer_scale")(y) if config.layer_scale else y)


class ConvNeXt(nn.Module):
    """Patches of the image, four stages of blocks with a strided 2x2 convolution between them, a dense layer.

    Attributes:
        config: depths and widths, the stem, what differs between V1 and V2.
        classes: number of logits; 0: there is no classifier.
        head: "original" has a hidden layer in some; "linear": a dense layer on the embedding.
    """

    config: ConvNeXtConfig
    classes: int
    head: str = "original"
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"], tap: Taps) -> Outputs:
        """Normalised images, (b, h, w, 3), at least 32 pixels a side -> `Outputs`."""
        config, run = self.config, self.execution
        x = tap("stem", self.stem(x))
        for s, (depth, width) in enumerate(zip(config.depths, config.widths, strict=True), start=1):
            if s > 1:
                x = LayerNorm(config.eps, run, name=f"stage{s}_norm")(x)
                x = Conv(width, 2, 2, execution=run, name=f"stage{s}_downsample")(x)
            for b in range(depth):
                name = f"stage{s}_block{b}"
                x = tap(name, Block(config, config.kernels[s - 1], run, name=name)(x))
        norm = LayerNorm(config.eps, name="norm")
        embed = spatial_mean(norm(x)) if config.norm_first else norm(spatial_mean(x))
        y, rate = embed, 0.2 if self.head == "linear" else 0.0
        if self.head == "original" and config.hidden:
            y = gelu(Head(config.hidden, name="pre_logits")(y))
        logits = Head(self.classes, name="head")(dropout(y, rate, run))
        return Outputs(embed, logits, logits, tap.maps)

    def stem(self, x: Array) -> Array:
        """(b, h, w, 3) -> (b, h / 4, w / 4, width), by one convolution or by two that overlap."""
        config, width = self.config, self.config.widths[0]
        if config.stem:
            x = Conv(config.stem, 3, 2, 1, execution=self.execution, name="stem_conv1")(x)
            x = Conv(width, 3, 2, 1, execution=self.execution, name="stem_conv2")(x)
        else:
            x = Conv(width, 4, 4, execution=self.execution, name="stem_conv")(x)
        return LayerNorm(config.eps, self.execution, name="stem_norm")(x)
