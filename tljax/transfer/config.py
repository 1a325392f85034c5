"""The options of a training run: one frozen dataclass, checked before any work."""

import json
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from tljax.errors import InputError, nearest
from tljax.models.spec import get_spec


@dataclass(frozen=True)
class TrainConfig:
    """Options of `train`; those from `epochs` on go with `mode="finetune"` only.

    Attributes:
        model: a name from `list_models`.
        weights: a file; None is the model's own source.
        mode: "linear_probe" keeps the backbone; "finetune" starts from the probe and trains blocks as well.
        labels: a table of files and labels, for a folder without class folders.
        seed: of the split, the folds, the order of photos, augmentation and dropout.
        val_fraction: share of each class that validates, where the data brings no split.
        l2: strength of the probe's penalty; None chooses it by folds inside the training photos.
        balanced: every class weighs the same in the loss.
        batch_size: photos at once.
        dtype: of activations and products.
        image_size: side in pixels that the network sees; None is the model's own, or for fine-tuning on tiny
            pictures (short side of at most 64 pixels) 96, where enlarging them further only costs time.
        epochs: passes over the training photos.
        freeze: patterns of whole parameter paths that stay, such as "params/stage[1-3].*"; None is the earlier
            half of the backbone.
        lr: peak learning rate of the head; each block below learns with `depth_decay` times the rate above it.
            None is 2e-4, or 1e-3 for tiny pictures, which are far from the photographs that the backbone knows.
        depth_decay, weight_decay, label_smoothing: see `finetune`.
        augment: "none", "light" (keeps the subject whole) or "full".
        flip: mirror half of the pictures; None does so except for tiny pictures, which are mostly symbols.
        update_stats: batch norm of the trained blocks follows the data; by default all statistics stay.
        keep: the network of the "last" epoch, or of the "best": the one with the least validation loss. The
            validation photos have then chosen it, so what it reaches on them is too good by a little.
        save_every: steps between saved states within an epoch; one is saved at each epoch's end as well.
        skip_nonfinite: steps that may be passed over because their loss or gradient is not finite. At one more the
            run stops; it can be resumed with a larger number.
    """

    model: str = "efficientnet_lite0"
    weights: str | None = None
    mode: Literal["linear_probe", "finetune"] = "linear_probe"
    labels: str | None = None
    seed: int = 0
    val_fraction: float = 0.2
    l2: float | None = None
    balanced: bool = False
    batch_size: int = 32
    dtype: Literal["float32", "bfloat16"] = "float32"
    image_size: int | None = None
    epochs: int | None = None
    freeze: tuple[str, ...] | None = None
    lr: float | None = None
    depth_decay: float = 0.75
    weight_decay: float = 0.01
    label_smoothing: float = 0.05
    augment: Literal["none", "light", "full"] = "light"
    flip: bool | None = None
    update_stats: bool = False
    keep: Literal["last", "best"] = "last"
    save_every: int = 100
    skip_nonfinite: int = 0


DEFAULT_EPOCHS = 5
DEFAULT_LR, TINY_LR = 2e-4, 1e-3

_NAMES = tuple(field.name for field in fields(TrainConfig))
_FACTS = ("data", "data_sha256", "weights_sha256")
_FINETUNE = _NAMES[_NAMES.index("epochs") :]
_RANGES = {
    "seed": (0, 2**31 - 1),
    "val_fraction": (0.001, 0.999),
    "l2": (1e-9, 1e9),
    "batch_size": (1, 65536),
    "image_size": (32, 4096),
    "epochs": (1, 100_000),
    "lr": (0.0, 100.0),
    "depth_decay": (0.0, 1.0),
    "weight_decay": (0.0, 1e6),
    "label_smoothing": (0.0, 0.999),
    "save_every": (1, 1_000_000),
    "skip_nonfinite": (0, 1_000_000),
}


