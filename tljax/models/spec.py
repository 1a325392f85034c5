"""What a pretrained network is, what the networks of a family share, and which ones are known.

A name is an architecture *and* the preprocessing that its weights were trained with. The plain name is
torchvision's; a dotted suffix is another origin. The plain `efficientnet_lite*` names are the exception that
must be said loudly: their weights are born in TensorFlow (SAME padding; timm calls them `tf_efficientnet_lite*`).
This module imports no jax, and neither do the families, so that listing the models costs nothing.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from tljax.errors import InputError, nearest
from tljax.models.rules import Rule


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The names of the 1,000 ImageNet classes (ILSVRC 2012), in the order of the logits."""
    return tuple(resources.files("tljax.models").joinpath("imagenet_classes.txt").read_text("utf-8").splitlines())


@dataclass(frozen=True)
class ModelSpec:
    """All that travels with a set of weights.

    Attributes:
        name, family, config: the architecture; `family` is the name of a registered `Family`, and `config`, which it
            understands, is hashable. Where there is batch norm, `config.eps` is its epsilon.
        input_size, crop_pct, interpolation: a photo's short side is resized to `resize_size` (antialiased),
            then the central `input_size` square is cut out.
        crop_mode: "center" for that; "border" or "squash" to see all of a photo (see `tljax.data.framing`).
        white: the 16-bit grey sample that is white; None: what the photos of a data set tell (see `Source.white`).
        mean, std: per RGB channel, for images in [0, 1]; applied inside `apply`.
        channel_order: the order that the first convolution expects, "rgb" or "bgr".
        classes: their names, in the order of the logits; by default ImageNet's; none: there is no classifier.
        feature_dim: D of `embed`.  last_layer: the name of the last convolutional map in `intermediates`.
        params: parameters with the original head; None: not counted.
        top1: ImageNet top-1 in percent, as published; None: not known.
        sources: where the weights come from, tried in order: `package:`, `hub:` or a URL; none: they are passed.
        sha256: of the file, or how it starts, where known.  md5: of the file, where its authors give only that.
        head: "original", or "linear": a dense layer on `embed`, which is what a trained run has.
        layers: the maps of `intermediates` of which `embed` is made, each averaged over space (NAME) or over its
            quarters (NAME/2x2); none: the network's own embedding. See `models.with_layers`.

    >>> tljax.get_spec("efficientnet_lite0").resize_size
    256
    """

    name: str
    family: str
    config: Any
    feature_dim: int
    last_layer: str
    params: int | None
    top1: float | None = None
    licence: str = ""
    sources: tuple[str, ...] = ()
    classes: tuple[str, ...] = field(default_factory=imagenet_classes)
    input_size: int = 224
    crop_pct: float = 0.875
    interpolation: str = "bilinear"
    crop_mode: str = "center"
    white: int | None = None
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    channel_order: str = "rgb"
    sha256: str = ""
    md5: str = ""
    head: str = "original"
    layers: tuple[str, ...] = ()

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
        """The first place that the weights are looked for; "" where there is none."""
        return next(iter(self.sources), "")


def _none_of_timm(_name: str, _arguments: Mapping[str, Any]) -> None:
    """For a family that timm does not have."""


@dataclass(frozen=True)
class Family:
    """Networks that share a Flax module: all that is known of it outside, given to `register`.

    Attributes:
        name: what `ModelSpec.family` refers to.
        module: a Flax module class, or its place as "package.module:Class", which is imported when a network is first
            built. It is called with (config, number of classes, head, `Execution`); its `__call__` takes normalised
            images (b, h, w, 3) and `Taps`, and returns `Outputs`. If the head is "linear", the logits are those of
            `Head(classes, name="head")` on the embedding.
        blocks: the top-level layers from the image upwards, without the classifier, as patterns of their names, or a
            function of a specification that gives them. Fine-tuning freezes the first half of them, and gives each of
            the others a learning rate.
        rules: a function of a specification that gives the rules of each origin of weights, such as
            {"torchvision": [...]}; a file is read by those that know most of its names.
        networks: the specifications.
        head: the top-level layers of the original classifier, the last one first.
        min_input_size: of an image, in pixels a side.
        versions: others, such as later weights of the same networks, that have a name but are not listed.
        timm: a function of the name of one of timm's architectures and its arguments that gives the specification of
            the same network here, with 1,000 classes, and None where it is none of the family; see `models.timm`.

    >>> family = tljax.models.Family("other", Toy, blocks=("block",), rules=lambda spec: {}, networks=())
    >>> family.head
    ('head',)
    """

    name: str
    module: str | Callable[..., Any]
    blocks: tuple[str, ...] | Callable[[ModelSpec], tuple[str, ...]]
    rules: Callable[[ModelSpec], Mapping[str, Sequence[Rule]]]
    networks: tuple[ModelSpec, ...]
    head: tuple[str, ...] = ("head",)
    min_input_size: int = 1
    versions: tuple[ModelSpec, ...] = ()
    timm: Callable[[str, Mapping[str, Any]], ModelSpec | None] = _none_of_timm


