"""Rules: which tensor of a weight file becomes which parameter; and those that torch's networks repeat."""

from collections.abc import Callable
from operator import methodcaller
from typing import Any, NamedTuple

Transform = Callable[[Any], Any]  # of a NumPy array


def as_is(array: Any) -> Any:
    """The array itself."""
    return array


conv: Transform = methodcaller("transpose", 2, 3, 1, 0)  # OIHW to HWIO; depthwise (C, 1, k, k) to (k, k, 1, C)
dense: Transform = methodcaller("transpose", 1, 0)  # (out, in) to (in, out)


def pointwise(array: Any) -> Any:
    """A dense layer, (out, in), or the 1x1 convolution in its place, (out, in, 1, 1): to (in, out)."""
    return array.reshape(len(array), -1).T


def vector(array: Any) -> Any:
    """One number for each channel, whatever axes of size 1 are around them."""
    return array.reshape(-1)


class Rule(NamedTuple):
    r"""Source tensors whose whole name matches a pattern become one of our leaves.

    Attributes:
        source: a regular expression.
        target: the leaf's path, with `\1` for the pattern's groups; None: read, and not needed.
        transform: from the source's array to ours; a ValueError says that the array does not fit.

    >>> rule = tljax.models.Rule(r"fc\.weight", "params/head/kernel", lambda array: array.T)
    >>> rule.transform(np.zeros((2, 8))).shape
    (8, 2)
    """

    source: str
    target: str | None
    transform: Transform = as_is


def layer(source: str, target: str, transform: Transform) -> list[Rule]:
    """A convolution or dense layer with a bias; `transform` is that of its kernel."""
    return [
        Rule(rf"{source}\.weight", f"params/{target}/kernel", transform),
        Rule(rf"{source}\.bias", f"params/{target}/bias"),
    ]


def layer_norm(source: str, target: str) -> list[Rule]:
    """A norm without statistics."""
    return [Rule(rf"{source}\.weight", f"params/{target}/scale"), Rule(rf"{source}\.bias", f"params/{target}/bias")]


def batch_norm(source: str, target: str) -> list[Rule]:
    """A batch norm with its statistics; torch's count of the batches that it saw is not needed."""
    return [
        Rule(rf"{source}\.weight", f"params/{target}/scale"),
        Rule(rf"{source}\.bias", f"params/{target}/bias"),
        Rule(rf"{source}\.running_mean", f"batch_stats/{target}/mean"),
        Rule(rf"{source}\.running_var", f"batch_stats/{target}/var"),
        Rule(rf"{source}\.num_batches_tracked", None),
    ]


def normed(source: str, norm: str, target: str) -> list[Rule]:
    """A convolution without bias, depthwise ones too, and the batch norm behind it."""
    return [Rule(rf"{source}\.weight", f"params/{target}/kernel", conv), *batch_norm(norm, f"{target}/norm")]
