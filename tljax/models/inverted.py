"""Networks of inverted residual blocks as data: MobileNetV2 and V3, EfficientNet and its kin share one module.

A family says its stages in rows (`Row`), as the papers print them, and `stages` makes blocks of them at any width and
depth. The names of torchvision's and timm's weight files follow from the blocks.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from tljax.models.rules import Rule, dense, layer, normed, pointwise

MODULE = "tljax.models.modules.inverted:InvertedNet"


class Block(NamedTuple):
    """Expand to `wide` channels (1x1), filter each (depthwise), gate, project to `features` (1x1, linear).

    Attributes:
        wide: 0: no layer expands.
        squeeze: channels between the two layers of the gate; 0: none.
        fused: one dense convolution expands and filters; without `wide` it is the whole block.
    """

    features: int
    kernel: int
    stride: int
    wide: int
    squeeze: int = 0
    activation: str = "relu6"
    fused: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the layers, in order."""
        if self.fused:
            return ("expand", "project") if self.wide else ("conv",)
        wanted = {"expand": self.wide, "depthwise": True, "gate": self.squeeze, "project": True}
        return tuple(name for name, there in wanted.items() if there)


class InvertedConfig(NamedTuple):
    """A network of inverted residual blocks as data.

    Attributes:
        stem, top: widths of the first and of the last convolution.
        stages: the blocks of each stage.
        hidden: width of a dense layer between the averaged map and the classifier; 0: none.
        activation: of stem, top and hidden layer.  gate: what ends the gates.  gate_activation: inside them.
        same: TensorFlow's SAME padding, which at stride 2 and even sizes is (0, 1).
        dropout: in front of the classifier.
    """

    stem: int
    stages: tuple[tuple[Block, ...], ...]
    top: int
    hidden: int = 0
    activation: str = "relu6"
    gate: str = "sigmoid"
    gate_activation: str = "swish"
    same: bool = False
    eps: float = 1e-5
    dropout: float = 0.2


class Row(NamedTuple):
    """A run of blocks that are equal but for the stride, which is that of the first; 1 everywhere after it.

    Attributes:
        expand: channels between, as a multiple of those that a block gets; 0: no layer expands.
    """

    expand: float
    features: int
    repeats: int
    stride: int
    kernel: int
    gated: bool = False
    activation: str = "relu6"
    fused: bool = False


def divisible(channels: float, by: int = 8, least: float = 0.9) -> int:
    """The nearest multiple of `by`; the next higher one where that is less than `least` of the channels."""
    rounded = max(by, int(channels + by / 2) // by * by)
    return rounded + by if rounded < least * channels else rounded


def stages(
    rows: Sequence[Sequence[Row]],
    stem: int,
    *,
    width: float = 1.0,
    depth: float | Sequence[float] = 1.0,
    least: float = 0.9,
    fixed_ends: bool = False,
    squeeze_wide: bool = False,
) -> tuple[tuple[Block, ...], ...]:
    """The blocks of each stage.

    Args:
        rows: of each stage.
        stem: channels that the first block gets.
        width, depth: factors of the channels and of the repeats, one for all stages or one for each.
        least: of `features`; see `divisible`.
        fixed_ends: the first and the last stage keep their repeats.
        squeeze_wide: gates are narrow by the channels that they gate, not by those that the block gets.
    """
    made, inputs = [], stem
    depths = [depth] * len(rows) if isinstance(depth, int | float) else depth
    for number, (stage, factor) in enumerate(zip(rows, depths, strict=True)):
        if fixed_ends and number in (0, len(rows) - 1):
            factor = 1.0
        blocks = []
        for row in stage:
            features = divisible(row.features * width, least=least)
            for repeat in range(math.ceil(row.repeats * factor)):
                wide = divisible(inputs * row.expand) if row.expand else 0
                gated = divisible((wide or inputs) / 4) if squeeze_wide else max(1, round(inputs / 4))
                squeeze, stride = gated if row.gated else 0, 1 if repeat else row.stride
                blocks.append(Block(features, row.kernel, stride, wide, squeeze, row.activation, row.fused))
                inputs = features
        made.append(tuple(blocks))
    return tuple(made)


def block_names(count: int) -> tuple[str, ...]:
    """The top-level layers from the image upwards, as patterns: the `blocks` of a family of `count` stages."""
    return ("stem", *(rf"stage{n}_block\d+" for n in range(1, count + 1)), "top")


def numbered(config: InvertedConfig) -> list[tuple[int, str, Block]]:
    """(number over all stages from 0, our name, block) of each block."""
    found = [(f"stage{s}_block{b}", block) for s, stage in enumerate(config.stages, 1) for b, block in enumerate(stage)]
    return [(number, name, block) for number, (name, block) in enumerate(found)]


_TIMM = {  # the layers of a block, by its parts, with the batch norm behind each
    ("conv",): ("conv", "bn1"),
    ("expand", "project"): ("conv_exp", "bn1", "conv_pwl", "bn2"),
    ("depthwise", "project"): ("conv_dw", "bn1", "conv_pw", "bn2"),
    ("expand", "depthwise", "project"): ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"),
}


def timm_rules(config: InvertedConfig) -> list[Rule]:
    """timm's names, whose blocks count from 0 within each stage; where a hidden layer follows, top is a stage more."""
    last = rf"blocks\.{len(config.stages)}\.0\."
    rules = [*normed("conv_stem", "bn1", "stem"), *layer("classifier", "head", dense)]
    if config.hidden:
        rules += [*normed(f"{last}conv", f"{last}bn1", "top"), *layer("conv_head", "hidden", pointwise)]
    else:
        rules += normed("conv_head", "bn2", "top")
    for s, stage in enumerate(config.stages):
        for b, block in enumerate(stage):
            rules += _timm_block(rf"blocks\.{s}\.{b}\.", f"stage{s + 1}_block{b}/", block)
    return rules


def _timm_block(theirs: str, ours: str, block: Block) -> list[Rule]:
    parts = tuple(part for part in block.parts if part != "gate")
    names, rules = iter(_TIMM[parts]), []
    for part, conv, norm in zip(parts, names, names, strict=True):
        rules += normed(f"{theirs}{conv}", f"{theirs}{norm}", f"{ours}{part}")
    if block.squeeze:
        for name in ("reduce", "expand"):
            rules += layer(rf"{theirs}se\.conv_{name}", f"{ours}gate/{name}", pointwise)
    return rules


def torchvision_block(source: str, target: str, block: Block) -> list[Rule]:
    """The layers of one block by torchvision's names, which count them; `source` is the pattern in front of these."""
    rules = []
    for number, part in enumerate(block.parts):
        name = rf"{source}{number}\."
        if part == "gate":
            rules += layer(f"{name}fc1", f"{target}/gate/reduce", pointwise)
            rules += layer(f"{name}fc2", f"{target}/gate/expand", pointwise)
        else:
            rules += normed(f"{name}0", f"{name}1", f"{target}/{part}")
    return rules
