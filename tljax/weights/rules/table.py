"""What a rule is, and the rules that every family repeats."""

from collections.abc import Iterator
from typing import NamedTuple

from tljax.models.table import MobileConfig


class Rule(NamedTuple):
    r"""Source tensors whose whole name matches a pattern become one of our leaves.

    Attributes:
        source: a regular expression.
        target: the leaf's path, with `\1` for the pattern's groups; None: read, and not needed.
        transform: a name in `tljax.weights.convert.TRANSFORMS`.
    """

    source: str
    target: str | None
    transform: str = "as_is"


def convolution(source: str, target: str) -> Rule:
    """A convolution without bias, depthwise ones too."""
    return Rule(rf"{source}\.weight", f"params/{target}/kernel", "conv")


def layer(source: str, target: str, transform: str) -> list[Rule]:
    """A convolution or dense layer with a bias; `transform` is that of its kernel."""
    return [
        Rule(rf"{source}\.weight", f"params/{target}/kernel", transform),
        Rule(rf"{source}\.bias", f"params/{target}/bias"),
    ]


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
    """A convolution without bias and the batch norm behind it."""
    return [convolution(source, target), *batch_norm(norm, f"{target}/norm")]


def numbered_blocks(config: MobileConfig) -> Iterator[tuple[int, str, bool]]:
    """(number over all stages from 0, our block's name, whether it expands) of each inverted residual block."""
    number = 0
    for stage, shape in enumerate(config.stages, start=1):
        for block in range(shape.repeats):
            yield number, f"stage{stage}_block{block}", shape.expand != 1
            number += 1


def timm_mobile(config: MobileConfig) -> list[Rule]:
    """timm's names for MobileNetV2 and EfficientNet: blocks counted from 0 within each stage."""
    rules = [
        *normed("conv_stem", "bn1", "stem"),
        *normed("conv_head", "bn2", "top"),
        *layer("classifier", "head", "dense"),
    ]
    for stage, shape in enumerate(config.stages):
        source, target = rf"blocks\.{stage}\.(\d+)\.", rf"stage{stage + 1}_block\1/"
        if shape.expand == 1:
            rules += normed(source + "conv_dw", source + "bn1", target + "depthwise")
            rules += normed(source + "conv_pw", source + "bn2", target + "project")
        else:
            rules += normed(source + "conv_pw", source + "bn1", target + "expand")
            rules += normed(source + "conv_dw", source + "bn2", target + "depthwise")
            rules += normed(source + "conv_pwl", source + "bn3", target + "project")
    return rules
