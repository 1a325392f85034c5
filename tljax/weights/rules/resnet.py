"""ResNet: torchvision's names, which timm kept."""

from tljax.models.spec import ModelSpec
from tljax.weights.rules.table import Rule, layer, normed


def tables(_spec: ModelSpec) -> dict[str, list[Rule]]:
    """The rules for each origin of weights."""
    block, ours = r"layer(\d)\.(\d+)\.", r"stage\1_block\2/"
    return {
        "torchvision": [
            *normed("conv1", "bn1", "stem"),
            *normed(rf"{block}conv(\d)", rf"{block}bn(\d)", rf"{ours}conv\3"),
            *normed(rf"{block}downsample\.0", rf"{block}downsample\.1", f"{ours}shortcut"),
            *layer("fc", "head", "dense"),
        ]
    }
