"""MobileNetV2: torchvision's names and timm's."""

from tljax.models.spec import ModelSpec
from tljax.weights.rules.table import Rule, layer, normed, numbered_blocks, timm_mobile


def tables(spec: ModelSpec) -> dict[str, list[Rule]]:
    """The rules for each origin of weights."""
    rules, last = [*normed(r"features\.0\.0", r"features\.0\.1", "stem")], 0
    for number, block, expands in numbered_blocks(spec.config):
        source, last = rf"features\.{number + 1}\.conv\.", number + 2
        if expands:
            rules += normed(rf"{source}0\.0", rf"{source}0\.1", f"{block}/expand")
        depthwise = int(expands)
        rules += normed(rf"{source}{depthwise}\.0", rf"{source}{depthwise}\.1", f"{block}/depthwise")
        rules += normed(f"{source}{depthwise + 1}", f"{source}{depthwise + 2}", f"{block}/project")
    rules += normed(rf"features\.{last}\.0", rf"features\.{last}\.1", "top")
    rules += layer(r"classifier\.1", "head", "dense")
    return {"torchvision": rules, "timm": timm_mobile(spec.config)}
