"""VGG-11 to VGG-19: Simonyan and Zisserman, 2014 (arXiv 1409.1556), as torchvision and Keras have them."""

from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from tljax.models import ops
from tljax.models.layers import Conv, ConvNorm, Execution, Head, Outputs, Taps, dropout, spatial_mean
from tljax.models.vgg import VGGConfig


class VGG(nn.Module):
    """Blocks of 3x3 convolutions, each followed by a max pool; then three dense layers on a 7x7 map.

    Attributes:
        config: for each block the widths of its convolutions, and whether these have a batch norm.
        classes: number of logits.
        head: "original" (fc6, fc7, fc8) or "linear" (a dense layer on the embedding).
    """

    config: VGGConfig
    classes: int
    head: str = "original"
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"], tap: Taps) -> Outputs:
        """Normalised images, (b, h, w, 3), at least 32 pixels on a side -> `Outputs`."""
        last = x
        for block, widths in enumerate(self.config.widths, start=1):
            for i, width in enumerate(widths, start=1):
                name = f"conv{block}_{i}"
                options: dict[str, Any] = {"padding": 1, "execution": self.execution, "name": name}
                if self.config.normed:
                    x = tap(name, ConvNorm(width, 3, bias=True, eps=self.config.eps, **options)(x))
                else:
                    x = tap(name, nn.relu(Conv(width, 3, **options)(x)))
            last, x = x, ops.max_pool(x, 2, 2)
        embed = spatial_mean(last)
        if self.head == "linear":
            logits = Head(self.classes, name="head")(dropout(embed, 0.5, self.execution))
        else:
            logits = self.dense_layers(x)
        return Outputs(embed, logits, logits, tap.maps)

    def dense_layers(self, x: Array) -> Array:
        """The pooled map, (b, y, x, 512) -> (b, classes)."""
        x = ops.adaptive_avg_pool(x, 7).astype("float32")
        x = x.reshape(x.shape[0], -1)
        for name in ("fc6", "fc7"):
            x = dropout(jax.nn.relu(Head(4096, name=name)(x)), 0.5, self.execution)
        return Head(self.classes, name="fc8")(x)
