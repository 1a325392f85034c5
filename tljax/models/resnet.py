"""ResNet-18 to ResNet-152: He et al., 2015 (arXiv 1512.03385), in torchvision's form "v1.5" and Keras' of 2015."""

from dataclasses import replace
from typing import NamedTuple

from tljax.models import keras
from tljax.models.rules import Rule, dense, layer, normed
from tljax.models.spec import Family, ModelSpec, torchvision_url


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


def _rules(spec: ModelSpec) -> dict[str, list[Rule]]:
    """torchvision's names, which timm kept, and Keras'."""
    if spec.origin == "keras":
        return keras.rules(_keras_layers(spec.config))
    block, ours = r"layer(\d)\.(\d+)\.", r"stage\1_block\2/"
    return {
        "torchvision": [
            *normed("conv1", "bn1", "stem"),
            *normed(rf"{block}conv(\d)", rf"{block}bn(\d)", rf"{ours}conv\3"),
            *normed(rf"{block}downsample\.0", rf"{block}downsample\.1", f"{ours}shortcut"),
            *layer("fc", "head", dense),
        ]
    }


def _keras_layers(config: ResNetConfig) -> list[keras.Layer]:
    """Keras sorts layers by their distance from the output, so a shortcut stands beside the third convolution."""
    layers = keras.normed("conv1_conv", "conv1_bn", "stem")
    for stage, blocks in enumerate(config.repeats, start=1):
        for block in range(blocks):
            name, ours = f"conv{stage + 1}_block{block + 1}", f"stage{stage}_block{block}"
            layers += keras.normed(f"{name}_1_conv", f"{name}_1_bn", f"{ours}/conv1")
            layers += keras.normed(f"{name}_2_conv", f"{name}_2_bn", f"{ours}/conv2")
            last = keras.normed(f"{name}_3_conv", f"{name}_3_bn", f"{ours}/conv3")
            shortcut = keras.normed(f"{name}_0_conv", f"{name}_0_bn", f"{ours}/shortcut")
            layers += last if block else [layer for pair in zip(shortcut, last, strict=True) for layer in pair]
    return [*layers, keras.weighted("predictions", "head")]


def _network(depth: int, block: str, repeats: tuple[int, ...], params: int, top1: float, digest: str) -> ModelSpec:
    name = f"resnet{depth}"
    return ModelSpec(
        name=name,
        family="resnet",
        config=ResNetConfig(block, repeats),
        feature_dim=512 if block == "basic" else 2048,
        last_layer=f"stage4_block{repeats[-1] - 1}",
        params=params,
        top1=top1,
        licence="BSD-3-Clause",
        sources=(f"hub:timm/{name}.tv_in1k", torchvision_url(name, digest)),
    )


_RESNET50 = _network(50, "bottleneck", (3, 4, 6, 3), 25_557_032, 76.16, "0676ba61")

FAMILY = Family(
    name="resnet",
    module="tljax.models.modules.resnet:ResNet",
    blocks=("stem", *(rf"stage{n}_block\d+" for n in range(1, 5))),
    rules=_rules,
    networks=(
        _network(18, "basic", (2, 2, 2, 2), 11_689_512, 69.75, "f37072fd"),
        _network(34, "basic", (3, 4, 6, 3), 21_797_672, 73.30, "b627a593"),
        _RESNET50,
        _network(101, "bottleneck", (3, 4, 23, 3), 44_549_160, 77.40, "63fe2227"),
        _network(152, "bottleneck", (3, 8, 36, 3), 60_192_808, 78.33, "394f9c45"),
        keras.network(
            replace(_RESNET50, config=ResNetConfig("bottleneck", (3, 4, 6, 3), True, True, 1.001e-5)),
            "resnet/resnet50_weights_tf_dim_ordering_tf_kernels.h5",
            md5="2cb95161c43110f7111970584f804107",
            params=25_583_592,
            top1=74.9,
            licence="MIT",
            **keras.CAFFE,
        ),
    ),
)