_FAMILIES: dict[str, Family] = {}  # the one state of the package; it only grows, so what was looked up stays true


def register(family: Family) -> None:
    """Makes the networks of a family known by name to all functions and commands of this process.

    Args:
        family: to register the same one again changes nothing.
    Raises:
        InputError: another family, or a network of another family, has the name; a network says that it belongs to
            another family.

    >>> from dataclasses import replace
    >>> spec = replace(net.spec, name="other", family="others")
    >>> tljax.models.register(
    ...     tljax.models.Family("others", Toy, blocks=("block",), rules=lambda spec: {}, networks=(spec,))
    ... )
    >>> "other" in tljax.list_models()
    True
    """
    if family.name in _FAMILIES:
        if family != _FAMILIES[family.name]:
            raise InputError(f'another family named "{family.name}" is registered already: choose another name')
        return
    taken = list(_networks())
    for spec in (*family.networks, *family.versions):
        if spec.family != family.name:
            raise InputError(f'"{spec.name}" says that its family is "{spec.family}", not "{family.name}"')
        if spec.name in taken:
            raise InputError(f'a network named "{spec.name}" is registered already: choose another name')
        taken.append(spec.name)
    _FAMILIES[family.name] = family


def families() -> tuple[Family, ...]:
    """All that are registered."""
    return tuple(_FAMILIES.values())


def get_family(name: str) -> Family:
    """The registered family that `ModelSpec.family` names.

    Raises:
        InputError: there is none.
    """
    if name not in _FAMILIES:
        raise InputError(f'no family named "{name}": registered are {", ".join(_FAMILIES)}')
    return _FAMILIES[name]


def list_models(*, versions: bool = False) -> list[str]:
    """The names that `load_pretrained`, `init_network` and `--model` take: plain ones first, then by origin.

    Args:
        versions: with the names "torchvision/NAME.VERSION" of other weights of the same networks.

    >>> tljax.list_models()[:2]
    ['vgg16', 'vgg19']
    """
    listed = sorted((spec for family in _FAMILIES.values() for spec in family.networks), key=lambda spec: spec.origin)
    others = (spec for family in _FAMILIES.values() for spec in family.versions) if versions else ()
    return [spec.name for spec in (*listed, *others)]


def get_spec(name: str) -> ModelSpec:
    """The specification of a model.

    Args:
        name: one of `list_models(versions=True)`; or "timm/NAME", or "hub:ORGANISATION/NAME" of a repository in timm's
            layout, whose `config.json` is downloaded when it is first asked for.
    Raises:
        InputError: an unknown name; the message suggests the nearest. A file that cannot be had, or a setting in it
            that is not supported.

    >>> spec = tljax.get_spec("resnet50")
    >>> spec.input_size, spec.feature_dim, len(spec.classes)
    (224, 2048, 1000)
    """
    if name not in _networks():
        if str(name).startswith(("timm/", "hub:")):
            from tljax.models.timm import hub_spec  # which reads the families of this module

            return hub_spec(name)
        names = list_models()
        guesses = " or ".join(nearest(str(name), names, n=2))
        hint = f"did you mean {guesses}? " if guesses else ""
        raise InputError(f'no model named "{name}": {hint}`tljax models` lists all {len(names)}')
    return _networks()[name]


def _networks() -> dict[str, ModelSpec]:
    return {spec.name: spec for family in _FAMILIES.values() for spec in (*family.networks, *family.versions)}


def torchvision_url(name: str, digest: str) -> str:
    """The URL of torchvision's weights; `digest` is how their SHA-256 starts."""
    return f"https://download.pytorch.org/models/{name}-{digest}.pth"
