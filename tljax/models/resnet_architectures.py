"""ResNets as data, by the names of torchvision and timm.

Sources: He et al., 2015 (arXiv 1512.03385); ResNeXt: Xie et al., 2016 (1611.05431); Wide ResNet: Zagoruyko and
Komodakis, 2016 (1605.07146); the forms c, d and s: He et al., 2018 (1812.01187); SE: Hu et al., 2017 (1709.01507).
"""

import re
from typing import Any, NamedTuple


class ResNetConfig(NamedTuple):
    """A ResNet as data: "basic" or "bottleneck" blocks, and how many of them in each stage.

    Keras kept the form of 2015: the stride of a bottleneck on its first 1x1 convolution (`stride_first`) instead of the
    3x3, a `bias` before each batch norm, and an `eps` of its own.

    Attributes:
        groups, base_width: of a bottleneck's 3x3 convolution; the width of each group in the first stage.
        stem: the widths of three 3x3 convolutions in the place of one of 7x7.
        pooled: a shortcut averages two by two instead of leaving pixels out.
        gated: squeeze-and-excitation at the end of each block.
    """

    block: str
    repeats: tuple[int, ...]
    stride_first: bool = False
    bias: bool = False
    eps: float = 1e-5
    groups: int = 1
    base_width: int = 64
    stem: tuple[int, ...] = ()
    pooled: bool = False
    gated: bool = False


_REPEATS = {
    10: (1, 1, 1, 1),
    14: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    26: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
    269: (3, 30, 48, 8),
}
_FORMS: dict[str, dict[str, Any]] = {
    "": {},
    "c": {"stem": (32, 32, 64)},
    "d": {"stem": (32, 32, 64), "pooled": True},
    "s": {"stem": (64, 64, 128)},
    "t": {"stem": (24, 32, 64), "pooled": True},
}


def _named(name: str) -> ResNetConfig:
    """What a name of torchvision's or timm's says: "seresnext101d_32x8d", "wide_resnet50_2"."""
    pattern = r"(wide_|se|)(?:resnet|resnext)(\d+)([cdst]?)(?:_(\d+)x(\d+)d|_2)?"
    ((kind, depth, form, groups, width),) = re.findall(pattern, name)
    block = "basic" if int(depth) in (10, 18, 34) else "bottleneck"
    plain = 128 if kind == "wide_" else 64
    return ResNetConfig(
        block,
        _REPEATS[int(depth)],
        groups=int(groups or 1),
        base_width=int(width or plain),
        gated=kind == "se",
        **_FORMS[form],
    )


ARCHITECTURES = {
    name: _named(name)
    for name in (
        *("resnet10t", "resnet14t", "resnet18", "resnet18d", "resnet26", "resnet26d", "resnet26t", "resnet34"),
        *("resnet34d", "resnet50", "resnet50c", "resnet50d", "resnet50s", "resnet50t", "resnet101", "resnet101c"),
        *("resnet101d", "resnet101s", "resnet152", "resnet152c", "resnet152d", "resnet152s", "resnet200", "resnet200d"),
        *("resnext50_32x4d", "resnext50d_32x4d", "resnext101_32x4d", "resnext101_32x8d", "resnext101_32x16d"),
        *("resnext101_32x32d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2"),
        *("seresnet18", "seresnet34", "seresnet50", "seresnet50t", "seresnet101", "seresnet152", "seresnet152d"),
        *("seresnet200d", "seresnet269d", "seresnext26d_32x4d", "seresnext26t_32x4d", "seresnext50_32x4d"),
        *("seresnext101_32x4d", "seresnext101_32x8d", "seresnext101d_32x8d", "seresnext101_64x4d"),
    )
}
"""Those of torchvision and timm; a ResNet of timm's that is not here has other layers as well."""
