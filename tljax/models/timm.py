"""Names of the hub in timm's layout: from a checkpoint's `config.json` to a specification.

What a checkpoint says is done exactly or refused by the setting's name. The layout: `architecture`; `model_args`, which
differ from the architecture's own; `pretrained_cfg`, the preprocessing; `num_classes` and perhaps `label_names`.
Source: timm 1.0.31, `timm/models/_hub.py` and `timm/data/transforms_factory.py`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from tljax.downloads import Unavailable, cached_hub_file, hub_file
from tljax.errors import InputError, refuse
from tljax.files import read_regular
from tljax.models.spec import ModelSpec, families, imagenet_classes

_FILE = "config.json"
_MOST = 1 << 24  # bytes of it; 21,843 names take one
_SIZES = (16, 4096)
_OF_TRAINING = (
    *("drop_rate", "drop_path_rate", "drop_block_rate", "pos_drop_rate", "patch_drop_rate", "proj_drop_rate"),
    *("attn_drop_rate", "weight_init", "fix_init", "head_init_scale", "init_values", "ls_init_value"),
    *("num_classes", "dynamic_img_size", "strict_img_size", "pretrained", "pretrained_cfg"),
)
"""Arguments of timm's that do not change what a trained network computes, or that are read elsewhere."""

Architectures = Callable[[str, Mapping[str, Any]], ModelSpec | None]
"""(architecture, arguments) -> its specification with 1,000 classes, or None where it is not of the family."""


def table(architectures: Mapping[str, ModelSpec]) -> Architectures:
    """The architectures of a family that takes no arguments but those that say what it does anyway.

    Args:
        architectures: timm's name -> the specification.
    """

    def find(name: str, arguments: Mapping[str, Any]) -> ModelSpec | None:
        if name in architectures:
            only(arguments, {"global_pool": "avg"})
        return architectures.get(name)

    return find


