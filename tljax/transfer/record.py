"""What a run writes down about itself: config.json and report.html."""

import hashlib
import json
import os
import platform
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
from tljax.transfer.config import TrainConfig
from tljax.transfer.features import Features
from tljax.transfer.journal import read_journal
from tljax.transfer.probe import Probe

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "pillow")
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
        "weights_file": None if config.weights is None else str(Path(config.weights).expanduser().absolute()),
        "weights_sha256": weights_sha256,
        "data": data,
        "data_sha256": hashlib.sha256(text).hexdigest(),
        "options": asdict(config),
        "versions": {"python": platform.python_version(), **_versions()},
        "devices": [device.device_kind for device in jax.devices()],
        "platform": f"{platform.system()} {platform.machine()}",
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def check_resumed(path: Path, now: Mapping[str, Any]) -> None:
    """Whether the interrupted run beside `path` was started as `now` describes; a missing one is no matter.

    Raises:
        InputError: other options, photos or weights; names the first that differs.
    """
    if not path.is_file():
        return
    try:
        before = json.loads(path.read_text("utf-8"))
        pairs = [(name, before["options"].get(name), value) for name, value in now["options"].items()]
        pairs += [(name, before.get(name), now[name]) for name in ("data_sha256", "weights_sha256")]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f'"{path}" is damaged: start anew with --overwrite') from None
    for name, old, new in pairs:
        if old != (list(new) if isinstance(new, tuple) else new):
            raise InputError(
                f"the interrupted run has {name} {old!r}, not {new!r}: give --resume what it was started with, "
                "or start anew with --overwrite"
            )


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
    lines = read_journal(folder / "metrics.jsonl")
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
