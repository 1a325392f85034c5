"""EfficientNetV2: Tan and Le, 2021 (arXiv 2104.00298), with torchvision's weights.

Its first three stages have one dense convolution in the place of expansion and depthwise filters. timm's own and those
born in TensorFlow (`tf_`, with SAME padding) are the same blocks.
"""

from dataclasses import replace
from typing import Any

from tljax.models import timm
from tljax.models.efficientnet import gated, rules, scaled
from tljax.models.inverted import MODULE, InvertedConfig, Row, block_names
from tljax.models.spec import Family, ModelSpec
from tljax.models.torchvision import Weights, published


def _fused(expand: int, features: int, repeats: int, stride: int) -> tuple[Row]:
    return (Row(expand, features, repeats, stride, 3, False, "swish", True),)


_S = (
    _fused(0, 24, 2, 1),
    _fused(4, 48, 4, 2),
    _fused(4, 64, 4, 2),
    gated(4, 128, 6, 2),
    gated(6, 160, 9, 1),
    gated(6, 256, 15, 2),
)
_M = (
    _fused(0, 24, 3, 1),
    _fused(4, 48, 5, 2),
    _fused(4, 80, 5, 2),
    gated(4, 160, 7, 2),
    gated(6, 176, 14, 1),
    gated(6, 304, 18, 2),
    gated(6, 512, 5, 1),
)
_L = (
    _fused(0, 32, 4, 1),
    _fused(4, 64, 7, 2),
    _fused(4, 96, 7, 2),
    gated(4, 192, 10, 2),
    gated(6, 224, 19, 1),
    gated(6, 384, 25, 2),
    gated(6, 640, 7, 1),
)
_XL = (
    _fused(0, 32, 4, 1),
    _fused(4, 64, 8, 2),
    _fused(4, 96, 8, 2),
    gated(4, 192, 16, 2),
    gated(6, 256, 24, 1),
    gated(6, 512, 32, 2),
    gated(6, 640, 8, 1),
)
_BASE = (
    _fused(0, 16, 1, 1),
    _fused(4, 32, 2, 2),
    _fused(4, 48, 2, 2),
    gated(4, 96, 3, 2),
    gated(6, 112, 5, 1),
    gated(6, 192, 8, 2),
)
_RW = (_fused(1, 24, 2, 1), *_S[1:-1], gated(6, 272, 15, 2))  # timm's, after a figure of the paper
_SIZES = {"s": (_S, 24, 0.2), "m": (_M, 24, 0.3), "l": (_L, 32, 0.4), "xl": (_XL, 32, 0.4)}


def _config(size: str, **changes: Any) -> InvertedConfig:
    rows, stem, dropout = _SIZES[size]
    return scaled(rows, stem, 1.0, 1.0, dropout=dropout, **changes)


def _network(size: str, params: int, weights: Weights) -> tuple[ModelSpec, ...]:
    config = _config(size, eps=1e-3)
    plain = ModelSpec(f"efficientnet_v2_{size}", "efficientnet_v2", config, config.top, "top", params)
    return published(plain, weights)


_HALVES = (("mean", (0.5,) * 3), ("std", (0.5,) * 3))
_PUBLISHED = (
    _network("s", 21_458_488, Weights("efficientnet_v2_s-dd5fe13b", 84.23, 384, 384)),
    _network("m", 54_139_356, Weights("efficientnet_v2_m-dc08266a", 85.11, 480, 480)),
    _network("l", 118_515_272, Weights("efficientnet_v2_l-59c71312", 85.81, 480, 480, "bicubic", _HALVES)),
)

_TF: dict[str, Any] = {"same": True, "eps": 1e-3}
_CONFIGS = {
    **{f"efficientnetv2_{size}": _config(size) for size in _SIZES},
    **{f"tf_efficientnetv2_{size}": _config(size, **_TF) for size in _SIZES},
    "tf_efficientnetv2_b0": scaled(_BASE, 32, 1.0, 1.0, least=0.0, **_TF),
    "tf_efficientnetv2_b1": scaled(_BASE, 32, 1.0, 1.1, least=0.0, **_TF),
    "tf_efficientnetv2_b2": scaled(_BASE, 32, 1.1, 1.2, least=0.0, **_TF),
    "tf_efficientnetv2_b3": scaled(_BASE, 32, 1.2, 1.4, least=0.0, **_TF),
    "efficientnetv2_rw_t": scaled(_S, 24, 0.8, 0.9),
    "efficientnetv2_rw_s": scaled(_RW, 24, 1.0, 1.0, top=1792),
    "efficientnetv2_rw_m": scaled(_RW, 24, 1.2, (1.2, 1.2, 1.2, 1.2, 1.6, 1.6), top=1792),
}
ARCHITECTURES = {
    name: replace(_PUBLISHED[0][0], config=config, feature_dim=config.top, params=None)
    for name, config in _CONFIGS.items()
}

FAMILY = Family(
    name="efficientnet_v2",
    module=MODULE,
    blocks=(*block_names(5)[:-1], r"stage[67]_block\d+", "top"),
    rules=rules,
    timm=timm.table(ARCHITECTURES),
    networks=tuple(versions[0] for versions in _PUBLISHED),
    versions=tuple(spec for versions in _PUBLISHED for spec in versions[1:]),
)
