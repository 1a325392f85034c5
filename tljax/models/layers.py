"""The layers that the families share, and what a network returns."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from tljax.models import ops


@dataclass(frozen=True)
class Execution:
    """How a network runs, whatever its architecture.

    Attributes:
        dtype: of activations and products; parameters, statistics and logits stay float32.
        folded: batch norm is folded into the convolutions, which then have a bias.
        train: dropout is on.
        update_stats: names of the top-level layers whose batch norm is in training mode.

    >>> tljax.models.Execution(dtype="bfloat16").train
    False
    """

    dtype: str = "float32"
    folded: bool = False
    train: bool = False
    update_stats: frozenset[str] = frozenset()


class Outputs(NamedTuple):
    """What one pass through a network gives; what is not used is never computed under jit.

    Attributes:
        embed: (b, d), the last convolutional map averaged over space.
        scores: (b, classes), before any final activation.
        logits: (b, classes), as the original network returns them.
        maps: the named convolutional maps, (b, h, w, c) each; those that were asked for.

    >>> tljax.models.Outputs._fields
    ('embed', 'scores', 'logits', 'maps')
    """

    embed: Array
    scores: Array
    logits: Array
    maps: dict[str, Array]


@dataclass(frozen=True)
class Taps:
    """Where the named maps of a network are read and perturbed.

    Attributes:
        wanted: names to keep, or None for all.
        perturbations: name -> (b, h, w, c), added to that map; the gradient with respect to it is that of the map.

    >>> tap = tljax.models.Taps(wanted=["block"])
    >>> x = tap("block", tap("stem", jnp.zeros((1, 4, 4, 8))))
    >>> list(tap.maps)
    ['block']
    """

    wanted: Collection[str] | None = ()
    perturbations: Mapping[str, Array] = field(default_factory=dict)
    maps: dict[str, Array] = field(default_factory=dict)

    def __call__(self, name: str, x: Array) -> Array:
        """Registers `x` as the map `name` and returns what the network goes on with."""
        if name in self.perturbations:
            x = x + self.perturbations[name]
        if self.wanted is None or name in self.wanted:
            self.maps[name] = x
        return x


DRAWN_LATER = nn.initializers.zeros  # `network.init_network` draws kernels: to trace their initialisers takes long


class Conv(nn.Module):
    """Convolution, with a bias by default, through `ops.conv2d`.

    >>> layer = tljax.models.Conv(features=4, kernel=3, stride=2, padding=1)
    >>> layer.init_with_output(jax.random.key(0), jnp.asarray(images))[0].shape
    (8, 16, 16, 4)
    """

    features: int
    kernel: int
    stride: int = 1
    padding: ops.Padding = 0
    groups: int = 1
    bias: bool = True
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b y x f"]:
        """(b, h, w, c) -> (b, y, x, features)."""
        return self.convolve(x, use_bias=self.bias)

    def convolve(self, x: Array, *, use_bias: bool) -> Array:
        """The convolution itself; declares `kernel` and `bias` in the caller's scope."""
        shape = (self.kernel, self.kernel, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", DRAWN_LATER, shape, jnp.float32).astype(self.execution.dtype)
        x = x.astype(self.execution.dtype)
        y = ops.conv2d(x, kernel, stride=self.stride, padding=self.padding, groups=self.groups)
        if use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32).astype(y.dtype)
        return y


class BatchNorm(nn.BatchNorm):
    """Flax's, written as x * a + b with an a and a b for each channel.

    In training mode that takes about half the time of (x - mean) * a + b, forth and back, on a CPU.

    >>> variables = tljax.models.BatchNorm(use_running_average=True).init(jax.random.key(0), jnp.asarray(images))
    >>> sorted(variables["params"]), sorted(variables["batch_stats"])
    (['bias', 'scale'], ['mean', 'var'])
    """

    @nn.compact
    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]: Flax's takes a mask as well, which none here has
        self, x: Float[Array, "b h w c"]
    ) -> Float[Array, "b h w c"]:
        """(b, h, w, c) -> (b, h, w, c); in training mode by the batch's statistics, which the running ones follow."""
        shape = x.shape[-1:]
        scale = self.param("scale", self.scale_init, shape, jnp.float32)
        bias = self.param("bias", self.bias_init, shape, jnp.float32)
        means = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        variances = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        mean, variance, x = means.value, variances.value, x.astype(jnp.float32)
        if not self.use_running_average:
            mean = x.mean((0, 1, 2))
            variance = jnp.maximum((x * x).mean((0, 1, 2)) - mean * mean, 0.0)
            if not self.is_initializing():
                means.value = self.momentum * means.value + (1 - self.momentum) * mean
                variances.value = self.momentum * variances.value + (1 - self.momentum) * variance
        a = scale * lax.rsqrt(variance + self.epsilon)
        return (x * a + (bias - mean * a)).astype(self.dtype)


