"""From labelled photos to a RUN: features, the probe, perhaps fine-tuning, and everything written down."""

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tljax.data.images import DecodeError, decode
from tljax.data.source import Source
from tljax.data.sources import open_source
from tljax.data.splits import duplicates, split
from tljax.errors import InputError
from tljax.models.network import Network
from tljax.progress import Track, untracked
from tljax.transfer import metrics
from tljax.transfer.checkpoint import save
from tljax.transfer.config import DEFAULT_EPOCHS, TrainConfig, make_config
from tljax.transfer.features import Features, extract
from tljax.transfer.folder import CONFIG, check_out, run_folder, write_json, write_skipped
from tljax.transfer.journal import append
from tljax.transfer.loop import finetune
from tljax.transfer.prediction import predict
from tljax.transfer.probe import fit_probe, predict_probs
from tljax.transfer.record import check_resumed, describe, write_page
from tljax.transfer.run import load_backbone, run_spec, with_head

TINY = 64
"""Pictures whose short side is at most this many pixels count as tiny: icons, digits, letters."""
_TINY_SIZE = 96


def train(
    data: str | Path,
    out: str | Path,
    config: TrainConfig | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    dry_run: bool = False,
    track: Track = untracked,
    **options: Any,
) -> dict[str, Any]:
    """Trains a classifier on labelled photos and writes a RUN folder: `train("photos", "run")`.

    The RUN appears when it is whole. A fine-tuning run that is cut off leaves `OUT.partial`, which `resume`
    continues from its last saved step, to the result that an unbroken run gives, bit for bit.

    Args:
        data: a folder with a folder of photos for each class, "digits", "textures" or "tfds:NAME".
        out: the RUN to write.
        config, options: see `TrainConfig`; options win.
        overwrite: replace a RUN that is there.
        dry_run: only say what would be done; writes nothing.
    Returns:
        mode, model, classes, train_images, val_images, skipped ({file, reason} each), duplicates ({train, other}
        files each), val_accuracy, val_balanced_accuracy, val_ece, val_loss, l2, image_size, seconds, out; after
        fine-tuning also probe_val_accuracy and epochs. For a dry run the accuracies are None.
    Raises:
        InputError: bad options or data; an `out` that exists or cannot be written; a loss that is not finite.
        OSError: the disk filled up.
    """
    began = time.monotonic()
    config = make_config(config, **options)
    check_out(out, overwrite=overwrite, resume=resume)
    source = open_source(data, labels_csv=config.labels)
    shares = split(source, val_fraction=config.val_fraction, seed=config.seed)
    result = {
        "mode": config.mode,
        "model": config.model,
        "classes": list(source.classes),
        "train_images": len(shares["train"]),
        "val_images": len(shares["val"]),
        "skipped": [],
        **dict.fromkeys(("val_accuracy", "val_balanced_accuracy", "val_ece")),
        "out": str(out),
    }
    if dry_run:
        return {**result, "dry_run": True, "options": asdict(config), "seconds": round(time.monotonic() - began, 3)}
    with run_folder(out, overwrite=overwrite, resume=resume) as folder:
        result |= _train(source, str(data), config, folder, began, resume=resume, track=track)
        return result


