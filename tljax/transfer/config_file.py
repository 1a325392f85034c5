"""config.json: what a run writes down about itself, and the only place where that is read back."""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax

from tljax import __version__
from tljax.data.framing import CROP_MODES
from tljax.data.images import WHITE
from tljax.data.source import Source
from tljax.errors import InputError
from tljax.files import read_regular
from tljax.models.spec import ModelSpec, get_spec
from tljax.transfer.config import TrainConfig, with_options
from tljax.transfer.features import Features
from tljax.transfer.run_folder import CLASSES, CONFIG
from tljax.versions import git_commit, versions

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "pillow")
_FLAGS = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")
_FREE = ("save_every", "skip_nonfinite")
"""Options that a resumed run may change."""
_MAX_JSON = 1 << 24
_FACTS = ("data", "data_sha256", "weights_sha256")
_NEEDED = {
    "model": str,
    "mode": str,
    "dtype": str,
    "image_size": int,
    "weights_file": str | None,
    "weights_sha256": str,
}
_LATER = {"crop_mode": str, "white": int | None, "checkpoint": str, "layer": str | None}
"""Keys that the first runs did not have."""
_CHOICES = {
    "mode": ("linear_probe", "finetune"),
    "dtype": ("float32", "bfloat16"),
    "crop_mode": CROP_MODES,
    "checkpoint": ("head", "network"),
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


def describe(
    config: TrainConfig, spec: ModelSpec, data: str, source: Source, features: Features, weights_sha256: str
) -> dict[str, Any]:
    """The content of config.json: what is needed to load the run, to repeat it, and to see where it was made.

    Args:
        source: the photos that `features` are of.
    """
    groups = [""] * len(source.files) if source.groups is None else [f"\t{group}" for group in source.groups]
    lines = sorted(
        f"{source.classes[source.labels[i]]}\t{digest}{groups[i]}"
        for i, digest in zip(features.index, features.digests, strict=True)
    )
    text = "\n".join(lines).encode("utf-8", "backslashreplace")
    return {
        "tljax": __version__,
        "model": config.model,
        "mode": config.mode,
        "dtype": config.dtype,
        "image_size": spec.input_size,
        "crop_mode": spec.crop_mode,
        "white": spec.white,
        "layer": "".join(spec.layers) or None,
        "checkpoint": "network" if config.mode == "finetune" or config.init_from is not None else "head",
        "weights_file": _absolute(config.weights),
        "weights_sha256": weights_sha256,
        "data": data,
        "data_sha256": hashlib.sha256(text).hexdigest(),
        "options": recorded_options(config),
        "versions": {"python": platform.python_version(), "tljax": __version__, **versions(_PACKAGES)},
        "git_commit": git_commit(),
        "devices": [device.device_kind for device in jax.devices()],
        "platform": f"{platform.system()} {platform.machine()}",
        "flags": {name: value for name, value in sorted(os.environ.items()) if name in _FLAGS or name[:4] == "JAX_"},
    }


def recorded_options(config: TrainConfig) -> dict[str, Any]:
    """The options as config.json has them: paths are absolute, so that they hold wherever a command is given."""
    options: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()
    }
    paths = {name: _absolute(options[name]) for name in ("weights", "init_from", "labels", "fixes")}
    return options | paths | {"labels": paths["labels"] and os.path.normpath(paths["labels"])}


def recorded_data(data: str, config: TrainConfig) -> str:
    """What config.json says of the data: the name of a bundled set, or an absolute path."""
    named = data in ("digits", "textures") or data.startswith("tfds:")
    return data if named and config.labels is None else os.path.abspath(os.path.expanduser(data))


def read_recorded(path: str | Path) -> Recorded:
    """What a RUN's config.json (or a JSON file that holds nothing but options) says.

    Raises:
        InputError: no such file, no JSON, or a wrong entry; names the key.
    """
    document = read_json(path)
    options = document.get("options", document) if isinstance(document, dict) else None
    if not isinstance(options, dict):
        raise InputError(f'"{path}": expected an object with the key "options"')
    facts = {name: document.get(name) for name in _FACTS} if "options" in document else {}
    for name, value in facts.items():
        if not isinstance(value, str | None):
            raise InputError(f'"{path}": the key "{name}" is {value!r}: expected text')
    try:
        return Recorded(with_options(TrainConfig(), options, 'the key "{}"'.format), **facts)
    except InputError as error:
        raise InputError(f'"{path}": {error}') from None


def config_from_file(path: str | Path) -> TrainConfig:
    """The options in a RUN's config.json; see `read_recorded`."""
    return read_recorded(path).options