def batch_norm(layer: nn.Module, name: str, eps: float, execution: Execution) -> BatchNorm:
    """The batch norm `name` of a layer, in training mode where the top-level layer that it belongs to is."""
    frozen = (*layer.path, name)[0] not in execution.update_stats
    return BatchNorm(frozen, momentum=0.9, epsilon=eps, dtype=execution.dtype, name=name)


class ConvNorm(Conv):
    """Convolution (without a bias, but for Keras'), batch norm, activation: `kernel` and the child `norm`.

    Once folded: `kernel` and `bias`. To fold, `for_inference` takes `eps` from the spec's config: pass that one on.

    >>> folded = tljax.models.Execution(folded=True)
    >>> layer = tljax.models.ConvNorm(features=4, kernel=3, padding=1, execution=folded)
    >>> sorted(layer.init(jax.random.key(0), jnp.asarray(images))["params"])
    ['bias', 'kernel']
    """

    eps: float = 1e-5
    bias: bool = False
    activation: Callable[[Array], Array] | None = nn.relu

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b y x f"]:
        """(b, h, w, c) -> (b, y, x, features)."""
        x = self.convolve(x, use_bias=self.bias or self.execution.folded)
        if not self.execution.folded:
            x = batch_norm(self, "norm", self.eps, self.execution)(x)
        return x if self.activation is None else self.activation(x)


class Head(nn.Module):
    """A dense layer in float32; of no features, it has no parameters.

    >>> tljax.models.Head(features=2).init_with_output(jax.random.key(0), jnp.ones((8, 16)))[0].shape
    (8, 2)
    """

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "b d"]) -> Float[Array, "b f"]:
        """(b, d) -> (b, features)."""
        if not self.features:
            return x[:, :0].astype(jnp.float32)
        kernel = self.param("kernel", DRAWN_LATER, (x.shape[-1], self.features), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        return x.astype(jnp.float32) @ kernel + bias


def dropout(x: Array, rate: float, execution: Execution) -> Array:
    """Dropout while training, the identity otherwise. Called inside a compact module.

    >>> import flax.linen as nn
    >>> class Halved(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, x):
    ...         return tljax.models.dropout(x, 0.5, tljax.models.Execution(train=False))
    >>> Halved().apply({}, jnp.ones(3)).tolist()
    [1.0, 1.0, 1.0]
    """
    return nn.Dropout(rate, deterministic=not execution.train)(x)


def spatial_mean(x: Float[Array, "b h w c"]) -> Float[Array, "b c"]:
    """The mean over both spatial axes, in float32.

    >>> tljax.models.spatial_mean(jnp.ones((2, 4, 4, 3))).shape
    (2, 3)
    """
    return x.astype(jnp.float32).mean((1, 2))


QUARTERS = "/2x2"
"""After the name of a map: the mean of each quarter, in the place of that of the whole."""


def pooled(maps: Mapping[str, Float[Array, "b h w c"]], place: str) -> Float[Array, "b d"]:
    """A map averaged over space; or, for NAME/2x2, over each of its quarters, which keeps where things are.

    Of an odd number of rows or columns, the middle one is in both halves.

    >>> maps = {"block": jnp.ones((2, 5, 5, 3))}
    >>> tljax.models.pooled(maps, "block").shape, tljax.models.pooled(maps, "block/2x2").shape
    ((2, 3), (2, 12))
    """
    x = maps[place.removesuffix(QUARTERS)]
    if not place.endswith(QUARTERS):
        return spatial_mean(x)
    quarters = [quarter for half in _halves(x, 1) for quarter in _halves(half, 2)]
    return jnp.concatenate([spatial_mean(quarter) for quarter in quarters], -1)


def _halves(x: Array, axis: int) -> tuple[Array, Array]:
    size, half = x.shape[axis], (x.shape[axis] + 1) // 2
    return lax.slice_in_dim(x, 0, half, axis=axis), lax.slice_in_dim(x, size - half, size, axis=axis)


def on_layers(outputs: Outputs, layers: Collection[str], head: Head, params: Mapping[str, Array]) -> Outputs:
    """The outputs with the maps that `layers` name as the embedding, side by side, and a linear head on them."""
    embed = jnp.concatenate([pooled(outputs.maps, place) for place in layers], -1)
    logits = jnp.asarray(head.apply({"params": params}, embed))
    return Outputs(embed, logits, logits, outputs.maps)
