"""ConvNeXt: Liu et al., 2022 (arXiv 2201.03545), and V2: Woo et al., 2023 (arXiv 2301.00808), at every size of timm's.

The small sizes (atto to nano) and the overlapping stems (`_ols`) are timm's own. The plain names are torchvision's
weights; DINOv3's distilled networks (`timm/convnext_tiny.dinov3_lvd1689m`) are the same modules without a classifier.
"""

from typing import Any, NamedTuple

from tljax.models import timm
from tljax.models.rules import Rule, conv, dense, layer, layer_norm, pointwise, vector
from tljax.models.spec import Family, ModelSpec, torchvision_url


class ConvNeXtConfig(NamedTuple):
    """A ConvNeXt as data.

    Attributes:
        depths, widths: blocks and channels of the four stages.
        response_norm, layer_scale: in each block; V2 has the first, V1 the second.
        stem: channels between the two convolutions of an overlapping stem; 0: one 4x4 convolution.
        norm_first: the last layer norm comes before the average over space, not after it.
        hidden: width of a layer in front of the classifier; 0: none.
        kernels: of the depthwise convolutions, for each stage.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    response_norm: bool = False
    layer_scale: bool = True
    stem: int = 0
    norm_first: bool = False
    hidden: int = 0
    eps: float = 1e-6
    kernels: tuple[int, ...] = (7, 7, 7, 7)


_SIZES = {
    "atto": ((2, 2, 6, 2), 40),
    "femto": ((2, 2, 6, 2), 48),
    "pico": ((2, 2, 6, 2), 64),
    "nano": ((2, 2, 8, 2), 80),
    "tiny": ((3, 3, 9, 3), 96),
    "small": ((3, 3, 27, 3), 96),
    "base": ((3, 3, 27, 3), 128),
    "large": ((3, 3, 27, 3), 192),
    "xlarge": ((3, 3, 27, 3), 256),
    "huge": ((3, 3, 27, 3), 352),
    "xxlarge": ((3, 4, 30, 3), 384),
}
_V2 = {"response_norm": True, "layer_scale": False}


def _config(size: str, **changes: Any) -> ConvNeXtConfig:
    depths, width = _SIZES[size]
    return ConvNeXtConfig(depths, tuple(width * 2**stage for stage in range(4)), **changes)


_ARCHITECTURES = {
    **{f"convnext_{size}": _config(size) for size in _SIZES if size not in ("huge", "xxlarge")},
    "convnext_xxlarge": _config("xxlarge", eps=1e-5),
    "convnext_large_mlp": _config("large", hidden=1536),
    "convnext_tiny_hnf": _config("tiny", norm_first=True),
    "convnext_atto_ols": _config("atto", stem=24),
    "convnext_femto_ols": _config("femto", stem=24),
    "convnext_pico_ols": _config("pico", stem=32),
    "convnext_nano_ols": _config("nano", stem=80),
    **{f"convnextv2_{size}": _config(size, **_V2) for size in _SIZES if size not in ("xlarge", "xxlarge")},
}


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
    config = _ARCHITECTURES[architecture]
    return ModelSpec(
        **{"name": architecture, "params": None, "interpolation": "bicubic"} | more,
        family="convnext",
        config=config,
        feature_dim=config.widths[-1],
        last_layer=f"stage4_block{config.depths[-1] - 1}",
    )


def _torchvision(size: str, resized: int, params: int, top1: float, digest: str) -> ModelSpec:
    name = f"convnext_{size}"
    return _spec(
        name,
        params=params,
        top1=top1,
        licence="BSD-3-Clause",
        sources=(torchvision_url(name, digest),),
        crop_pct=224 / (resized + 0.5),
        interpolation="bilinear",
    )


def _v2(size: str, params: int, top1: float) -> ModelSpec:
    """Pretrained by its authors as a masked autoencoder, then on ImageNet-22k and ImageNet; for no commercial use."""
    name = f"convnextv2_{size}"
    return _spec(
        name, params=params, top1=top1, licence="CC-BY-NC-4.0", sources=(f"hub:timm/{name}.fcmae_ft_in22k_in1k",)
    )


FAMILY = Family(
    name="convnext",
    module="tljax.models.modules.convnext:ConvNeXt",
    blocks=("stem_.*", *(rf"stage{n}_.*" for n in range(1, 4)), "stage4_.*|norm"),
    head=("head", "pre_logits"),
    min_input_size=32,
    rules=_rules,
    timm=timm.table({name: _spec(name) for name in _ARCHITECTURES}),
    networks=(
        _torchvision("tiny", 236, 28_589_128, 82.52, "983f1562"),
        _torchvision("small", 230, 50_223_688, 83.616, "0c510722"),
        _torchvision("base", 232, 88_591_464, 84.062, "6075fbad"),
        _torchvision("large", 232, 197_767_336, 84.414, "ea097f82"),
        _v2("nano", 15_623_800, 82.03),
        _v2("tiny", 28_635_496, 83.894),
        _v2("base", 88_717_800, 86.74),
    ),
)
