"""MobileNetV2: torchvision's names, timm's and Keras'."""

from tljax.models.spec import ModelSpec
from tljax.models.table import MobileConfig
from tljax.weights.rules import keras
from tljax.weights.rules.table import Rule, layer, normed, numbered_blocks, timm_mobile


def tables(spec: ModelSpec) -> dict[str, list[Rule]]:
    """The rules for each origin of weights."""
    if spec.origin == "keras":
        return keras.tables(_keras_layers(spec.config))
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


def _keras_layers(config: MobileConfig) -> list[keras.Layer]:
    layers = keras.normed("Conv1", "bn_Conv1", "stem")
    for number, block, expands in numbered_blocks(config):
        name = f"block_{number}_" if number else "expanded_conv_"
        if expands:
            layers += keras.normed(f"{name}expand", f"{name}expand_BN", f"{block}/expand")
        layers += keras.normed(f"{name}depthwise", f"{name}depthwise_BN", f"{block}/depthwise", "depthwise")
        layers += keras.normed(f"{name}project", f"{name}project_BN", f"{block}/project")
    return [*layers, *keras.normed("Conv_1", "Conv_1_bn", "top"), keras.weighted("predictions", "head")]
