"""MobileNetV3: Howard et al., 2019 (arXiv 1905.02244), with torchvision's weights; and timm's other widths."""

from dataclasses import replace
from typing import Any

from tljax.models import timm
from tljax.models.inverted import (
    MODULE,
    InvertedConfig,
    Row,
    block_names,
    divisible,
    numbered,
    stages,
    timm_rules,
    torchvision_block,
)
from tljax.models.rules import Rule, dense, layer, normed
from tljax.models.spec import Family, ModelSpec
from tljax.models.torchvision import Weights, published

_LARGE = (
    (Row(0, 16, 1, 1, 3, False, "relu"),),
    (Row(4, 24, 1, 2, 3, False, "relu"), Row(3, 24, 1, 1, 3, False, "relu")),
    (Row(3, 40, 3, 2, 5, True, "relu"),),
    (
        Row(6, 80, 1, 2, 3, False, "hard_swish"),
        Row(2.5, 80, 1, 1, 3, False, "hard_swish"),
        Row(2.3, 80, 2, 1, 3, False, "hard_swish"),
    ),
    (Row(6, 112, 2, 1, 3, True, "hard_swish"),),
    (Row(6, 160, 3, 2, 5, True, "hard_swish"),),
)
_SMALL = (
    (Row(0, 16, 1, 2, 3, True, "relu"),),
    (Row(4.5, 24, 1, 2, 3, False, "relu"), Row(3.67, 24, 1, 1, 3, False, "relu")),
    (Row(4, 40, 1, 2, 5, True, "hard_swish"), Row(6, 40, 2, 1, 5, True, "hard_swish")),
    (Row(3, 48, 2, 1, 5, True, "hard_swish"),),
    (Row(6, 96, 3, 2, 5, True, "hard_swish"),),
)
_SIZES = {"large": (_LARGE, 960, 1280), "small": (_SMALL, 576, 1024)}


def _config(size: str, width: float = 1.0, minimal: bool = False, eps: float = 1e-3, **changes: Any) -> InvertedConfig:
    """`minimal`: ReLU, 3x3 filters and no gates everywhere."""
    rows, top, hidden = _SIZES[size]
    activation = "relu" if minimal else "hard_swish"
    if minimal:
        rows = tuple(tuple(row._replace(kernel=3, gated=False, activation="relu") for row in stage) for stage in rows)
    stem = 16 if width < 0.75 else divisible(16 * width)
    blocks = stages(rows, stem, width=width, squeeze_wide=True)
    gates = {"gate": "hard_sigmoid", "gate_activation": "relu"}
    return InvertedConfig(stem, blocks, divisible(top * width), hidden, activation, **gates, eps=eps, **changes)


def _rules(spec: ModelSpec) -> dict[str, list[Rule]]:
    """torchvision's names, whose blocks count over all stages, and timm's."""
    rules = [*normed(r"features\.0\.0", r"features\.0\.1", "stem")]
    blocks = numbered(spec.config)
    for number, name, block in blocks:
        rules += torchvision_block(rf"features\.{number + 1}\.block\.", name, block)
    top = rf"features\.{len(blocks) + 1}\."
    rules += normed(f"{top}0", f"{top}1", "top")
    rules += [*layer(r"classifier\.0", "hidden", dense), *layer(r"classifier\.3", "head", dense)]
    return {"torchvision": rules, "timm": timm_rules(spec.config)}


def _plain(size: str, params: int) -> ModelSpec:
    return ModelSpec(
        name=f"mobilenet_v3_{size}",
        family="mobilenet_v3",
        config=_config(size),
        feature_dim=_SIZES[size][1],
        last_layer="top",
        params=params,
    )


_LARGES = published(
    _plain("large", 5_483_032),
    Weights("mobilenet_v3_large-8738ca79", 74.04),
    Weights("mobilenet_v3_large-5c1a4163", 75.27, resize=232),
)
_SMALLS = published(_plain("small", 2_542_856), Weights("mobilenet_v3_small-047dcff4", 67.67))


def _timm(size: str, width: float = 1.0, **changes: Any) -> ModelSpec:
    config = _config(size, width, **changes)
    return replace(_LARGES[0], config=config, feature_dim=config.top, params=None)


ARCHITECTURES = {
    **{f"mobilenetv3_large_{width:03}": _timm("large", width / 100, eps=1e-5) for width in (75, 100)},
    **{f"mobilenetv3_small_{width:03}": _timm("small", width / 100, eps=1e-5) for width in (50, 75, 100)},
    "mobilenetv3_rw": _timm("large"),
    **{f"tf_mobilenetv3_{size}_{w:03}": _timm(size, w / 100, same=True) for size in _SIZES for w in (75, 100)},
    **{f"tf_mobilenetv3_{size}_minimal_100": _timm(size, minimal=True, same=True) for size in _SIZES},
}

FAMILY = Family(
    name="mobilenet_v3",
    module=MODULE,
    blocks=(*block_names(4)[:-1], r"stage[56]_block\d+", "top"),
    head=("head", "hidden"),
    rules=_rules,
    timm=timm.table(ARCHITECTURES),
    networks=(_LARGES[0], _SMALLS[0]),
    versions=(*_LARGES[1:], *_SMALLS[1:]),
)
