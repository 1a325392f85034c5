"""EfficientNet: Tan and Le, 2019 (arXiv 1905.11946), with torchvision's weights.

timm's own and those born in TensorFlow (`tf_`, with SAME padding) are the same blocks.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tljax.models import timm
from tljax.models.inverted import (
    MODULE,
    InvertedConfig,
    Row,
    block_names,
    divisible,
    stages,
    timm_rules,
    torchvision_block,
)
from tljax.models.rules import Rule, dense, layer, normed
from tljax.models.spec import Family, ModelSpec
from tljax.models.torchvision import Weights, published


def gated(expand: int, features: int, repeats: int, stride: int, kernel: int = 3) -> tuple[Row]:
    """A stage of blocks with a gate and swish."""
    return (Row(expand, features, repeats, stride, kernel, True, "swish"),)


_ROWS = (
    gated(0, 16, 1, 1),
    gated(6, 24, 2, 2),
    gated(6, 40, 2, 2, 5),
    gated(6, 80, 3, 2),
    gated(6, 112, 3, 1, 5),
    gated(6, 192, 4, 2, 5),
    gated(6, 320, 1, 1),
)
_SCALES = {  # width, depth, dropout
    "b0": (1.0, 1.0, 0.2),
    "b1": (1.0, 1.1, 0.2),
    "b2": (1.1, 1.2, 0.3),
    "b3": (1.2, 1.4, 0.3),
    "b4": (1.4, 1.8, 0.4),
    "b5": (1.6, 2.2, 0.4),
    "b6": (1.8, 2.6, 0.5),
    "b7": (2.0, 3.1, 0.5),
    "b8": (2.2, 3.6, 0.5),
    "l2": (4.3, 5.3, 0.5),
}


def scaled(
    rows: Sequence[Sequence[Row]],
    stem: int,
    width: float,
    depth: float | Sequence[float],
    *,
    top: int = 1280,
    least: float = 0.9,
    **rest: Any,
) -> InvertedConfig:
    """A network whose stem, stages and top are `width` times as wide, and whose stages are `depth` times as deep."""
    stem = divisible(stem * width, least=least)
    blocks = stages(rows, stem, width=width, depth=depth, least=least)
    return InvertedConfig(stem, blocks, divisible(top * width, least=least), activation="swish", **rest)


def _config(size: str, **changes: Any) -> InvertedConfig:
    width, depth, dropout = _SCALES[size]
    return scaled(_ROWS, 32, width, depth, dropout=dropout, **changes)


def rules(spec: ModelSpec) -> dict[str, list[Rule]]:
    """torchvision's names, whose stages count from 1, and timm's."""
    found = [*normed(r"features\.0\.0", r"features\.0\.1", "stem"), *layer(r"classifier\.1", "head", dense)]
    for s, stage in enumerate(spec.config.stages, start=1):
        for b, block in enumerate(stage):
            found += torchvision_block(rf"features\.{s}\.{b}\.block\.", f"stage{s}_block{b}", block)
    top = rf"features\.{len(spec.config.stages) + 1}\."
    return {"torchvision": [*found, *normed(f"{top}0", f"{top}1", "top")], "timm": timm_rules(spec.config)}


def _network(number: int, params: int, *versions: Weights) -> tuple[ModelSpec, ...]:
    config = _config(f"b{number}", eps=1e-3 if number > 4 else 1e-5)
    return published(ModelSpec(f"efficientnet_b{number}", "efficientnet", config, config.top, "top", params), *versions)


def _bicubic(file: str, top1: float, size: int, resize: int) -> Weights:
    return Weights(f"efficientnet_{file}", top1, size, resize, "bicubic")


_PUBLISHED = (
    _network(0, 5_288_548, _bicubic("b0_rwightman-7f5810bc", 77.69, 224, 256)),
    _network(
        *(1, 7_794_184, _bicubic("b1_rwightman-bac287d4", 78.64, 240, 256)),
        Weights("efficientnet_b1-c27df63c", 79.84, 240, 255),
    ),
    _network(2, 9_109_994, _bicubic("b2_rwightman-c35c1473", 80.61, 288, 288)),
    _network(3, 12_233_232, _bicubic("b3_rwightman-b3899882", 82.01, 300, 320)),
    _network(4, 19_341_616, _bicubic("b4_rwightman-23ab8bcd", 83.38, 380, 384)),
    _network(5, 30_389_784, _bicubic("b5_lukemelas-1a07897c", 83.44, 456, 456)),
    _network(6, 43_040_704, _bicubic("b6_lukemelas-24a108a5", 84.01, 528, 528)),
    _network(7, 66_347_960, _bicubic("b7_lukemelas-c5b4e57e", 84.12, 600, 600)),
)


def _timm(size: str, **changes: Any) -> ModelSpec:
    config = _config(size, **changes)
    return replace(_PUBLISHED[0][0], config=config, feature_dim=config.top, params=None)


ARCHITECTURES = {
    **{f"efficientnet_{size}": _timm(size) for size in _SCALES},
    **{f"tf_efficientnet_{size}": _timm(size, same=True, eps=1e-3) for size in _SCALES},
}

FAMILY = Family(
    name="efficientnet",
    module=MODULE,
    blocks=block_names(7),
    rules=rules,
    timm=timm.table(ARCHITECTURES),
    networks=tuple(versions[0] for versions in _PUBLISHED),
    versions=tuple(spec for versions in _PUBLISHED for spec in versions[1:]),
)
