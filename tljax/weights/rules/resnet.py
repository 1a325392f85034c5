"""ResNet: torchvision's names, which timm kept, and Keras'."""

from tljax.models.spec import ModelSpec
from tljax.models.table import ResNetConfig
from tljax.weights.rules import keras
from tljax.weights.rules.table import Rule, layer, normed


def tables(spec: ModelSpec) -> dict[str, list[Rule]]:
    """The rules for each origin of weights."""
    if spec.origin == "keras":
        return keras.tables(_keras_layers(spec.config))
    block, ours = r"layer(\d)\.(\d+)\.", r"stage\1_block\2/"
    return {
        "torchvision": [
            *normed("conv1", "bn1", "stem"),
            *normed(rf"{block}conv(\d)", rf"{block}bn(\d)", rf"{ours}conv\3"),
            *normed(rf"{block}downsample\.0", rf"{block}downsample\.1", f"{ours}shortcut"),
            *layer("fc", "head", "dense"),
        ]
    }


def _keras_layers(config: ResNetConfig) -> list[keras.Layer]:
    """Keras sorts layers by their distance from the output, so a shortcut stands beside the third convolution."""
    layers = keras.normed("conv1_conv", "conv1_bn", "stem")
    for stage, blocks in enumerate(config.repeats, start=1):
        for block in range(blocks):
            name, ours = f"conv{stage + 1}_block{block + 1}", f"stage{stage}_block{block}"
            layers += keras.normed(f"{name}_1_conv", f"{name}_1_bn", f"{ours}/conv1")
            layers += keras.normed(f"{name}_2_conv", f"{name}_2_bn", f"{ours}/conv2")
            last = keras.normed(f"{name}_3_conv", f"{name}_3_bn", f"{ours}/conv3")
            shortcut = keras.normed(f"{name}_0_conv", f"{name}_0_bn", f"{ours}/shortcut")
            layers += last if block else [layer for pair in zip(shortcut, last, strict=True) for layer in pair]
    return [*layers, keras.weighted("predictions", "head")]
