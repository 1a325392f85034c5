"""ConvNeXt as data: Liu et al., 2022 (arXiv 2201.03545), V2: Woo et al., 2023 (arXiv 2301.00808), and timm's sizes.

The small sizes (atto to nano) and the overlapping stems (`_ols`) are timm's own.
"""

from typing import Any, NamedTuple


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


ARCHITECTURES = {
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
