"""VGG-11 to VGG-19, also with batch norm: Simonyan and Zisserman, 2014 (arXiv 1409.1556), of torchvision and Keras."""

from typing import Any, NamedTuple

from tljax.models import keras, timm
from tljax.models.rules import Rule, batch_norm, conv, dense, layer
from tljax.models.spec import Family, ModelSpec
from tljax.models.torchvision import Weights, published


class VGGConfig(NamedTuple):
    """A VGG as data: the widths of the convolutions of each block, and whether each is followed by a batch norm."""

    widths: tuple[tuple[int, ...], ...]
    normed: bool = False
    eps: float = 1e-5


_WIDTHS = {
    "vgg11": ((64,), (128,), (256,) * 2, (512,) * 2, (512,) * 2),
    "vgg13": ((64,) * 2, (128,) * 2, (256,) * 2, (512,) * 2, (512,) * 2),
    "vgg16": ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
    "vgg19": ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
}


def dense_of_map(kernel: Any) -> Any:
    """A dense layer on a 7x7 map of 512 channels, or a convolution in its place: (out, C*H*W) to (H*W*C, out)."""
    import numpy as np  # here, as the list of networks loads nothing

    if kernel.ndim == 2:
        kernel = kernel.reshape(len(kernel), 512, 7, 7)
    turned = kernel.transpose(2, 3, 1, 0)
    copied = np.empty(turned.shape, turned.dtype)
    for start in range(0, len(kernel), 64):  # so that what is read and what is written fit in a processor's cache
        copied[..., start : start + 64] = turned[..., start : start + 64]
    return copied.reshape(-1, len(kernel))


def _rules(spec: ModelSpec) -> dict[str, list[Rule]]:
    """torchvision counts every layer, activations and pooling included; timm turns fc6 and fc7 into convolutions.

    Keras flattens rows, columns, channels, as here.
    """
    config = spec.config
    numbers = [(block, n + 1) for block, widths in enumerate(config.widths, start=1) for n in range(len(widths))]
    if spec.origin == "keras":
        dense_layers = [keras.weighted(*names) for names in (("fc1", "fc6"), ("fc2", "fc7"), ("predictions", "fc8"))]
        return keras.rules([keras.weighted(f"block{b}_conv{n}", f"conv{b}_{n}") for b, n in numbers] + dense_layers)
    features = []
    for i, (block, n) in enumerate(numbers):  # after each a norm or none, and a ReLU; after each block a pool
        place = (2 + config.normed) * i + block - 1
        features += layer(rf"features\.{place}", f"conv{block}_{n}", conv)
        features += batch_norm(rf"features\.{place + 1}", f"conv{block}_{n}/norm") if config.normed else []
    return {
        "torchvision": [
            *features,
            *layer(r"classifier\.0", "fc6", dense_of_map),
            *layer(r"classifier\.3", "fc7", dense),
            *layer(r"classifier\.6", "fc8", dense),
        ],
        "timm": [
            *features,
            *layer(r"pre_logits\.fc1", "fc6", dense_of_map),
            *layer(r"pre_logits\.fc2", "fc7", dense_of_map),
            *layer(r"head\.fc", "fc8", dense),
        ],
    }


def _network(name: str, params: int, weights: Weights) -> tuple[ModelSpec, ...]:
    plain_name, _, normed = name.partition("_")
    config = VGGConfig(_WIDTHS[plain_name], bool(normed))
    plain = ModelSpec(
        name=name,
        family="vgg",
        config=config,
        feature_dim=512,
        last_layer=f"conv5_{len(config.widths[-1])}",
        params=params,
        sources=(f"hub:timm/{name}.tv_in1k",),
    )
    return published(plain, weights)


def _keras(plain: ModelSpec, md5: str) -> ModelSpec:
    file = f"{plain.name}/{plain.name}_weights_tf_dim_ordering_tf_kernels.h5"
    return keras.network(plain, file, md5=md5, top1=71.3, licence="CC-BY-4.0", **keras.CAFFE)


_PUBLISHED = (
    _network("vgg16", 138_357_544, Weights("vgg16-397923af", 71.59)),
    _network("vgg19", 143_667_240, Weights("vgg19-dcbb9e9d", 72.40)),
    _network("vgg11", 132_863_336, Weights("vgg11-8a719046", 69.02)),
    _network("vgg13", 133_047_848, Weights("vgg13-19584684", 69.93)),
    _network("vgg11_bn", 132_868_840, Weights("vgg11_bn-6002323d", 70.37)),
    _network("vgg13_bn", 133_053_736, Weights("vgg13_bn-abd245e5", 71.59)),
    _network("vgg16_bn", 138_365_992, Weights("vgg16_bn-6c64b313", 73.36)),
    _network("vgg19_bn", 143_678_248, Weights("vgg19_bn-c79401a0", 74.22)),
)
_PLAIN = tuple(versions[0] for versions in _PUBLISHED)

FAMILY = Family(
    name="vgg",
    module="tljax.models.modules.vgg:VGG",
    blocks=tuple(rf"conv{n}_\d" for n in range(1, 6)),
    head=("fc8", "fc7", "fc6"),
    min_input_size=32,
    rules=_rules,
    timm=timm.table({spec.name: spec for spec in _PLAIN}),
    networks=(
        *_PLAIN,
        _keras(_PLAIN[0], "64373286793e3c8b2b4e3219cbf3544b"),
        _keras(_PLAIN[1], "cbe5617147190e668d6c5d5026f83318"),
    ),
    versions=tuple(spec for versions in _PUBLISHED for spec in versions[1:]),
)
