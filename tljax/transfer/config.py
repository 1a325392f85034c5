"""The options of a training run: frozen dataclasses, checked before any work."""

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

from tljax.errors import InputError, nearest
from tljax.models.spec import get_spec

Config = TypeVar("Config", bound="FinetuneConfig")


@dataclass(frozen=True)
class FinetuneConfig:
    """How `finetune` learns.

    Attributes:
        batch_size: photos at once.
        balanced: every class weighs the same in the loss.
        epochs: passes over the training photos; None is 5.
        freeze: patterns of whole parameter paths that stay, such as "params/stage[1-3].*"; None is the earlier
            half of the backbone.
        lr: peak learning rate of the head; each block below learns with `depth_decay` times the rate above it.
            None is 2e-4, or in `train` 1e-3 for tiny pictures, which are far from the photographs that the backbone
            knows.
        depth_decay, weight_decay, label_smoothing: see `train_step`.
        augment: "none", "light" (keeps the subject whole) or "full".
        flip: mirror half of the pictures; None does so, except in `train` for tiny pictures, which are mostly symbols.
        update_stats: batch norm of the trained blocks follows the data; by default all statistics stay.
        adversarial: train against attacks that change no pixel by more than this, pixels being in [0, 1]; 2/255, say
            (arXiv 1706.06083). A step takes about three times as long; its loss and accuracy are of attacked photos.
        keep: the network of the "last" epoch, or of the "best": the one with the least validation loss. The
            validation photos have then chosen it, so what it reaches on them is too good by a little.
        skip_nonfinite: steps that may be passed over because their loss or gradient is not finite. At one more the
            run stops; it can be resumed with a larger number.

    >>> tljax.transfer.FinetuneConfig(epochs=3, lr=1e-3).batch_size
    32
    """

    batch_size: int = 32
    balanced: bool = False
    epochs: int | None = None
    freeze: tuple[str, ...] | None = None
    lr: float | None = None
    depth_decay: float = 0.75
    weight_decay: float = 0.01
    label_smoothing: float = 0.05
    augment: Literal["none", "light", "full"] = "light"
    flip: bool | None = None
    update_stats: bool = False
    adversarial: float | None = None
    keep: Literal["last", "best"] = "last"
    skip_nonfinite: int = 0


@dataclass(frozen=True)
class ProbeConfig:
    """What a run with a linear probe can be asked for, and one that fine-tunes as well.

    Attributes:
        model: a name from `list_models`.
        weights: a file; None is the model's own source.
        init_from: a run of your own, with the same classes or others, whose network takes the place of the pretrained
            one; --model is then that run's.
        mode: "linear_probe" keeps the backbone; "finetune" starts from the probe and trains blocks as well.
        labels: a table of files and labels, for a folder without class folders.
        file_column: the header of the table's column of files, or its number from 1; None is one called file,
            file_name, files, file_names, path, paths, file_path, file_paths, image_path, img_path, image_file,
            img_file, image_name, img_name, image, images, img, photo, picture, fname, image_id, img_id, id, name (only
            letters and digits count: imageFile and Image-file as well).
        label_column: the same of the classes; None is one called label, labels, class, classes, class_name, label_name,
            class_label, category, category_name, target, breed, species, breed_name, tag, tags, kind, type, variety,
            diagnosis, dx, emotion, cat_name, name, class_id, label_id, category_id, label_idx, class_idx, or columns of
            0 and 1.
        split_column: the same of the splits; None is one called split, subset, set, data_set, partition, phase, usage,
            is_valid, is_val, is_validation, is_test, is_testing, is_train, is_training, is_training_image.
        label_regex: takes the class from the name of each file, for a folder without class folders: the named group, or
            the first one; "^(.+)_\\d+\\.jpg$" for Abyssinian_12.jpg. With a "/" in it, from the path below DATA.
        fixes: a table of photos to drop, to relabel or to keep on one side of the split, which the page of
            `tljax check` saves.
        min_photos: classes with fewer training photos are left out.
        seed: of the split, the folds, the order of photos, augmentation and dropout.
        val_fraction: share of each class that validates, where the data brings no split. With 0 all photos train, and
            the accuracy is that of folds, each of which is held out once.
        unknown_rate: the share of photos of the classes that may be taken for none of them; the larger, the more photos
            of something else are found out.
        l2: strength of the probe's penalty; None chooses it by folds inside the training photos.
        balanced: every class weighs the same in the loss.
        batch_size: photos at once.
        dtype: of activations and products.
        image_size: side in pixels that the network sees; None is the model's own, or for fine-tuning on tiny
            pictures (short side of at most 64 pixels) 96, where enlarging them further only costs time.
        layer: where a linear probe takes its features from: a layer's name (averaged over space), NAME/2x2 (over each
            quarter, which keeps where things are), or auto: the stage that serves best, by folds inside the training
            photos; None is the last map. Earlier ones serve digits, symbols and measurements.
        crop_mode: what the network sees of a photo that is no square: the "center", all of it with a "border", or all
            of it, to which it may "squash" it; None is center, or what the run of `init_from` sees.
    """

    model: str = "efficientnet_lite0"
    weights: str | None = None
    init_from: str | None = None
    mode: Literal["linear_probe", "finetune"] = "linear_probe"
    labels: str | None = None
    file_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    label_regex: str | None = None
    fixes: str | None = None
    min_photos: int = 1
    seed: int = 0
    val_fraction: float = 0.2
    unknown_rate: float = 0.05
    l2: float | None = None
    balanced: bool = False
    batch_size: int = 32
    dtype: Literal["float32", "bfloat16"] = "float32"
    image_size: int | None = None
    crop_mode: Literal["center", "border", "squash"] | None = None
    layer: str | None = None


