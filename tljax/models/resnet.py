"""ResNet-18 to ResNet-152 and their kin, as torchvision ("v1.5"), timm and Keras (of 2015) have them."""

from dataclasses import replace

from tljax.models import keras, timm
from tljax.models.resnet_architectures import ARCHITECTURES, ResNetConfig
from tljax.models.rules import Rule, dense, layer, normed, pointwise
from tljax.models.spec import Family, ModelSpec
from tljax.models.torchvision import Weights, published


def _v2(file: str, top1: float) -> Weights:
    """Weights of torchvision's second recipe."""
    return Weights(file, top1, resize=232)


def _rules(spec: ModelSpec) -> dict[str, list[Rule]]:
    """torchvision's names, which timm kept, and Keras'."""
    if spec.origin == "keras":
        return keras.rules(_keras_layers(spec.config))
    block, ours = r"layer(\d)\.(\d+)\.", r"stage\1_block\2/"
    stem = normed("conv1", "bn1", "stem")
    if spec.config.stem:
        stem = normed(r"conv1\.0", r"conv1\.1", "stem0") + normed(r"conv1\.3", r"conv1\.4", "stem1")
        stem += normed(r"conv1\.6", "bn1", "stem2")
    first = int(spec.config.pooled)  # after the pooling, which has a number
    return {
        "torchvision": [
            *stem,
            *normed(rf"{block}conv(\d)", rf"{block}bn(\d)", rf"{ours}conv\3"),
            *normed(rf"{block}downsample\.{first}", rf"{block}downsample\.{first + 1}", f"{ours}shortcut"),
            *layer(rf"{block}se\.fc1", f"{ours}gate/reduce", pointwise),
            *layer(rf"{block}se\.fc2", f"{ours}gate/expand", pointwise),
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


def _spec(name: str, config: ResNetConfig, params: int | None = None) -> ModelSpec:
    return ModelSpec(
        name=name,
        family="resnet",
        config=config,
        feature_dim=512 if config.block == "basic" else 2048,
        last_layer=f"stage4_block{config.repeats[-1] - 1}",
        params=params,
        sources=() if params is None else (f"hub:timm/{name}.tv_in1k",),
    )


def _network(name: str, params: int, *weights: Weights) -> tuple[ModelSpec, ...]:
    return published(_spec(name, ARCHITECTURES[name], params), *weights)


_PUBLISHED = (
    _network("resnet18", 11_689_512, Weights("resnet18-f37072fd", 69.75)),
    _network("resnet34", 21_797_672, Weights("resnet34-b627a593", 73.30)),
    _network("resnet50", 25_557_032, Weights("resnet50-0676ba61", 76.16), _v2("resnet50-11ad3fa6", 80.86)),
    _network("resnet101", 44_549_160, Weights("resnet101-63fe2227", 77.40), _v2("resnet101-cd907fc2", 81.89)),
    _network("resnet152", 60_192_808, Weights("resnet152-394f9c45", 78.33), _v2("resnet152-f82ba261", 82.28)),
    _network(
        *("resnext50_32x4d", 25_028_904),
        *(Weights("resnext50_32x4d-7cdf4587", 77.62), _v2("resnext50_32x4d-1a0047aa", 81.20)),
    ),
    _network(
        *("resnext101_32x8d", 88_791_336),
        *(Weights("resnext101_32x8d-8ba56ff5", 79.31), _v2("resnext101_32x8d-110c445d", 82.83)),
    ),
    _network("resnext101_64x4d", 83_455_272, _v2("resnext101_64x4d-173b62eb", 83.25)),
    _network(
        *("wide_resnet50_2", 68_883_240),
        *(Weights("wide_resnet50_2-95faca4d", 78.47), _v2("wide_resnet50_2-9ba9bcbe", 81.60)),
    ),
    _network(
        *("wide_resnet101_2", 126_886_696),
        *(Weights("wide_resnet101_2-32ee1156", 78.85), _v2("wide_resnet101_2-d733dc28", 82.51)),
    ),
)
_PLAIN = {versions[0].name: versions[0] for versions in _PUBLISHED}
_OF_TIMM = tuple(
    replace(_spec(name, ARCHITECTURES[name], params), licence="Apache-2.0", interpolation="bicubic", sources=(source,))
    for name, params, source in (
        ("resnet50d", 25_576_264, "hub:timm/resnet50d.ra2_in1k"),
        ("seresnext26d_32x4d", 16_809_512, "hub:timm/seresnext26d_32x4d.bt_in1k"),
    )
)

FAMILY = Family(
    name="resnet",
    module="tljax.models.modules.resnet:ResNet",
    blocks=(r"stem\d?", *(rf"stage{n}_block\d+" for n in range(1, 5))),
    rules=_rules,
    timm=timm.table({name: _spec(name, config) for name, config in ARCHITECTURES.items()}),
    networks=(
        *_PLAIN.values(),
        *_OF_TIMM,
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