def read_run(run: str | Path) -> dict[str, Any]:
    """The entries of a RUN's config.json, checked as far as loading needs them.

    Raises:
        InputError: no RUN, no JSON, or a wrong entry; names the key.
    """
    path = Path(os.path.expanduser(run)) / CONFIG
    record = read_json(path, run=run)
    if not isinstance(record, dict):
        raise InputError(f'"{path}" must hold an object with the keys {", ".join(_NEEDED)}')
    whole = record.get("mode") == "finetune"
    earlier = {"crop_mode": "center", "white": None, "layer": None, "checkpoint": "network" if whole else "head"}
    record = earlier | record
    for key, kind in (_NEEDED | _LATER).items():
        if key not in record:
            raise InputError(f'"{path}": the key "{key}" is missing')
        if not isinstance(record[key], kind) or isinstance(record[key], bool):
            raise InputError(f'"{path}": the key "{key}" is {record[key]!r}, which is of the wrong type')
        if record[key] not in _CHOICES.get(key, (record[key],)):
            raise InputError(f'"{path}": the key "{key}" is {record[key]!r}, expected {" or ".join(_CHOICES[key])}')
    if not set(record["weights_sha256"]) <= set("0123456789abcdef"):
        raise InputError(
            f'"{path}": the key "weights_sha256" is {record["weights_sha256"]!r}, expected hexadecimal digits'
        )
    if not 32 <= record["image_size"] <= 4096:
        raise InputError(f'"{path}": the key "image_size" is {record["image_size"]}, expected 32 to 4096')
    if not 1 <= (record["white"] or WHITE) <= WHITE:
        raise InputError(f'"{path}": the key "white" is {record["white"]}, expected 1 to {WHITE}')
    try:
        get_spec(record["model"])
    except InputError as error:
        raise InputError(f'"{path}": the key "model": {" ".join(str(error).split())}') from None
    return record


def read_classes(run: str | Path) -> tuple[str, ...]:
    """The names in a RUN's classes.json.

    Raises:
        InputError: it is missing, or no list of different names.
    """
    path = Path(os.path.expanduser(run)) / CLASSES
    names = read_json(path, run=run)
    if not isinstance(names, list) or len(names) < 2 or not all(isinstance(name, str) for name in names):
        raise InputError(f'"{path}" must hold a list of at least two names')
    if len(set(names)) < len(names):
        raise InputError(f'"{path}" names a class twice')
    return tuple(names)


def check_resumed(path: Path, now: Mapping[str, Any], *, finished: str | None = None) -> None:
    """Whether the run whose config.json is at `path` was started as `now` describes; a missing one is no matter.

    Args:
        now: "options", and perhaps "data_sha256" and "weights_sha256".
        finished: where the run lies, if it is whole.
    Raises:
        InputError: other options, photos or weights; names the first that differs.
    """
    if not path.is_file():
        return
    try:
        before = read_json(path)
        options = recorded_options(TrainConfig()) | before["options"]
        pairs = [(name, options[name], new) for name, new in now["options"].items() if name not in _FREE]
        pairs += [(name, before.get(name), now[name]) for name in ("data_sha256", "weights_sha256") if name in now]
    except (InputError, KeyError, TypeError, AttributeError):
        raise InputError(f'"{path}" is damaged: start anew with --overwrite') from None
    for name, old, new in pairs:
        if old != new and finished is not None:
            raise InputError(
                f'"{finished}" is finished and has {name} {old!r}, not {new!r}: train on from it with --init-from '
                f'"{finished}" and another --out, or start anew with --overwrite'
            )
        if old != new:
            raise InputError(
                f"the interrupted run has {name} {old!r}, not {new!r}: give --resume what it was started with, "
                "or start anew with --overwrite"
            )


def check_repeated(before: Recorded, now: Mapping[str, Any]) -> None:
    """Whether what a repeated run reads is what the recorded one read.

    Raises:
        InputError: the photos or the weights at the recorded place are others.
    """
    if before.data_sha256 not in (None, now["data_sha256"]):
        raise InputError(
            f'the photos in "{now["data"]}" are not those that the run was trained on (SHA-256 '
            f"{now['data_sha256'][:12]}…, not {before.data_sha256[:12]}…): give DATA as well to train on them"
        )
    same = all(
        now["options"][name] == recorded_options(before.options)[name] for name in ("model", "weights", "init_from")
    )
    if same and before.weights_sha256 not in (None, now["weights_sha256"]):
        raise InputError(
            f"the weights of {now['model']} have the SHA-256 {now['weights_sha256'][:12]}…, the run was trained on "
            f"{before.weights_sha256[:12]}…: give --weights or --init-from"
        )


def read_json(path: str | Path, *, run: str | Path | None = None) -> Any:
    """A JSON file, perhaps of a `run`, that somebody may have edited.

    Raises:
        InputError: it is missing, no regular file, too large, or no JSON.
    """
    path = Path(path)
    try:
        return json.loads(read_regular(path, most=_MAX_JSON).decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        if run is None:
            raise InputError(f'cannot read "{path}": {error.strerror}') from None
        reason = "it is a file" if isinstance(error, NotADirectoryError) else f"it has no {path.name}"
        raise InputError(f'"{run}" is no RUN: {reason}; `tljax train DATA --out RUN` makes one') from None
    except OSError as error:
        raise InputError(f'cannot read "{path}": {error.strerror or error}') from None
    except (ValueError, RecursionError) as error:
        raise InputError(f'"{path}" is no JSON: {error}') from None


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(os.path.expanduser(path)).absolute())
