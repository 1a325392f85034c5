"""From labelled photos to a RUN: features, the probe, perhaps fine-tuning, and everything written down."""

import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tljax import metrics
from tljax.data.images import DecodeError, decode
from tljax.data.source import Source, fingerprint
from tljax.data.sources import open_source
from tljax.data.splits import duplicates, split
from tljax.distributed import collectives, join, sharding
from tljax.errors import InputError
from tljax.models.network import Network
from tljax.progress import Track, untracked
from tljax.transfer.checkpoint import save
from tljax.transfer.config import DEFAULT_EPOCHS, Recorded, TrainConfig, make_config, read_recorded
from tljax.transfer.features import Features, extract
from tljax.transfer.finetuning import finetune
from tljax.transfer.metrics_log import append, read_journal
from tljax.transfer.prediction import predict
from tljax.transfer.preemption import Preempted, on_sigterm, until
from tljax.transfer.probe import fit_probe, predict_probs
from tljax.transfer.record import (
    check_repeated,
    check_resumed,
    describe,
    finished,
    recorded_data,
    recorded_options,
    write_page,
)
from tljax.transfer.run import load_backbone, run_spec, with_head
from tljax.transfer.run_folder import (
    CONFIG,
    JOURNAL,
    RUN,
    STATES,
    check_out,
    drop_leftovers,
    partial_folder,
    run_folder,
    scratch_folder,
    write_json,
    write_skipped,
)

TINY = 64
"""Pictures whose short side is at most this many pixels count as tiny: icons, digits, letters."""
_TINY_SIZE = 96


def train(
    data: str | Path | None,
    out: str | Path,
    config: TrainConfig | None = None,
    *,
    repeat: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    dry_run: bool = False,
    track: Track = untracked,
    **options: Any,
) -> dict[str, Any]:
    """Trains a classifier on labelled photos and writes a RUN folder: `train("photos", "run")`.

    The RUN appears when it is whole. Whenever the process is killed, the same call with `resume` goes on from the
    last saved step (in `OUT.partial`) or starts anew, and ends with the RUN that an unbroken call gives, bit for bit
    on the same machine. On SIGTERM it stops by itself, with what it has saved.

    Among several processes (`join.joined`) each calls this with the same arguments, reads its share of the photos, and
    gets the same result. All of them see the disk of `out`, to which they write checkpoints together; the rest of the
    RUN is written by the first.

    Args:
        data: a folder with a folder of photos for each class, "digits", "textures" or "tfds:NAME"; None for that of
            the run to `repeat`.
        out: the RUN to write.
        config, options: see `TrainConfig`; options win.
        repeat: the config.json of a run: its options are used where there is no `config`, and its photos and weights
            must be what they were.
        overwrite: replace a RUN that is there.
        resume: go on with an interrupted run; a finished one of the same options is returned as it is.
        dry_run: only say what would be done; writes nothing.
    Returns:
        mode, model, classes, train_images, val_images, skipped ({file, reason} each), duplicates ({train, other}
        files each), val_accuracy, val_balanced_accuracy, val_ece, val_loss, l2, image_size, seconds, out; after
        fine-tuning also probe_val_accuracy, epochs and skipped_steps. For a dry run the accuracies are None.
    Raises:
        InputError: bad options or data; an `out` that exists or cannot be written; a loss that is not finite.
        OSError: the disk filled up.
        Preempted: SIGTERM came (to the main thread), what there is to save is saved, and stderr says so.
    """
    began = time.monotonic()
    before = None if repeat is None else read_recorded(repeat)
    config = make_config(config or (before and before.options), **options)
    data, before = _what(data, before, config)
    resumes = resume and not overwrite and not dry_run
    done = collectives.from_first(
        lambda: _finished(check_out(out, overwrite=overwrite, resume=resume), config, resumes)
    )
    if done:
        return done | {"out": str(out), "seconds": round(time.monotonic() - began, 3)}
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
        seconds = round(time.monotonic() - began, 3)
        return {**result, "dry_run": True, "options": recorded_options(config), "seconds": seconds}
    own = run_folder(out, overwrite=overwrite, resume=resume) if join.first() else scratch_folder()
    try:
        with own as folder, on_sigterm() as asked:
            partial = partial_folder(Path(out).expanduser().absolute())
            result |= _train(source, recorded_data(data, config), config, folder, partial, before, began, track, asked)
    except Preempted:
        print(f'tljax: stopped by SIGTERM; the same command with --resume goes on with "{out}"', file=sys.stderr)
        raise
    return result


