"""Vision transformers: Dosovitskiy et al., 2021 (arXiv 2010.11929), at every size of timm's plain ones, and DINOv2.

Any size of image that the patches divide: position embeddings are resampled as timm does. `embed` is what the weights'
makers put a linear probe on: the class token (or, in networks that have none, the mean of the patches) behind the last
layer norm; for DINOv2 both side by side (Oquab et al., 2023, arXiv 2304.07193, appendix B.3, and its `hubconf`).
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from tljax.errors import InputError
from tljax.models import timm
from tljax.models.rules import Rule, conv, dense, layer, layer_norm
from tljax.models.spec import Family, ModelSpec


class ViTConfig(NamedTuple):
    """A vision transformer as data.

    Attributes:
        patch: side in pixels.  grid: patches along a side for which there are position embeddings.
        hidden: channels that the first dense layer of a block makes.
        class_token, registers: tokens in front of the patches; `embed_prefix`: these have positions as well.
        layer_scale, qkv_bias, activation, eps: of the blocks.
        pre_norm: a layer norm in front of the blocks.
        pool: what the original classifier sees: "token", or "avg", the mean of the patches.
        norm_last: the last layer norm comes behind that mean.
        embed: "pool", or "both", the class token and the mean of the patches.
    """

    patch: int
    width: int
    depth: int
    heads: int
    hidden: int
    grid: int = 14
    class_token: bool = True
    registers: int = 0
    embed_prefix: bool = True
    layer_scale: bool = False
    qkv_bias: bool = True
    activation: str = "gelu"
    pre_norm: bool = False
    eps: float = 1e-6
    pool: str = "token"
    norm_last: bool = False
    embed: str = "pool"

    @property
    def prefix(self) -> int:
        """How many tokens come before the patches."""
        return int(self.class_token) + self.registers


_SIZES = {  # width, depth, heads, hidden
    "tiny": (192, 12, 3, 768),
    "xsmall": (256, 10, 4, 1024),
    "small": (384, 12, 6, 1536),
    "medium": (512, 12, 8, 2048),
    "betwixt": (640, 12, 10, 2560),
    "base": (768, 12, 12, 3072),
    "large": (1024, 24, 16, 4096),
    "huge": (1280, 32, 16, 5120),
    "giant": (1408, 40, 16, 6144),
    "gigantic": (1664, 48, 16, 8192),
}


def _sized(form: str, sizes: str, **changes: Any) -> dict[str, ViTConfig]:
    """{timm's name without the size of the image: config}; `sizes` such as "small_16" are filled into `form`."""
    split = [size.split("_") for size in sizes.split()]
    return {form.format(size, patch): ViTConfig(int(patch), *_SIZES[size], **changes) for size, patch in split}


_CLIP = {"pre_norm": True, "eps": 1e-5}
_QUICK = _CLIP | {"activation": "quick_gelu"}
_GAP = {"class_token": False, "pool": "avg"}
_DINO = {"layer_scale": True, "embed": "both"}
_REGISTERS = {"registers": 4, "embed_prefix": False}
_GIANT_DINO = ViTConfig(14, 1536, 40, 24, 8192, activation="swiglu", **_DINO)
_ARCHITECTURES = {
    **_sized("vit_{}_patch{}", "tiny_16 small_32 small_16 small_8 base_32 base_16 base_8 large_32 large_16 large_14"),
    **_sized("vit_{}_patch{}", "huge_14 giant_14 gigantic_14"),
    "vit_base_patch16_miil": ViTConfig(16, *_SIZES["base"], qkv_bias=False),
    "vit_base_patch16_plus": ViTConfig(16, 896, 12, 14, 3584, layer_scale=True),
    **_sized("vit_{}_patch{}_gap", "medium_16 betwixt_16", qkv_bias=False, layer_scale=True, **_GAP),
    **_sized("vit_{}_patch{}_gap", "huge_14 huge_16 giant_16", **_GAP),
    **_sized("deit_{}_patch{}", "tiny_16 small_16 base_16"),
    **_sized("deit3_{}_patch{}", "small_16 medium_16 base_16 large_16 huge_14", embed_prefix=False, layer_scale=True),
    **_sized("vit_{}_patch{}_clip", "xsmall_16 medium_32 medium_16 betwixt_32 base_32 base_16 large_14", **_CLIP),
    **_sized("vit_{}_patch{}_clip", "huge_14 giant_14 gigantic_14", **_CLIP),
    **_sized(
        "vit_{}_patch{}_clip_quickgelu",
        "base_32 base_16 large_14 huge_14 gigantic_14",
        activation="quick_gelu",
        **_CLIP,
    ),
    **_sized("vit_{}_patch{}_dinov2", "small_14 base_14 large_14", **_DINO),
    **_sized("vit_{}_patch{}_reg4_dinov2", "small_14 base_14 large_14", **_DINO, **_REGISTERS),
    "vit_giant_patch14_dinov2": _GIANT_DINO,
    "vit_giant_patch14_reg4_dinov2": _GIANT_DINO._replace(**_REGISTERS),
}


def _rules(spec: ModelSpec) -> dict[str, list[Rule]]:
    """timm's names, which are those of DeiT and DINOv2; the latter's file has the token of masked patches as well."""
    source, target = r"blocks\.(\d+)\.", r"block\1"
    return {
        "timm": [
            *layer(r"patch_embed\.proj", "patches", conv),
            Rule("cls_token", "params/embedding/class_token", _first),
            Rule("reg_token", "params/embedding/registers", _first),
            Rule("pos_embed", "params/embedding/positions", _first),
            Rule("mask_token", None),
            *layer_norm("norm_pre", "pre_norm"),
            *layer_norm(rf"{source}norm(\d)", rf"{target}/norm\2"),
            *layer(rf"{source}attn\.qkv", f"{target}/attention/qkv", dense),
            *layer(rf"{source}attn\.proj", f"{target}/attention/project", dense),
            *layer(rf"{source}mlp\.(?:fc1|w12)", f"{target}/expand", dense),
            *layer(rf"{source}mlp\.(?:fc2|w3)", f"{target}/project", dense),
            Rule(rf"{source}ls(\d)\.gamma", rf"params/{target}/scale\2/scale"),
            *layer_norm("fc_norm" if spec.config.norm_last else "norm", "norm"),
            *layer("head", "head", dense),
        ]
    }


def _first(array: Any) -> Any:
    """What torch keeps for a batch of one."""
    return array[0]


def _spec(name: str, config: ViTConfig, *, input_size: int = 224, **more: Any) -> ModelSpec:
    """A network for images of `input_size`; `more` of its specification."""
    patches_count = config.embed == "both" or config.pool == "avg"
    return ModelSpec(
        **{"params": None, "crop_pct": 0.9, "interpolation": "bicubic", "mean": (0.5,) * 3, "std": (0.5,) * 3} | more,
        name=name,
        family="vit",
        config=config._replace(grid=input_size // config.patch),
        input_size=input_size,
        feature_dim=config.width * (2 if config.embed == "both" else 1),
        # Where only the class token counts, the last block's patches do not: nothing looks at them any more.
        last_layer=f"block{config.depth - (1 if patches_count else 2)}",
    )


def _of_timm(name: str, arguments: Mapping[str, Any]) -> ModelSpec | None:
    """timm's name says the size of the image at its end, or in front of `_miil`."""
    config = _ARCHITECTURES.get(re.sub(r"_\d{3}(?=$|_miil$)", "", name))
    if config is None:
        return None
    size, pool = arguments["img_size"], arguments.get("global_pool") or config.pool
    if size % config.patch:
        raise InputError(f'"input_size" {size} is not divided by patches of {config.patch}')
    if pool not in ("token", "avg") or (pool == "token" and not config.class_token):
        raise InputError(f'"model_args": global_pool = {pool!r} is not supported')
    last = arguments.get("fc_norm")
    last = (pool == "avg" and pool != config.pool) if last is None else bool(last)
    timm.only(arguments, {"global_pool": pool, "fc_norm": arguments.get("fc_norm"), "class_token": config.class_token})
    return _spec(name, config._replace(pool=pool, norm_last=last), input_size=size)


def _dinov2(size: str, params: int, registers: bool = False) -> ModelSpec:
    """Self-supervised on LVD-142M; there is no classifier. Without registers its makers' own file is read as well."""
    name = f"dinov2_vit{size[0]}14" + "_reg" * registers
    theirs = f"vit_{size}_patch14{'_reg4' * registers}_dinov2"
    own = f"https://dl.fbaipublicfiles.com/dinov2/{name}/{name}_pretrain.pth"
    return _spec(
        name,
        _ARCHITECTURES[theirs],
        input_size=518,
        params=params,
        licence="Apache-2.0",
        sources=(f"hub:timm/{theirs}.lvd142m", *([] if registers else [own])),
        classes=(),
        crop_pct=1.0,
        mean=ModelSpec.mean,
        std=ModelSpec.std,
    )


def _augreg(size: str, params: int, top1: float) -> ModelSpec:
    """Steiner et al., 2021 (arXiv 2106.10270): ImageNet-21k, then ImageNet; top-1 as in timm's list of results."""
    name = f"vit_{size}_patch16"
    source = f"hub:timm/{name}_224.augreg_in21k_ft_in1k"
    return _spec(name, _ARCHITECTURES[name], params=params, top1=top1, licence="Apache-2.0", sources=(source,))


def _blocks(spec: ModelSpec) -> tuple[str, ...]:
    return ("patches|embedding|pre_norm", *(f"block{n}" for n in range(spec.config.depth - 1)), _last(spec))


def _last(spec: ModelSpec) -> str:
    return f"block{spec.config.depth - 1}|norm"


FAMILY = Family(
    name="vit",
    module="tljax.models.modules.vit:ViT",
    blocks=_blocks,
    rules=_rules,
    timm=_of_timm,
    networks=(
        _augreg("tiny", 5_717_416, 75.46),
        _augreg("small", 22_050_664, 81.38),
        _augreg("base", 86_567_656, 84.53),
        *(_dinov2(size, n) for size, n in (("small", 22_056_192), ("base", 86_579_712), ("large", 304_367_616))),
        _dinov2("giant", 1_136_479_232),
        *(_dinov2(size, n, True) for size, n in (("small", 22_057_344), ("base", 86_582_016), ("large", 304_370_688))),
        _dinov2("giant", 1_136_483_840, True),
    ),
)