@dataclass(frozen=True)
class TrainConfig(FinetuneConfig, ProbeConfig):
    """Options of `train`; those that `ProbeConfig` does not have go with `mode="finetune"` only.

    Attributes:
        save_every: steps between saved states within an epoch; one is saved after the first step and at each epoch's
            end as well.

    >>> tljax.transfer.TrainConfig(mode="finetune", seed=1).mode
    'finetune'
    """

    save_every: int = 100


DEFAULT_EPOCHS = 5
DEFAULT_LR, TINY_LR = 2e-4, 1e-3

_NAMES = tuple(field.name for field in fields(TrainConfig))
_PROBE = {field.name for field in fields(ProbeConfig)}
_RANGES = {
    "seed": (0, 2**31 - 1),
    "val_fraction": (0.0, 0.999),
    "min_photos": (1, 1_000_000),
    "unknown_rate": (0.0001, 0.9999),
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


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def make_config(config: TrainConfig | None = None, **options: Any) -> TrainConfig:
    """A checked configuration: `config` (or the defaults) with `options` in the place of its fields.

    Raises:
        InputError: an unknown option, one of the wrong type or out of range, an unknown model, or an option
            that the mode has no use for.
    """
    return with_options(config or TrainConfig(), options, _flag)


def with_options(config: TrainConfig, options: Mapping[str, Any], called: Callable[[str], str]) -> TrainConfig:
    """As `make_config`; `called` says how a message names an option."""
    for name in options:
        if name not in _NAMES:
            guess = nearest(name, _NAMES, n=1)
            hint = f': did you mean "{guess[0]}"?' if guess else f": there are {', '.join(_NAMES)}"
            raise InputError(f'no option named "{name}"{hint}')
    config = check_config(replace(config, **options), called)
    try:
        get_spec(config.model)
    except InputError as error:
        raise InputError(f"{called('model')}: {error}") from None
    if config.mode == "linear_probe":
        _only_finetune(config, called)
    elif config.layer is not None:
        raise InputError(f"{called('layer')} goes with --mode linear_probe: fine-tuning needs the network to its end")
    return config


def check_config(config: Config, called: Callable[[str], str] = _flag) -> Config:
    """The configuration, its lists as tuples.

    Raises:
        InputError: an option of the wrong type or out of range.
    """
    hints = typing.get_type_hints(type(config))
    for name in (field.name for field in fields(config)):
        value, hint = getattr(config, name), hints[name]
        if isinstance(value, list):
            value = tuple(value)
            config = replace(config, **{name: value})
        if not _fits(value, hint):
            raise InputError(f"{called(name)} is {value!r}: expected {_described(hint)}")
        low, high = _RANGES.get(name, (None, None))
        if value is not None and low is not None and not low <= value <= high:
            raise InputError(f"{called(name)} is {value}: expected a number from {low:g} to {high:g}")
    if (eps := config.adversarial) is not None and not 0 < eps <= 1:
        raise InputError(f"{called('adversarial')} is {eps:g}: expected above 0 and at most 1, such as 2/255")
    return config


def _only_finetune(config: TrainConfig, called: Callable[[str], str]) -> None:
    defaults: Mapping[str, Any] = {field.name: field.default for field in fields(TrainConfig)}
    for name in _NAMES:
        if name not in _PROBE and getattr(config, name) != defaults[name]:
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
