"""What batch norm remembers of the training images, beside what it meets in others."""

import math
from collections.abc import Callable, Mapping
from functools import reduce
from operator import getitem
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class Moments(NamedTuple):
    """The input of one batch norm, standardised by its running statistics: on training images 0 and 1 on average.

    Attributes:
        mean: (n, c), over the pixels of each image.
        square: (n, c), mean square over the pixels.
        scale: (c,), the batch norm's own absolute scale: how much the channel counts afterwards.
    """

    mean: Float[Array, "n c"]
    square: Float[Array, "n c"]
    scale: Float[Array, " c"]


def with_moments(function: Callable) -> Callable[[Mapping[str, Any], Array], tuple[Any, dict[str, Moments]]]:
    """A function of a network that also says how usual its activations are.

    Args:
        function: pure (variables, images) -> anything: a network's `scores` or `intermediates`.
    Returns:
        (variables, images) -> (what `function` gives, {name of the batch norm: moments}); the dict is empty where there
        is no batch norm, or where it was folded away.
    """
    plain = getattr(function, "__wrapped__", function)  # a function compiled before would not be walked through again

    def both(variables, images):
        moments = {}

        def listen(call, args, kwargs, context):
            if isinstance(context.module, nn.BatchNorm) and context.method_name == "__call__":
                path = context.module.path
                stats, params = (reduce(getitem, path, variables[name]) for name in ("batch_stats", "params"))
                x = args[0].astype(jnp.float32) - stats["mean"]
                variance = stats["var"] + context.module.epsilon
                mean, square = x.mean((1, 2)) / jnp.sqrt(variance), (x * x).mean((1, 2)) / variance
                moments["/".join(path)] = Moments(mean, square, jnp.abs(params["scale"]))
            return call(*args, **kwargs)

        with nn.intercept_methods(listen):
            result = plain(variables, images)
        return result, moments

    return both


def narrow(moments: Mapping[str, Moments]) -> dict[str, Moments]:
    """The moments where the network narrows: of batch norms not wider than those before and after them.

    In a network of inverted bottlenecks all information passes through these, and to watch the wide layers between them
    costs more; where widths are equal, as in small ResNets, most are kept.
    """
    widths = [math.inf, *[len(one.scale) for one in moments.values()], math.inf]
    around = zip(widths, widths[1:], widths[2:], strict=False)
    return {name: one for (name, one), (a, b, c) in zip(moments.items(), around, strict=True) if b <= min(a, c)}
