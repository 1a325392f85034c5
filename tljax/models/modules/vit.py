"""The vision transformer: Dosovitskiy et al., 2021 (arXiv 2010.11929), with what DeiT III, CLIP and DINOv2 changed."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from tljax.errors import InputError
from tljax.models.activations import ACTIVATIONS
from tljax.models.channels import Dense, LayerNorm, LayerScale
from tljax.models.layers import Conv, Execution, Head, Outputs, Taps, dropout
from tljax.models.vit_architectures import ViTConfig


class Embedding(nn.Module):
    """Tokens: the class token and the registers, then the patches of the image, with their positions."""

    config: ViTConfig
    execution: Execution

    @nn.compact
    def __call__(self, x: Float[Array, "b y x c"]) -> Float[Array, "b n c"]:
        """The patches, (b, y, x, c) -> (b, prefix + y * x, c)."""
        config, (b, *grid, c) = self.config, x.shape
        embedded = config.prefix if config.embed_prefix else 0
        known = self.param("positions", nn.initializers.zeros, (embedded + config.grid**2, c), jnp.float32)
        positions = resampled(known[embedded:].reshape(config.grid, config.grid, c), grid).astype(x.dtype)
        x = (x + positions).reshape(b, -1, c)
        if not config.prefix:
            return x
        names = {"class_token": int(config.class_token), "registers": config.registers}
        first = jnp.concatenate(
            [self.param(name, nn.initializers.zeros, (n, c), jnp.float32) for name, n in names.items() if n]
        )
        first = (first + known[:embedded] if embedded else first).astype(x.dtype)
        return jnp.concatenate([jnp.broadcast_to(first, (b, *first.shape)), x], axis=1)


def resampled(positions: Float[Array, "h w c"], grid: Sequence[int]) -> Float[Array, "y x c"]:
    """Position embeddings for another number of patches, by cubic interpolation with antialiasing, as timm's."""
    if positions.shape[:2] == tuple(grid):
        return positions
    shape, highest = (*grid, positions.shape[-1]), jax.lax.Precision.HIGHEST
    return jax.image.resize(positions, shape, "cubic", antialias=True, precision=highest)


class Attention(nn.Module):
    """Each token a mean of all, weighted by how well its query meets their keys."""

    config: ViTConfig
    execution: Execution

    @nn.compact
    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        """(b, n, c) -> (b, n, c); the weights are float32."""
        (b, n, c), heads = x.shape, self.config.heads
        qkv = Dense(3 * c, self.config.qkv_bias, self.execution, name="qkv")(x)
        q, k, v = qkv.reshape(b, n, 3, heads, c // heads).transpose(2, 0, 3, 1, 4)
        meets = (q * (c // heads) ** -0.5) @ k.swapaxes(-1, -2)
        shares = jax.nn.softmax(meets.astype(jnp.float32)).astype(v.dtype)
        return Dense(c, execution=self.execution, name="project")((shares @ v).swapaxes(1, 2).reshape(b, n, c))


class Block(nn.Module):
    """Attention and two dense layers, each behind a layer norm and added to what came in."""

    config: ViTConfig
    execution: Execution

    @nn.compact
    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        """(b, n, c) -> (b, n, c)."""
        config, run = self.config, self.execution
        y = Attention(config, run, name="attention")(LayerNorm(config.eps, run, name="norm1")(x))
        x = x + (LayerScale(name="scale1")(y) if config.layer_scale else y)
        y = Dense(config.hidden, execution=run, name="expand")(LayerNorm(config.eps, run, name="norm2")(x))
        y = Dense(config.width, execution=run, name="project")(ACTIVATIONS[config.activation](y))
        return x + (LayerScale(name="scale2")(y) if config.layer_scale else y)


class ViT(nn.Module):
    """Patches as tokens, blocks of attention, a dense layer on the class token or on the mean of the patches.

    Attributes:
        config: sizes, and what differs between DeiT, AugReg, CLIP and DINOv2.
        classes: number of logits; 0: there is no classifier.
        head: "original"; "linear": a dense layer on the embedding, which differs where `config.embed` is "both".
    """

    config: ViTConfig
    classes: int
    head: str = "original"
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"], tap: Taps) -> Outputs:
        """Normalised images, (b, h, w, 3), both sides multiples of `config.patch` -> `Outputs`.

        Raises:
            InputError: other sides.
        """
        config, run, size = self.config, self.execution, self.config.patch
        if x.shape[1] % size or x.shape[2] % size:
            raise InputError(f"images must have sides that patches of {size} pixels divide: got {x.shape[1:3]}")
        x = Conv(config.width, size, size, bias=not config.pre_norm, execution=run, name="patches")(x)
        grid = x.shape[1:3]
        x = Embedding(config, run, name="embedding")(x)
        x = LayerNorm(config.eps, run, name="pre_norm")(x) if config.pre_norm else x
        for number in range(config.depth):
            name = f"block{number}"
            x = self.tapped(tap, name, Block(config, run, name=name)(x), grid)
        norm = LayerNorm(config.eps, name="norm")
        tokens = x.astype(jnp.float32) if config.norm_last else norm(x)
        means = tokens[:, config.prefix :].mean(1)
        pooled = tokens[:, 0] if config.pool == "token" else means
        pooled = norm(pooled) if config.norm_last else pooled
        embed = jnp.concatenate([tokens[:, 0], means], axis=-1) if config.embed == "both" else pooled
        y, rate = (embed, 0.2) if self.head == "linear" else (pooled, 0.0)
        logits = Head(self.classes, name="head")(dropout(y, rate, run))
        return Outputs(embed, logits, logits, tap.maps)

    def tapped(self, tap: Taps, name: str, x: Array, grid: Sequence[int]) -> Array:
        """The patches among the tokens as the map `name`; what was done to it goes back to its place."""
        patches = x[:, self.config.prefix :].reshape(x.shape[0], *grid, -1)
        changed = tap(name, patches)
        if changed is patches:
            return x
        return jnp.concatenate([x[:, : self.config.prefix], changed.reshape(x.shape[0], -1, x.shape[-1])], axis=1)
