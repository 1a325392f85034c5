"""ConvNeXt and V2 by timm's names; the plain names are torchvision's weights.

DINOv3's distilled networks (`timm/convnext_tiny.dinov3_lvd1689m`) are the same modules without a classifier.
"""

from typing import Any

from tljax.models import timm
from tljax.models.convnext_architectures import ARCHITECTURES, ConvNeXtConfig
from tljax.models.rules import Rule, conv, dense, layer, layer_norm, pointwise, vector
from tljax.models.spec import Family, ModelSpec
from tljax.models.torchvision import Weights, published


def _timm_rules(config: ConvNeXtConfig) -> list[Rule]:
    """timm's names: stages count from 0; its small networks have 1x1 convolutions for dense layers."""
    rules = [
        *layer(r"stem\.0", "stem_conv1" if config.stem else "stem_conv", conv),
        *layer_norm(r"stem\.2" if config.stem else r"stem\.1", "stem_norm"),
        *layer_norm(r"(?:head\.norm|norm_pre)", "norm"),
        *layer(r"head\.pre_logits\.fc", "pre_logits", dense),
        *layer(r"head\.fc", "head", dense),
    ]
    rules += layer(r"stem\.1", "stem_conv2", conv) if config.stem else []
    for stage in range(4):
        source, target = rf"stages\.{stage}\.blocks\.(\d+)\.", rf"stage{stage + 1}_block\1"
        rules += [
            *layer_norm(rf"stages\.{stage}\.downsample\.0", f"stage{stage + 1}_norm"),
            *layer(rf"stages\.{stage}\.downsample\.1", f"stage{stage + 1}_downsample", conv),
            *layer(f"{source}conv_dw", f"{target}/depthwise", conv),
            *layer_norm(f"{source}norm", f"{target}/norm1"),
            *layer(rf"{source}mlp\.fc1", f"{target}/expand", pointwise),
            *layer_norm(rf"{source}mlp\.grn", f"{target}/response_norm"),
            *layer(rf"{source}mlp\.fc2", f"{target}/project", pointwise),
            Rule(f"{source}gamma", f"params/{target}/layer_scale/scale"),
        ]
    return rules


def _torchvision_rules() -> list[Rule]:
    """torchvision's names: what lies between stages is counted with them."""
    rules = [
        *layer(r"features\.0\.0", "stem_conv", conv),
        *layer_norm(r"features\.0\.1", "stem_norm"),
        *layer_norm(r"classifier\.0", "norm"),
        *layer(r"classifier\.2", "head", dense),
    ]
    for stage in range(1, 5):
        before, source = rf"features\.{2 * stage - 2}\.", rf"features\.{2 * stage - 1}\.(\d+)\."
        target = rf"stage{stage}_block\1"
        rules += [
            *layer_norm(f"{before}0", f"stage{stage}_norm"),
            *layer(f"{before}1", f"stage{stage}_downsample", conv),
            *layer(rf"{source}block\.0", f"{target}/depthwise", conv),
            *layer_norm(rf"{source}block\.2", f"{target}/norm1"),
            *layer(rf"{source}block\.3", f"{target}/expand", dense),
            *layer(rf"{source}block\.5", f"{target}/project", dense),
            Rule(f"{source}layer_scale", f"params/{target}/layer_scale/scale", vector),
        ]
    return rules


def _rules(spec: ModelSpec) -> dict[str, list[Rule]]:
    return {"timm": _timm_rules(spec.config), "torchvision": _torchvision_rules()}


def _spec(architecture: str, **more: Any) -> ModelSpec:
    """An architecture of timm's."""
    config = ARCHITECTURES[architecture]
    return ModelSpec(
        **{"name": architecture, "params": None, "interpolation": "bicubic"} | more,
        family="convnext",
        config=config,
        feature_dim=config.widths[-1],
        last_layer=f"stage4_block{config.depths[-1] - 1}",
    )


def _torchvision(size: str, resized: int, params: int, top1: float, digest: str) -> tuple[ModelSpec, ...]:
    name = f"convnext_{size}"
    return published(_spec(name, params=params), Weights(f"{name}-{digest}", top1, resize=resized))


def _v2(size: str, params: int, top1: float) -> ModelSpec:
    """Pretrained by its authors as a masked autoencoder, then on ImageNet-22k and ImageNet; for no commercial use."""
    name = f"convnextv2_{size}"
    return _spec(
        name, params=params, top1=top1, licence="CC-BY-NC-4.0", sources=(f"hub:timm/{name}.fcmae_ft_in22k_in1k",)
    )


_PUBLISHED = (
    _torchvision("tiny", 236, 28_589_128, 82.52, "983f1562"),
    _torchvision("small", 230, 50_223_688, 83.616, "0c510722"),
    _torchvision("base", 232, 88_591_464, 84.062, "6075fbad"),
    _torchvision("large", 232, 197_767_336, 84.414, "ea097f82"),
)

FAMILY = Family(
    name="convnext",
    module="tljax.models.modules.convnext:ConvNeXt",
    blocks=("stem_.*", *(rf"stage{n}_.*" for n in range(1, 4)), "stage4_.*|norm"),
    head=("head", "pre_logits"),
    min_input_size=32,
    rules=_rules,
    timm=timm.table({name: _spec(name) for name in ARCHITECTURES}),
    networks=(
        *(versions[0] for versions in _PUBLISHED),
        _v2("nano", 15_623_800, 82.03),
        _v2("tiny", 28_635_496, 83.894),
        _v2("base", 88_717_800, 86.74),
    ),
    versions=tuple(spec for versions in _PUBLISHED for spec in versions[1:]),
)
