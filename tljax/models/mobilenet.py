"""MobileNetV2: Sandler et al., 2018 (arXiv 1801.04381), width 1.0, with the weights of torchvision and of Keras."""

from typing import NamedTuple

from tljax.models import keras
from tljax.models.rules import Rule, dense, layer, normed
from tljax.models.spec import Family, ModelSpec, torchvision_url


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


MODULE = "tljax.models.modules.mobilenet:MobileNetV2"
BLOCKS = ("stem", *(rf"stage{n}_block\d+" for n in range(1, 8)), "top")
_STAGES = (
    Stage(1, 16, 1, 1, 3),
    Stage(6, 24, 2, 2, 3),
    Stage(6, 32, 3, 2, 3),
    Stage(6, 64, 4, 2, 3),
    Stage(6, 96, 3, 1, 3),
    Stage(6, 160, 3, 2, 3),
    Stage(6, 320, 1, 1, 3),
)


def numbered_blocks(config: MobileConfig) -> list[tuple[int, str, bool]]:
    """(number over all stages from 0, our block's name, whether it expands) of each inverted residual block."""
    stages = enumerate(config.stages, start=1)
    blocks = [(f"stage{s}_block{b}", stage.expand != 1) for s, stage in stages for b in range(stage.repeats)]
    return [(number, name, expands) for number, (name, expands) in enumerate(blocks)]


def timm_rules(config: MobileConfig) -> list[Rule]:
    """timm's names for MobileNetV2 and EfficientNet: blocks counted from 0 within each stage."""
    rules = [
        *normed("conv_stem", "bn1", "stem"),
        *normed("conv_head", "bn2", "top"),
        *layer("classifier", "head", dense),
    ]
    for stage, shape in enumerate(config.stages):
        source, target = rf"blocks\.{stage}\.(\d+)\.", rf"stage{stage + 1}_block\1/"
        parts = {"expand": "conv_pw", "depthwise": "conv_dw", "project": "conv_pwl"}
        if shape.expand == 1:
            parts = {"depthwise": "conv_dw", "project": "conv_pw"}
        for number, (ours, theirs) in enumerate(parts.items(), start=1):
            rules += normed(f"{source}{theirs}", f"{source}bn{number}", f"{target}{ours}")
    return rules


def _rules(spec: ModelSpec) -> dict[str, list[Rule]]:
    """torchvision's names, whose blocks count over all stages, timm's and Keras'."""
    if spec.origin == "keras":
        return keras.rules(_keras_layers(spec.config))
    rules, last = [*normed(r"features\.0\.0", r"features\.0\.1", "stem")], 0
    for number, block, expands in numbered_blocks(spec.config):
        source, last = rf"features\.{number + 1}\.conv\.", number + 2
        if expands:
            rules += normed(rf"{source}0\.0", rf"{source}0\.1", f"{block}/expand")
        depthwise = int(expands)
        rules += normed(rf"{source}{depthwise}\.0", rf"{source}{depthwise}\.1", f"{block}/depthwise")
        rules += normed(f"{source}{depthwise + 1}", f"{source}{depthwise + 2}", f"{block}/project")
    rules += normed(rf"features\.{last}\.0", rf"features\.{last}\.1", "top")
    rules += layer(r"classifier\.1", "head", dense)
    return {"torchvision": rules, "timm": timm_rules(spec.config)}


def _keras_layers(config: MobileConfig) -> list[keras.Layer]:
    layers = keras.normed("Conv1", "bn_Conv1", "stem")
    for number, block, expands in numbered_blocks(config):
        name = f"block_{number}_" if number else "expanded_conv_"
        if expands:
            layers += keras.normed(f"{name}expand", f"{name}expand_BN", f"{block}/expand")
        layers += keras.normed(f"{name}depthwise", f"{name}depthwise_BN", f"{block}/depthwise", keras.depthwise)
        layers += keras.normed(f"{name}project", f"{name}project_BN", f"{block}/project")
    return [*layers, *keras.normed("Conv_1", "Conv_1_bn", "top"), keras.weighted("predictions", "head")]


_PLAIN = ModelSpec(
    name="mobilenet_v2",
    family="mobilenet",
    config=MobileConfig(32, _STAGES, 1280),
    feature_dim=1280,
    last_layer="top",
    params=3_504_872,
    top1=71.88,
    licence="BSD-3-Clause",
    sources=(torchvision_url("mobilenet_v2", "b0353104"),),
)

FAMILY = Family(
    name="mobilenet",
    module=MODULE,
    blocks=BLOCKS,
    rules=_rules,
    networks=(
        _PLAIN,
        keras.network(
            _PLAIN,
            "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5",
            config=MobileConfig(32, _STAGES, 1280, same=True, eps=1e-3),
            top1=71.3,
            licence="Apache-2.0",
            mean=(0.5,) * 3,
            std=(0.5,) * 3,
        ),
    ),
)