@dataclass(frozen=True)
class Recorded:
    """What the config.json of a run says about it; a file of options alone has None for the rest.

    Attributes:
        options: its options.
        data: what it was trained on.
        data_sha256, weights_sha256: of its labelled photos and of the backbone's weights.
    """

    options: TrainConfig
    data: str | None = None
    data_sha256: str | None = None
    weights_sha256: str | None = None


def make_config(config: TrainConfig | None = None, **options: Any) -> TrainConfig:
    """A checked configuration: `config` (or the defaults) with `options` in the place of its fields.

    Raises:
        InputError: an unknown option, one of the wrong type or out of range, an unknown model, or an option
            that the mode has no use for.
    """
    for name in options:
        _known(name)
    return _checked(replace(config or TrainConfig(), **options), _flag)


def read_recorded(path: str | Path) -> Recorded:
    """What a RUN's config.json (or a JSON file that holds nothing but options) says.

    Raises:
        InputError: no such file, no JSON, or a wrong entry; names the key.
    """
    try:
        document = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise InputError(f'cannot read "{path}": {error.strerror or error}') from None
    except (ValueError, RecursionError) as error:
        raise InputError(f'"{path}" is no JSON: {error}') from None
    options = document.get("options", document) if isinstance(document, dict) else None
    if not isinstance(options, dict):
        raise InputError(f'"{path}": expected an object with the key "options"')
    facts = {name: document.get(name) for name in _FACTS} if "options" in document else {}
    for name, value in facts.items():
        if not isinstance(value, str | None):
            raise InputError(f'"{path}": the key "{name}" is {value!r}: expected text')
    try:
        for name in options:
            _known(name)
        return Recorded(_checked(replace(TrainConfig(), **options), 'the key "{}"'.format), **facts)
    except InputError as error:
        raise InputError(f'"{path}": {error}') from None


def config_from_file(path: str | Path) -> TrainConfig:
    """The options in a RUN's config.json; see `read_recorded`."""
    return read_recorded(path).options


def _known(name: str) -> None:
    if name not in _NAMES:
        guess = nearest(name, _NAMES, n=1)
        hint = f': did you mean "{guess[0]}"?' if guess else f": there are {', '.join(_NAMES)}"
        raise InputError(f'no option named "{name}"{hint}')


def _checked(config: TrainConfig, called: Callable[[str], str]) -> TrainConfig:
    """The configuration, its lists as tuples; `called` says how a message names an option."""
    hints = typing.get_type_hints(TrainConfig)
    for name in _NAMES:
        value, hint = getattr(config, name), hints[name]
        if isinstance(value, list):
            value = tuple(value)
            config = replace(config, **{name: value})
        if not _fits(value, hint):
            raise InputError(f"{called(name)} is {value!r}: expected {_described(hint)}")
        low, high = _RANGES.get(name, (None, None))
        if value is not None and low is not None and not low <= value <= high:
            raise InputError(f"{called(name)} is {value}: expected a number from {low:g} to {high:g}")
    try:
        get_spec(config.model)
    except InputError as error:
        raise InputError(f"{called('model')}: {error}") from None
    if config.mode == "linear_probe":
        _only_finetune(config, called)
    return config


def _only_finetune(config: TrainConfig, called: Callable[[str], str]) -> None:
    defaults: Mapping[str, Any] = {field.name: field.default for field in fields(TrainConfig)}
    for name in _FINETUNE:
        if getattr(config, name) != defaults[name]:
            raise InputError(
                f"{called(name)} goes with --mode finetune: a linear probe is solved to its optimum in one go"
            )


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value, perhaps from JSON, is of an annotated type; an int passes for a float."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in typing.get_args(hint))
    if typing.get_origin(hint) is Literal:
        return isinstance(value, str) and value in typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(isinstance(part, str) for part in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is hint


def _described(hint: Any) -> str:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_described(part) for part in typing.get_args(hint))
    if typing.get_origin(hint) is Literal:
        return " or ".join(typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return "a list of patterns"
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "nothing"}
    return names[hint]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
