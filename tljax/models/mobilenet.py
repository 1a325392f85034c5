"""MobileNetV2: Sandler et al., 2018 (arXiv 1801.04381), with the weights of torchvision and of Keras."""

from dataclasses import replace
from typing import Any

from tljax.models import keras, timm
from tljax.models.inverted import (
    MODULE,
    InvertedConfig,
    Row,
    block_names,
    divisible,
    numbered,
    stages,
    timm_rules,
)
from tljax.models.rules import Rule, dense, layer, normed
from tljax.models.spec import Family, ModelSpec
from tljax.models.torchvision import Weights, published

_ROWS = (
    (Row(0, 16, 1, 1, 3),),
    (Row(6, 24, 2, 2, 3),),
    (Row(6, 32, 3, 2, 3),),
    (Row(6, 64, 4, 2, 3),),
    (Row(6, 96, 3, 1, 3),),
    (Row(6, 160, 3, 2, 3),),
    (Row(6, 320, 1, 1, 3),),
)


def _config(width: float = 1.0, depth: float = 1.0, fixed: bool = False, **changes: Any) -> InvertedConfig:
    """`fixed`: stem, top and the depth of the first and the last stage do not scale; top never gets narrower."""
    stem = 32 if fixed else divisible(32 * width)
    blocks = stages(_ROWS, stem, width=width, depth=depth, fixed_ends=fixed)
    return InvertedConfig(stem, blocks, 1280 if fixed else max(1280, divisible(1280 * width)), **changes)


def _rules(spec: ModelSpec) -> dict[str, list[Rule]]:
    """torchvision's names, whose blocks count over all stages, timm's and Keras'."""
    if spec.origin == "keras":
        return keras.rules(_keras_layers(spec.config))
    rules = [*normed(r"features\.0\.0", r"features\.0\.1", "stem"), *layer(r"classifier\.1", "head", dense)]
    blocks = numbered(spec.config)
    for number, name, block in blocks:
        *inner, last = block.parts
        source = rf"features\.{number + 1}\.conv\."
        for place, part in enumerate(inner):
            rules += normed(rf"{source}{place}\.0", rf"{source}{place}\.1", f"{name}/{part}")
        rules += normed(f"{source}{len(inner)}", f"{source}{len(inner) + 1}", f"{name}/{last}")
    top = rf"features\.{len(blocks) + 1}\."
    return {"torchvision": [*rules, *normed(f"{top}0", f"{top}1", "top")], "timm": timm_rules(spec.config)}


def _keras_layers(config: InvertedConfig) -> list[keras.Layer]:
    layers = keras.normed("Conv1", "bn_Conv1", "stem")
    for number, ours, block in numbered(config):
        name = f"block_{number}_" if number else "expanded_conv_"
        if block.wide:
            layers += keras.normed(f"{name}expand", f"{name}expand_BN", f"{ours}/expand")
        layers += keras.normed(f"{name}depthwise", f"{name}depthwise_BN", f"{ours}/depthwise", keras.depthwise)
        layers += keras.normed(f"{name}project", f"{name}project_BN", f"{ours}/project")
    return [*layers, *keras.normed("Conv_1", "Conv_1_bn", "top"), keras.weighted("predictions", "head")]


_PLAIN, *_VERSIONS = published(
    ModelSpec(
        name="mobilenet_v2",
        family="mobilenet",
        config=_config(),
        feature_dim=1280,
        last_layer="top",
        params=3_504_872,
    ),
    Weights("mobilenet_v2-b0353104", 71.88),
    Weights("mobilenet_v2-7ebf99e0", 72.15, resize=232),
)


def _timm(**changes: Any) -> ModelSpec:
    config = _config(**changes)
    return replace(_PLAIN, config=config, feature_dim=config.top, params=None)


ARCHITECTURES = {
    **{f"mobilenetv2_{width:03}": _timm(width=width / 100) for width in (35, 50, 75, 100, 140)},
    "mobilenetv2_110d": _timm(width=1.1, depth=1.2, fixed=True),
    "mobilenetv2_120d": _timm(width=1.2, depth=1.4, fixed=True),
}

FAMILY = Family(
    name="mobilenet",
    module=MODULE,
    blocks=block_names(7),
    rules=_rules,
    timm=timm.table(ARCHITECTURES),
    networks=(
        _PLAIN,
        keras.network(
            _PLAIN,
            "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5",
            config=_config(same=True, eps=1e-3),
            top1=71.3,
            licence="Apache-2.0",
            mean=(0.5,) * 3,
            std=(0.5,) * 3,
        ),
    ),
    versions=tuple(_VERSIONS),
)
