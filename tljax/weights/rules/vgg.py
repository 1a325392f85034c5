"""VGG: torchvision counts every layer, activations and pooling included; timm turns fc6 and fc7 into convolutions."""

from tljax.models.spec import ModelSpec
from tljax.weights.rules.table import Rule, layer


def tables(spec: ModelSpec) -> dict[str, list[Rule]]:
    """The rules for each origin of weights."""
    features, index = [], 0
    for stage, widths in enumerate(spec.config, start=1):
        for number in range(1, len(widths) + 1):
            features += layer(rf"features\.{index}", f"conv{stage}_{number}", "conv")
            index += 2  # the convolution and its ReLU
        index += 1  # the pooling
    return {
        "torchvision": [
            *features,
            *layer(r"classifier\.0", "fc6", "dense_of_map"),
            *layer(r"classifier\.3", "fc7", "dense"),
            *layer(r"classifier\.6", "fc8", "dense"),
        ],
        "timm": [
            *features,
            *layer(r"pre_logits\.fc1", "fc6", "dense_of_map"),
            *layer(r"pre_logits\.fc2", "fc7", "dense_of_map"),
            *layer(r"head\.fc", "fc8", "dense"),
        ],
    }