def _finished(path: Path, config: TrainConfig, resumes: bool) -> dict[str, Any] | None:
    """What the run at `path` came to, if there is one and it is to be gone on with."""
    if not (resumes and (path / CONFIG).is_file()):
        return None
    result = finished(path, config)
    drop_leftovers(path)
    return result


def _what(data: str | Path | None, before: Recorded | None, config: TrainConfig) -> tuple[str, Recorded | None]:
    """The data to train on, and what of the run that is repeated must be as it was."""
    if data is not None:
        return str(data), before and replace(before, data_sha256=None)
    if before is None or before.data is None:
        raise InputError("no DATA: give a folder of photos, digits, textures or tfds:NAME")
    same = recorded_options(before.options)["labels"] == recorded_options(config)["labels"]
    return before.data, before if same else replace(before, data_sha256=None)


def _train(
    source: Source,
    data: str,
    config: TrainConfig,
    folder: Path,
    partial: Path,
    before: Recorded | None,
    began: float,
    track: Track,
    asked: threading.Event,
) -> dict[str, Any]:
    """Fills `folder`, with saved states in `partial`; the entries of `train`'s result."""
    backbone, digest = load_backbone(config.model, config.weights)
    collectives.check_same(photos=fingerprint(source), weights=digest, options=repr(config))
    if not partial.is_dir():
        raise InputError(f'"{partial}", which process 0 made, is not here: --out must be on a disk that all share')
    tiny = config.mode == "finetune" and _tiny(source)
    size = config.image_size or (_TINY_SIZE if tiny else backbone.spec.input_size)
    backbone = backbone.replace(dtype=config.dtype, spec=replace(backbone.spec, input_size=size))
    features, shares = _extract(backbone, source, config, until(asked, track))
    described = describe(config, backbone.spec, data, source, features, digest)
    check_resumed(folder / CONFIG, described)
    if before is not None:
        check_repeated(before, described)
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
        mesh=sharding.data_mesh(),
    )
    spec = run_spec(backbone.spec, source.classes, backbone.spec.input_size)
    net = with_head(backbone, spec, collectives.arrays_from_first({"kernel": probe.kernel, "bias": probe.bias}))
    probs, index, extra = predict_probs(probe, values["val"]), shares["val"], {}
    if config.mode == "finetune":
        extra = {"probe_val_accuracy": metrics.accuracy(probs.argmax(1), labels["val"])}
        states = partial / STATES
        net = finetune(net, source, shares, config, folder, tiny=tiny, track=track, asked=asked, states=states)
        probs, index, _ = predict(net, source, index, batch_size=config.batch_size, track=until(asked, untracked))
        labels["val"] = source.labels[index]
        skipped_steps = sum("nonfinite" in line for line in read_journal(folder / JOURNAL))
        extra |= {"epochs": config.epochs or DEFAULT_EPOCHS, "skipped_steps": skipped_steps}
        save(partial / RUN / "checkpoint", jax.device_get(net.variables))
    else:
        append(folder / JOURNAL, *probe.path)
        save(partial / RUN / "checkpoint", {"kernel": probe.kernel, "bias": probe.bias})

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
    }
    append(folder / JOURNAL, {"final": result})
    seconds = round(time.monotonic() - began, 3)
    if join.first():
        write_page(folder, net, source, index, probs, probe, {**described, **result, "seconds": seconds})
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
