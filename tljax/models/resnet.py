"""ResNet-18 to ResNet-152: He et al., 2015 (arXiv 1512.03385), in torchvision's form "v1.5" and Keras' of 2015."""

from dataclasses import replace
from typing import NamedTuple

from tljax.models import keras, timm
from tljax.models.rules import Rule, dense, layer, normed
from tljax.models.spec import Family, ModelSpec
from tljax.models.torchvision import Weights, published


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


def _network(depth: int, block: str, repeats: tuple[int, ...], params: int, *weights: Weights) -> tuple[ModelSpec, ...]:
    name = f"resnet{depth}"
    plain = ModelSpec(
        name=name,
        family="resnet",
        config=ResNetConfig(block, repeats),
        feature_dim=512 if block == "basic" else 2048,
        last_layer=f"stage4_block{repeats[-1] - 1}",
        params=params,
        sources=(f"hub:timm/{name}.tv_in1k",),
    )
    return published(plain, *weights)


_PUBLISHED = (
    _network(18, "basic", (2, 2, 2, 2), 11_689_512, Weights("resnet18-f37072fd", 69.75)),
    _network(34, "basic", (3, 4, 6, 3), 21_797_672, Weights("resnet34-b627a593", 73.30)),
    _network(
        *(50, "bottleneck", (3, 4, 6, 3), 25_557_032),
        Weights("resnet50-0676ba61", 76.16),
        Weights("resnet50-11ad3fa6", 80.86, resize=232),
    ),
    _network(
        *(101, "bottleneck", (3, 4, 23, 3), 44_549_160),
        Weights("resnet101-63fe2227", 77.40),
        Weights("resnet101-cd907fc2", 81.89, resize=232),
    ),
    _network(
        *(152, "bottleneck", (3, 8, 36, 3), 60_192_808),
        Weights("resnet152-394f9c45", 78.33),
        Weights("resnet152-f82ba261", 82.28, resize=232),
    ),
)
_PLAIN = {versions[0].name: versions[0] for versions in _PUBLISHED}

FAMILY = Family(
    name="resnet",
    module="tljax.models.modules.resnet:ResNet",
    blocks=("stem", *(rf"stage{n}_block\d+" for n in range(1, 5))),
    rules=_rules,
    timm=timm.table(_PLAIN),
    networks=(
        *_PLAIN.values(),
        keras.network(
            replace(_PLAIN["resnet50"], config=ResNetConfig("bottleneck", (3, 4, 6, 3), True, True, 1.001e-5)),
            "resnet/resnet50_weights_tf_dim_ordering_tf_kernels.h5",
            md5="2cb95161c43110f7111970584f804107",
            params=25_583_592,
            top1=74.9,
            licence="MIT",
            **keras.CAFFE,
        ),
    ),
    versions=tuple(spec for versions in _PUBLISHED for spec in versions[1:]),
)
