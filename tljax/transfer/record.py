"""What a run writes down about itself: config.json and report.html."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from tljax import __version__
from tljax.data.images import decode, preprocess
from tljax.data.source import Source
from tljax.errors import InputError
from tljax.models.network import Network
from tljax.models.spec import ModelSpec
from tljax.report import run_page
from tljax.transfer.config import Recorded, TrainConfig
from tljax.transfer.features import Features
from tljax.transfer.metrics_log import read_journal
from tljax.transfer.probe import Probe
from tljax.transfer.run import read_classes
from tljax.transfer.run_folder import CONFIG, JOURNAL

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "pillow")
_FLAGS = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")
_FREE = ("save_every", "skip_nonfinite")
"""Options that a resumed run may change."""
_MISTAKES = 12
_LAYERS = 4
_CURVE_POINTS = 200


def describe(
    config: TrainConfig, spec: ModelSpec, data: str, source: Source, features: Features, weights_sha256: str
) -> dict[str, Any]:
    """The content of config.json: what is needed to load the run, to repeat it, and to see where it was made."""
    lines = sorted(
        f"{source.classes[source.labels[i]]}\t{digest}"
        for i, digest in zip(features.index, features.digests, strict=True)
    )
    text = "\n".join(lines).encode("utf-8", "backslashreplace")
    return {
        "tljax": __version__,
        "model": config.model,
        "mode": config.mode,
        "dtype": config.dtype,
        "image_size": spec.input_size,
        "weights_file": _absolute(config.weights),
        "weights_sha256": weights_sha256,
        "data": data,
        "data_sha256": hashlib.sha256(text).hexdigest(),
        "options": recorded_options(config),
        "versions": {"python": platform.python_version(), "tljax": __version__, **_versions()},
        "git_commit": git_commit(),
        "devices": [device.device_kind for device in jax.devices()],
        "platform": f"{platform.system()} {platform.machine()}",
        "flags": {name: value for name, value in sorted(os.environ.items()) if name in _FLAGS or name[:4] == "JAX_"},
    }


def recorded_options(config: TrainConfig) -> dict[str, Any]:
    """The options as config.json has them: paths are absolute, so that they hold wherever a command is given."""
    options = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}
    return options | {"weights": _absolute(config.weights), "labels": config.labels and os.path.abspath(config.labels)}


def recorded_data(data: str, config: TrainConfig) -> str:
    """What config.json says of the data: the name of a bundled set, or an absolute path."""
    named = data in ("digits", "textures") or data.startswith("tfds:")
    return data if named and config.labels is None else os.path.abspath(data)


def check_resumed(path: Path, now: Mapping[str, Any]) -> None:
    """Whether the run whose config.json is at `path` was started as `now` describes; a missing one is no matter.

    Args:
        now: "options", and perhaps "data_sha256" and "weights_sha256".
    Raises:
        InputError: other options, photos or weights; names the first that differs.
    """
    if not path.is_file():
        return
    try:
        before = json.loads(path.read_text("utf-8"))
        pairs = [(name, before["options"].get(name), new) for name, new in now["options"].items() if name not in _FREE]
        pairs += [(name, before.get(name), now[name]) for name in ("data_sha256", "weights_sha256") if name in now]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f'"{path}" is damaged: start anew with --overwrite') from None
    for name, old, new in pairs:
        if old != new:
            raise InputError(
                f"the interrupted run has {name} {old!r}, not {new!r}: give --resume what it was started with, "
                "or start anew with --overwrite"
            )


def finished(path: Path, config: TrainConfig) -> dict[str, Any]:
    """What `train` returned for the RUN at `path`, but for "seconds" and "out".

    Raises:
        InputError: it was trained with other options, or does not say what it came to.
    """
    check_resumed(path / CONFIG, {"options": recorded_options(config)})
    found = next((line["final"] for line in read_journal(path / JOURNAL) if "final" in line), None)
    if found is None:
        raise InputError(f'"{path}" is there already, and its {JOURNAL} is damaged: give another --out')
    return {"mode": config.mode, "model": config.model, "classes": list(read_classes(path)), **found}


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
    same = all(now["options"][name] == recorded_options(before.options)[name] for name in ("model", "weights"))
    if same and before.weights_sha256 not in (None, now["weights_sha256"]):
        raise InputError(
            f"the weights of {now['model']} have the SHA-256 {now['weights_sha256'][:12]}…, the run was trained on "
            f"{before.weights_sha256[:12]}…: give --weights"
        )


def git_commit() -> str | None:
    """The commit of the checkout that this code runs from, with "-dirty" after it where files differ; else None."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        found = subprocess.run(command, env=plain, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def write_page(
    folder: Path,
    net: Network,
    source: Source,
    index: Int[np.ndarray, " n"],
    probs: Float[np.ndarray, "n c"],
    probe: Probe,
    result: Mapping[str, Any],
) -> None:
    """Writes report.html: how good the run is on the photos at `index`, and where it is wrong."""
    labels = source.labels[index]
    photo = _photo(net, source, int(index[0]))
    run_page.write(
        folder / "report.html",
        {
            "title": f"{len(source.classes)} classes from {result['train_images']:,} photos",
            "model": result["model"],
            "mode": result["mode"],
            "data": result["data"],
            "classes": source.classes,
            "seconds": result["seconds"],
            "train_images": result["train_images"],
            "val_images": result["val_images"],
            "probs": probs,
            "labels": labels,
            "l2": probe.l2,
            "l2_path": probe.path if len(probe.path) > 1 and probe.path[0]["val_accuracy"] is not None else None,
            "curve": _curve(folder) if result["mode"] == "finetune" else None,
            "wrong": _mistakes(net, source, index, labels, probs),
            "photo": photo,
            "feature_maps": _feature_maps(net, photo),
            "skipped": [(one["file"], one["reason"]) for one in result["skipped"]],
            "duplicates": [(one["train"], one["other"]) for one in result["duplicates"]],
        },
    )


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).expanduser().absolute())


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def _photo(net: Network, source: Source, i: int) -> np.ndarray:
    """What the network sees of a photo that is known to be readable."""
    picture = source.read(i)
    return preprocess(decode(picture) if isinstance(picture, bytes) else picture, net.spec)


