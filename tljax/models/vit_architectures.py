"""Vision transformers as data: Dosovitskiy et al., 2021 (arXiv 2010.11929), and timm's architectures of this form."""

from typing import Any, NamedTuple


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
ARCHITECTURES = {
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