def only(arguments: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuses arguments of timm's that are not in `known`, or have another value there; "img_size" is free.

    Raises:
        InputError: names the argument.
    """
    free = {"img_size", *(_OF_TRAINING)}
    for name, value in arguments.items():
        if value is not None and name not in free and (name not in known or known[name] != value):
            raise InputError(f'"model_args": {name} = {value!r} is not supported')


@cache
def hub_spec(name: str) -> ModelSpec:
    """The specification of "timm/NAME", or of "hub:ORGANISATION/NAME" in the same layout; read once from the network.

    Raises:
        InputError: it cannot be had, or is no such file; a setting that is not supported, by its name.
    """
    repository = name.removeprefix("hub:")
    if len(repository.split("/")) != 2 or not all(repository.split("/")):
        raise InputError(f'no model named "{name}": a name of the hub is timm/NAME or hub:ORGANISATION/NAME')
    try:
        path = cached_hub_file(repository, _FILE) or hub_file(repository, _FILE)
    except Unavailable as reason:
        raise InputError(f'no model named "{name}" can be had: {reason}') from None
    except ValueError as error:  # what the hub's client says of a name that no repository can have
        raise InputError(f'no model named "{name}": {error}') from None
    try:
        document = json.loads(read_regular(path, most=_MOST).decode("utf-8"))
        return replace(spec_of(document), name=name, sources=(f"hub:{repository}",))
    except (ValueError, RecursionError, OSError) as error:  # of which an InputError is one
        raise InputError(f'{_FILE} of "{name}": {error}') from None


def spec_of(document: Any) -> ModelSpec:
    """The specification that a `config.json` describes.

    Args:
        document: its content; files of before 2023 have the entries of `pretrained_cfg` beside `architecture`.
    Raises:
        InputError: another layout; a setting that is not supported, by its name.
    """
    if not isinstance(document, dict) or not isinstance(document.get("architecture"), str):
        raise InputError('no "architecture": it is not in the layout of timm')
    settings = document.get("pretrained_cfg", document)
    arguments = document.get("model_args") or {}
    refuse(
        {
            '"pretrained_cfg" is no object': not isinstance(settings, dict),
            '"model_args" is no object': not isinstance(arguments, dict),
        }
    )
    size = _input_size(settings)
    given = document.get("global_pool")
    arguments = {"img_size": size, **({"global_pool": given} if given else {}), **arguments}
    arguments["img_size"] = _side("img_size", arguments["img_size"])
    plain = _architecture(document["architecture"], arguments)
    count = document.get("num_classes", settings.get("num_classes", len(plain.classes)))
    labels = document.get("label_names", settings.get("label_names", settings.get("labels")))
    return replace(
        plain, input_size=size, classes=_classes(count, labels), params=None, top1=None, **_preprocessing(settings)
    )


def _architecture(name: str, arguments: Mapping[str, Any]) -> ModelSpec:
    for family in families():
        found = family.timm(name, arguments)
        if found is not None:
            return found
    raise InputError(f'the architecture "{name}" is not known here')


def _preprocessing(settings: Mapping[str, Any]) -> dict[str, Any]:
    crop_mode, crop_pct = settings.get("crop_mode") or "center", settings.get("crop_pct") or 0.875
    interpolation, licence = settings.get("interpolation") or "bicubic", settings.get("license") or ""
    number = isinstance(crop_pct, int | float) and 0 < crop_pct <= 1
    refuse(
        {
            f'"interpolation" {interpolation!r} is not supported': interpolation not in ("bilinear", "bicubic"),
            f'"crop_pct" {crop_pct!r} is not supported': not number,
            f'"crop_mode" {crop_mode!r} is not supported': crop_mode not in ("center", "border", "squash"),
            f'"crop_mode" {crop_mode!r} with "crop_pct" {crop_pct!r} is not supported': (
                crop_mode != "center" and crop_pct != 1
            ),
            '"license" is no text': not isinstance(licence, str),
        }
    )
    return {
        "crop_mode": crop_mode,
        "crop_pct": float(crop_pct),
        "interpolation": interpolation,
        "licence": licence,
        "mean": _channels("mean", settings, ModelSpec.mean),
        "std": _channels("std", settings, ModelSpec.std),
    }


def _channels(key: str, settings: Mapping[str, Any], otherwise: tuple[float, ...]) -> tuple[float, ...]:
    values = settings.get(key) or otherwise
    numbers = isinstance(values, Sequence) and all(isinstance(value, int | float) for value in values)
    if not numbers or len(values) != 3 or (key == "std" and not all(value > 0 for value in values)):
        raise InputError(f'"{key}" {values!r} is not supported')
    return tuple(map(float, values))


def _input_size(settings: Mapping[str, Any]) -> int:
    size = settings.get("input_size", (3, 224, 224))
    if not isinstance(size, Sequence) or len(size) != 3 or size[0] != 3:
        raise InputError(f'"input_size" {size!r} is not supported')
    return _side("input_size", size[1:])


def _side(key: str, size: Any) -> int:
    """The side of a square, which may be given once or for both axes."""
    sides = [size] if isinstance(size, int) else list(size) if isinstance(size, Sequence) else []
    low, high = _SIZES
    if len(sides) not in (1, 2) or sides[0] != sides[-1] or type(sides[0]) is not int or not low <= sides[0] <= high:
        raise InputError(f'"{key}" {size!r} is not supported')
    return sides[0]


def _classes(count: Any, labels: Any) -> tuple[str, ...]:
    """The names of somebody's own classes, else ImageNet's where there are 1,000, else "0", "1", ..."""
    if type(count) is not int or not 0 <= count <= 1_000_000:
        raise InputError(f'"num_classes" {count!r} is not supported')
    if labels is None or count == 0:
        return imagenet_classes() if count == 1000 else tuple(map(str, range(count)))
    names = list(labels) if isinstance(labels, list) else None
    if names is None or len(names) != count or not all(isinstance(name, str) for name in names):
        raise InputError(f'"label_names" are not the names of {count} classes')
    if len(set(names)) < count:
        raise InputError('"label_names" name a class twice')
    return tuple(names)
