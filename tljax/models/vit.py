"""Vision transformers by timm's names, and DINOv2 by its makers'.

Any size of image that the patches divide: position embeddings are resampled as timm does. `embed` is what the weights'
makers put a linear probe on: the class token (or, in networks that have none, the mean of the patches) behind the last
layer norm; for DINOv2 both side by side (Oquab et al., 2023, arXiv 2304.07193, appendix B.3, and its `hubconf`).
"""

import re
from collections.abc import Mapping
from typing import Any

from tljax.errors import InputError
from tljax.models import timm
from tljax.models.rules import Rule, conv, dense, layer, layer_norm
from tljax.models.spec import Family, ModelSpec
from tljax.models.vit_architectures import ARCHITECTURES, ViTConfig


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
    config = ARCHITECTURES.get(re.sub(r"_\d{3}(?=$|_miil$)", "", name))
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
        ARCHITECTURES[theirs],
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
    return _spec(name, ARCHITECTURES[name], params=params, top1=top1, licence="Apache-2.0", sources=(source,))


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
