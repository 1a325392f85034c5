"""A finished RUN: read back as a network, and measured on other photos."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tljax import metrics
from tljax.data.sources import open_source
from tljax.errors import InputError, match_name
from tljax.files import read_regular
from tljax.models.network import Network, abstract_variables, for_inference, make_network
from tljax.models.spec import ModelSpec, get_spec, list_models
from tljax.progress import Track, untracked
from tljax.transfer.checkpoint import restore
from tljax.transfer.prediction import predict
from tljax.transfer.run_folder import CONFIG
from tljax.weights.fetch import fetch
from tljax.weights.load import load_pretrained, weights_digest

_MAX_JSON = 1 << 24
_KEYS = {"model": str, "mode": str, "dtype": str, "image_size": int, "weights_file": str | None, "weights_sha256": str}


def load_run(run: str | Path) -> Network:
    """The classifier in a RUN folder: a network whose classes are yours.

    Raises:
        InputError: no RUN, a damaged one, or one edited by hand (names the key); the backbone's weights are
            missing or are not those that it was trained on.
    """
    record = read_record(run)
    spec = run_spec(get_spec(record["model"]), read_classes(run), record["image_size"])
    checkpoint = Path(run) / "checkpoint"
    if record["mode"] == "finetune":
        variables = restore(checkpoint, abstract_variables(spec))
        return make_network(spec, variables, dtype=record["dtype"])
    head = {
        "kernel": jax.ShapeDtypeStruct((spec.feature_dim, len(spec.classes)), jnp.float32),
        "bias": jax.ShapeDtypeStruct((len(spec.classes),), jnp.float32),
    }
    stored = restore(checkpoint, head)
    backbone, _ = load_backbone(record["model"], record["weights_file"], expected=record["weights_sha256"])
    return with_head(backbone.replace(dtype=record["dtype"]), spec, stored)


def evaluate(
    run: str | Path,
    data: str | Path,
    *,
    labels: str | Path | None = None,
    batch_size: int = 32,
    track: Track = untracked,
) -> dict[str, Any]:
    """How good a RUN is on labelled photos; its classes are matched by name, without case.

    Where the data brings a split, its test photos are measured, or else its validation photos: never those that
    it gives for training.

    Args:
        run: a RUN folder.  data: as for `train`; it may lack classes of the RUN.  labels: a table of labels.
    Returns:
        accuracy, balanced_accuracy, macro_f1, ece, log_loss, per_class_accuracy, confusion (rows true, columns
        predicted, in the order of classes), classes, images, skipped ({file, reason} each).
    Raises:
        InputError: no RUN; a class that the RUN does not have; no photo that can be read.
    """
    net = load_run(run)
    source = open_source(data, labels_csv=labels, min_classes=1)
    own = np.array([_match(name, net.spec.classes) for name in source.classes], np.int64)
    indices = source.splits.get("test", source.splits.get("val", np.arange(len(source.labels))))
    indices = indices[source.labels[indices] >= 0]
    probs, index, skipped = predict(net, source, indices, batch_size=batch_size, track=track)
    if not len(index):
        raise InputError(
            f'no photo in "{data}" can be read: {skipped[0].reason}' if skipped else f'no labelled photo in "{data}"'
        )
    result = metrics.summarise(probs, own[source.labels[index]], net.spec.classes)
    return {**result, "skipped": [{"file": one.file, "reason": one.reason} for one in skipped]}


def read_record(run: str | Path) -> dict[str, Any]:
    """The entries of a RUN's config.json, checked as far as loading needs them.

    Raises:
        InputError: no RUN, no JSON, or a wrong entry; names the key.
    """
    path = Path(run) / CONFIG
    record = _read_json(run, path)
    if not isinstance(record, dict):
        raise InputError(f'"{path}" must hold an object with the keys {", ".join(_KEYS)}')
    for key, kind in _KEYS.items():
        if key not in record:
            raise InputError(f'"{path}": the key "{key}" is missing')
        if not isinstance(record[key], kind) or isinstance(record[key], bool):
            raise InputError(f'"{path}": the key "{key}" is {record[key]!r}, which is of the wrong type')
    choices = {"mode": ("linear_probe", "finetune"), "dtype": ("float32", "bfloat16")}
    for key, allowed in choices.items():
        if record[key] not in allowed:
            raise InputError(f'"{path}": the key "{key}" is {record[key]!r}, expected {" or ".join(allowed)}')
    if not set(record["weights_sha256"]) <= set("0123456789abcdef"):
        raise InputError(
            f'"{path}": the key "weights_sha256" is {record["weights_sha256"]!r}, expected hexadecimal digits'
        )
    if not 32 <= record["image_size"] <= 4096:
        raise InputError(f'"{path}": the key "image_size" is {record["image_size"]}, expected 32 to 4096')
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
    path = Path(run) / "classes.json"
    names = _read_json(run, path)
    if not isinstance(names, list) or len(names) < 2 or not all(isinstance(name, str) for name in names):
        raise InputError(f'"{path}" must hold a list of at least two names')
    if len(set(names)) < len(names):
        raise InputError(f'"{path}" names a class twice')
    return tuple(names)


def load_backbone(model: str, weights: str | Path | None, *, expected: str = "") -> tuple[Network, str]:
    """A pretrained network and the SHA-256 of its weight file.

    Raises:
        InputError: as `load_pretrained`; the hash is not the `expected` one (names both).
    """
    path = fetch(get_spec(model)) if weights is None else Path(weights).expanduser()
    try:
        if not path.is_file():
            raise OSError("there is no such file")
        digest = weights_digest(path)
    except OSError as error:
        raise InputError(f'cannot read the weights "{path}": {error.strerror or error}') from None
    if expected and digest != expected:
        raise InputError(
            f'the weights "{path}" have the SHA-256 {digest[:12]}…, the RUN was trained on {expected[:12]}…: '
            'put that file there, or set "weights_file" in config.json to where it is'
        )
    return load_pretrained(model, weights=path), digest


def run_spec(base: ModelSpec, classes: tuple[str, ...], image_size: int) -> ModelSpec:
    """The specification of a trained run: the backbone's, with a linear head for `classes`."""
    return replace(base, classes=classes, head="linear", input_size=image_size)


