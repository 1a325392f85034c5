"""What a pretrained network is: its architecture as data, its preprocessing, its weights' origin.

A name is an architecture *and* the preprocessing that its weights were trained with. The plain name is
torchvision's; a dotted suffix is another origin. The plain `efficientnet_lite*` names are the exception that
must be said loudly: their weights are born in TensorFlow (SAME padding; timm calls them `tf_efficientnet_lite*`).
This module imports no jax, so that listing the models costs nothing.
"""

import math
from dataclasses import dataclass
from functools import cache
from importlib import resources

from tljax.errors import InputError, nearest
from tljax.models.table import TABLE


@dataclass(frozen=True)
class ModelSpec:
    """All that travels with a set of weights.

    Attributes:
        name, family, config: the architecture; `family` is the module under `tljax.models` that builds it.
        input_size, crop_pct, interpolation: a photo's short side is resized to `resize_size` (antialiased),
            then the central `input_size` square is cut out.
        crop_mode: "center" for that; "border" or "squash" to see all of a photo (see `tljax.data.framing`).
        mean, std: per RGB channel, for images in [0, 1]; applied inside `apply`.
        channel_order: the order that the first convolution expects, "rgb" or "bgr".
        classes: their names, in the order of the logits.
        feature_dim: D of `embed`.  last_layer: the name of the last convolutional map in `intermediates`.
        params: parameters with the original head.  top1: ImageNet top-1 in percent, as published.
        sources: where the weights come from, tried in order: `package:`, `hub:` or a URL.
        sha256: of the file, or how it starts, where known.  md5: of the file, where its authors give only that.
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
    crop_mode: str = "center"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    channel_order: str = "rgb"
    sha256: str = ""
    md5: str = ""
    head: str = "original"

    @property
    def origin(self) -> str:
        """The suffix of the name, such as "keras" or "caffe"; "" for the plain one."""
        return self.name.partition(".")[2]

    @property
    def resize_size(self) -> int:
        """The short side in pixels after resizing and before the crop."""
        return math.floor(self.input_size / self.crop_pct)

    @property
    def source(self) -> str:
        """The first place that the weights are looked for."""
        return self.sources[0]


_NAMES = tuple(row["name"] for row in TABLE)


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
    return ModelSpec(classes=imagenet_classes(), **TABLE[_NAMES.index(name)])
