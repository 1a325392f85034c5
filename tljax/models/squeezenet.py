"""SqueezeNet 1.0 and 1.1: Iandola et al., 2016 (arXiv 1602.07360), with the weights of torchvision and of Caffe."""

from dataclasses import replace
from typing import NamedTuple

from tljax.models.rules import Rule, conv, layer
from tljax.models.spec import Family, ModelSpec
from tljax.models.torchvision import Weights, published


class SqueezeNetConfig(NamedTuple):
    """A SqueezeNet as data.

    Attributes:
        fires: (squeeze, expand) widths of fire2 to fire9.
        stem: width and kernel of the first convolution.
        pools: the numbers of the fires with a pool before them.
    """

    fires: tuple[tuple[int, int], ...]
    stem: tuple[int, int] = (64, 3)
    pools: tuple[int, ...] = (2, 4, 6)


def _rules(spec: ModelSpec) -> dict[str, list[Rule]]:
    """torchvision's names, and the Caffe names of the package `ndf`, whose kernels are HWIO already."""
    rules = [*layer(r"features\.0", "conv1", conv), *layer(r"classifier\.1", "conv10", conv)]
    for number in range(2, 2 + len(spec.config.fires)):
        index = number + sum(pool <= number for pool in spec.config.pools)  # after a convolution, its ReLU, and pools
        rules += layer(rf"features\.{index}\.(squeeze|expand1x1|expand3x3)", rf"fire{number}/\1", conv)
    caffe = [
        Rule(r"(conv1|conv10)/(kernel|bias)", r"params/\1/\2"),
        Rule(r"(fire\d)/squeeze1x1/(kernel|bias)", r"params/\1/squeeze/\2"),
        Rule(r"(fire\d)/(expand1x1|expand3x3)/(kernel|bias)", r"params/\1/\2/\3"),
    ]
    # Caffe's names come with Caffe's preprocessing, so the plain model does not take them.
    return {"torchvision": rules} | ({"caffe": caffe} if spec.channel_order == "bgr" else {})


_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
_PLAIN, *_VERSIONS = published(
    ModelSpec(
        name="squeezenet1_1",
        family="squeezenet",
        config=SqueezeNetConfig(_FIRES),
        feature_dim=512,
        last_layer="fire9",
        params=1_235_496,
    ),
    Weights("squeezenet1_1-b8a52dc0", 58.18),
)
_FIRST, *_FIRST_VERSIONS = published(
    replace(
        _PLAIN,
        name="squeezenet1_0",
        config=SqueezeNetConfig(_FIRES, stem=(96, 7), pools=(2, 5, 9)),
        params=1_248_424,
        sources=(),
    ),
    Weights("squeezenet1_0-b66bff10", 58.09),
)

FAMILY = Family(
    name="squeezenet",
    module="tljax.models.modules.squeezenet:SqueezeNet",
    blocks=("conv1", "fire[23]", "fire[45]", "fire[67]", "fire[89]"),
    head=("conv10",),
    min_input_size=21,
    rules=_rules,
    networks=(
        _PLAIN,
        _FIRST,
        replace(
            _PLAIN,
            name="squeezenet1_1.caffe",
            top1=57.5,
            licence="MIT",
            sources=("package:ndf/example_models/weights/squeezenet_weights.pkl",),
            sha256="f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1",
            input_size=227,
            crop_pct=227 / 256,
            mean=(123 / 255, 117 / 255, 104 / 255),
            std=(1 / 255,) * 3,
            channel_order="bgr",
        ),
    ),
    versions=(*_VERSIONS, *_FIRST_VERSIONS),
)