def _train(
    source: Source, data: str, config: TrainConfig, folder: Path, began: float, *, resume: bool, track: Track
) -> dict[str, Any]:
    """Fills `folder`; the entries of `train`'s result."""
    backbone, digest = load_backbone(config.model, config.weights)
    tiny = config.mode == "finetune" and _tiny(source)
    size = config.image_size or (_TINY_SIZE if tiny else backbone.spec.input_size)
    backbone = backbone.replace(dtype=config.dtype, spec=replace(backbone.spec, input_size=size))
    features, shares = _extract(backbone, source, config, track)
    described = describe(config, backbone.spec, data, source, features, digest)
    check_resumed(folder / CONFIG, described)
    write_json(folder / CONFIG, described)
    write_json(folder / "classes.json", list(source.classes))
    write_skipped(folder / "skipped.csv", features.skipped)

    rows = {int(i): row for row, i in enumerate(features.index)}
    values = {name: features.values[[rows[int(i)] for i in where]] for name, where in shares.items()}
    labels = {name: source.labels[where] for name, where in shares.items()}
    probe = fit_probe(
        values["train"],
        labels["train"],
        classes=source.classes,
        l2=config.l2,
        balanced=config.balanced,
        seed=config.seed,
    )
    spec = run_spec(backbone.spec, source.classes, backbone.spec.input_size)
    net = with_head(backbone, spec, {"kernel": probe.kernel, "bias": probe.bias})
    probs, index, extra = predict_probs(probe, values["val"]), shares["val"], {}
    if config.mode == "finetune":
        before = metrics.accuracy(probs.argmax(1), labels["val"])
        net = finetune(net, source, shares, config, folder, tiny=tiny, resume=resume, track=track)
        probs, index, _ = predict(net, source, index, batch_size=config.batch_size)
        labels["val"] = source.labels[index]
        extra = {"probe_val_accuracy": before, "epochs": config.epochs or DEFAULT_EPOCHS}
        save(folder / "checkpoint", jax.device_get(net.variables))
    else:
        append(folder / "metrics.jsonl", *probe.path)
        save(folder / "checkpoint", {"kernel": probe.kernel, "bias": probe.bias})

    digests = dict(zip(map(int, features.index), features.digests, strict=True))
    measured = metrics.summarise(probs, labels["val"], source.classes)
    result = {
        "train_images": len(shares["train"]),
        "val_images": len(labels["val"]),
        "skipped": [{"file": one.file, "reason": one.reason} for one in features.skipped],
        "duplicates": [{"train": one, "other": other} for one, other in duplicates(source, digests, shares)],
        "val_accuracy": measured["accuracy"],
        "val_balanced_accuracy": measured["balanced_accuracy"],
        "val_ece": measured["ece"],
        "val_loss": measured["log_loss"],
        "l2": probe.l2,
        "image_size": backbone.spec.input_size,
        **extra,
        "seconds": round(time.monotonic() - began, 3),
    }
    append(folder / "metrics.jsonl", {"final": {name: result[name] for name in result if name.startswith("val_")}})
    write_page(folder, net, source, index, probs, probe, {**described, **result})
    return result | {"seconds": round(time.monotonic() - began, 3)}


def _extract(
    backbone: Network, source: Source, config: TrainConfig, track: Track
) -> tuple[Features, dict[str, np.ndarray]]:
    """Features of all photos that can be read, and their split into "train" and "val"."""
    drawn = {"val_fraction": config.val_fraction, "seed": config.seed}
    shares = split(source, **drawn)
    wanted = np.sort(np.concatenate([shares["train"], shares["val"]]))
    features = extract(backbone, source, wanted, batch_size=config.batch_size, track=track)
    unreadable = np.setdiff1d(wanted, features.index)
    if not len(features.index):
        first = features.skipped[0]
        raise InputError(f'none of the {len(wanted)} photos can be read: "{first.file}": {first.reason}')
    try:
        shares = split(source, **drawn, skip=unreadable)
    except InputError as error:
        raise InputError(f"{error} ({len(unreadable)} of {len(wanted)} photos cannot be read)") from None
    return features, {name: shares[name] for name in ("train", "val")}


def _tiny(source: Source) -> bool:
    """Whether the pictures (eight of them are looked at) have a short side of at most `TINY` pixels."""
    sides = []
    for i in np.linspace(0, len(source.files) - 1, 8).astype(int):
        try:
            picture = source.read(int(i))
            picture = decode(picture) if isinstance(picture, bytes) else picture
        except (DecodeError, OSError):
            continue
        sides.append(min(picture.shape[:2]))
    return bool(sides) and max(sides) <= TINY