def _mistakes(net: Network, source: Source, index, labels, probs) -> list[dict[str, Any]]:
    """The photos that it gets wrong, the surest first."""
    top = probs.argmax(1)
    wrong = np.flatnonzero(top != labels)
    wrong = wrong[np.argsort(-probs[wrong, top[wrong]], kind="stable")][:_MISTAKES]
    return [
        {
            "image": _photo(net, source, int(index[row])),
            "file": source.files[index[row]],
            "true": source.classes[labels[row]],
            "predicted": source.classes[top[row]],
            "prob": float(probs[row, top[row]]),
        }
        for row in wrong
    ]


def _feature_maps(net: Network, photo: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Maps of a few layers from the image to the last convolution, for one photo."""
    maps = net.intermediates(net.variables, photo[None].astype(np.float32) / 255)
    names = list(maps)
    chosen = dict.fromkeys(names[i] for i in np.linspace(0, len(names) - 1, _LAYERS).astype(int))
    return [(name, np.asarray(maps[name][0])) for name in chosen]


def _curve(folder: Path) -> list[dict[str, Any]]:
    """Training loss and accuracy, averaged over stretches of steps, and validation accuracy by epoch."""
    lines = read_journal(folder / JOURNAL)
    steps = [line for line in lines if "loss" in line]
    stretches = np.array_split(np.arange(len(steps)), min(_CURVE_POINTS, len(steps)))
    curve = [
        {
            "step": steps[stretch[-1]]["step"],
            "loss": float(np.mean([steps[i]["loss"] for i in stretch])),
            "accuracy": float(np.mean([steps[i]["accuracy"] for i in stretch])),
        }
        for stretch in stretches
    ]
    return curve + [{"step": line["step"], "val_accuracy": line["val_accuracy"]} for line in lines if "epoch" in line]
