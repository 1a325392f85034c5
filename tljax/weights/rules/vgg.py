"""VGG: torchvision counts every layer, activations and pooling included; timm turns fc6 and fc7 into convolutions.

Keras flattens rows, columns, channels, as here.
"""

from tljax.models.spec import ModelSpec
from tljax.weights.rules import keras
from tljax.weights.rules.table import Rule, layer


def tables(spec: ModelSpec) -> dict[str, list[Rule]]:
    """The rules for each origin of weights."""
    if spec.origin == "keras":
        return keras.tables(_keras_layers(spec.config))
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


def _keras_layers(config: tuple[tuple[int, ...], ...]) -> list[keras.Layer]:
    numbers = [(stage, n) for stage, widths in enumerate(config, start=1) for n in range(1, len(widths) + 1)]
    convolutions = [keras.weighted(f"block{stage}_conv{n}", f"conv{stage}_{n}") for stage, n in numbers]
    return [
        *convolutions,
        keras.weighted("fc1", "fc6"),
        keras.weighted("fc2", "fc7"),
        keras.weighted("predictions", "fc8"),
    ]