def with_head(backbone: Network, spec: ModelSpec, head: Mapping[str, Any]) -> Network:
    """The backbone without its own head and with {"kernel" (D, C), "bias" (C,)} on `embed`."""
    wanted = abstract_variables(spec)
    params = {name: backbone.variables["params"][name] for name in wanted["params"] if name != "head"}
    stats = {name: backbone.variables["batch_stats"][name] for name in wanted["batch_stats"]}
    params["head"] = {name: jnp.asarray(head[name], jnp.float32) for name in ("kernel", "bias")}
    return make_network(spec, {"params": params, "batch_stats": stats}, dtype=backbone.dtype)


def _match(name: str, classes: tuple[str, ...]) -> int:
    if name.strip().isdigit() and name.strip() not in classes:
        raise InputError(
            f'no class named "{name}": the RUN has {", ".join(classes[:8])}{", …" if len(classes) > 8 else ""}'
        )
    return match_name(name, classes)


def _read_json(run: str | Path, path: Path) -> Any:
    try:
        return json.loads(read_regular(path, most=_MAX_JSON).decode("utf-8"))
    except FileNotFoundError:
        raise InputError(f'"{run}" is no RUN: it has no {path.name}; `tljax train DATA --out RUN` makes one') from None
    except NotADirectoryError:
        raise InputError(f'"{run}" is no RUN: it is a file') from None
    except OSError as error:
        raise InputError(f'cannot read "{path}": {error.strerror or error}') from None
    except (ValueError, RecursionError) as error:
        raise InputError(f'"{path}" is no JSON: {error}') from None


def load_network(name: str, *, folded: bool = True) -> Network:
    """A RUN folder where there is one of that name, a pretrained model otherwise.

    Args:
        folded: batch norm is folded into the convolutions: faster, but its statistics are gone.

    Raises:
        InputError: as `load_run` and `load_pretrained`.
    """
    is_run = name not in list_models() and Path(name).is_dir()
    net = load_run(name) if is_run else load_pretrained(name)
    return for_inference(net) if folded else net


def chosen_network(model: str, run: str | None, *, folded: bool = True) -> tuple[str, Network]:
    """The network of a RUN where one is given, else the pretrained `model`, with the name it goes by.

    Raises:
        InputError: no such RUN; as `load_network`.
    """
    name = model if run is None else run
    if run is not None and not Path(run).is_dir():
        raise InputError(f'no run "{run}": name a folder that `tljax train` wrote')
    return os.path.basename(os.path.normpath(name)), load_network(name, folded=folded)
