"""From labelled photos to a RUN: features, the probe, perhaps fine-tuning, and everything written down."""

import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tljax import metrics
from tljax.data.images import DecodeError
from tljax.data.source import Source, fingerprint
from tljax.data.sources import open_source
from tljax.data.splits import duplicates, split
from tljax.distributed import collectives, join, sharding
from tljax.errors import InputError
from tljax.models.network import Network
from tljax.progress import Track, untracked
from tljax.transfer.checkpoint import save
from tljax.transfer.config import DEFAULT_EPOCHS, TINY_LR, TrainConfig, make_config
from tljax.transfer.config_file import (
    Recorded,
    check_repeated,
    check_resumed,
    describe,
    read_classes,
    read_recorded,
    recorded_data,
    recorded_options,
)
from tljax.transfer.features import Features, extract
from tljax.transfer.finetuning import finetune
from tljax.transfer.head import with_probe
from tljax.transfer.history import skipped_steps
from tljax.transfer.metrics_log import append, read_log
from tljax.transfer.prediction import predict_source
from tljax.transfer.preemption import Preempted, on_sigterm, until
from tljax.transfer.probe import Probe, fit_probe, predict_probs
from tljax.transfer.resume import resumable
from tljax.transfer.run import load_backbone
from tljax.transfer.run_folder import (
    CLASSES,
    CONFIG,
    LOG,
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
from tljax.transfer.run_report import write_page

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
    data, before = _data(data, before, config)
    resumes = resume and not overwrite and not dry_run
    done = collectives.from_first(
        lambda: _finished(check_out(out, overwrite=overwrite, resume=resume), config, resumes)
    )
    if done:
        return done | {"out": str(out), "seconds": _since(began)}
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
        return {**result, "dry_run": True, "options": recorded_options(config), "seconds": _since(began)}
    own = run_folder(out, overwrite=overwrite, resume=resume) if join.first() else scratch_folder()
    try:
        with own as folder, on_sigterm() as stop:
            partial = partial_folder(Path(out).expanduser().absolute())
            job = _Job(config, source, recorded_data(data, config), before, folder, partial, stop, track, began)
            return result | _run(job)
    except Preempted:
        print(f'tljax: stopped by SIGTERM; the same command with --resume goes on with "{out}"', file=sys.stderr)
        raise


@dataclass(frozen=True)
class _Job:
    """What the parts of a run share.

    Attributes:
        data: how config.json names the photos of `source`.
        before: of the run that is repeated, if there is one, what must be as it was.
        folder: the RUN to be; of several processes each but the first has one that is dropped.
        partial: OUT.partial, the same for all processes.
        stop: is set by SIGTERM.
        began: the moment, by the monotonic clock.
    """

    config: TrainConfig
    source: Source
    data: str
    before: Recorded | None
    folder: Path
    partial: Path
    stop: threading.Event
    track: Track
    began: float


@dataclass(frozen=True)
class _Extracted:
    """The features of all photos that can be read, their index into the source, and for "train" and "val" the places
    in the source, the features and the labels."""

    features: Features
    shares: dict[str, np.ndarray]
    values: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]


@dataclass(frozen=True)
class _Fitted:
    """The classifier and what it says of the validation photos at `index`; `lines` is the history of fine-tuning."""

    net: Network
    probe: Probe
    probs: np.ndarray
    index: np.ndarray
    lines: list[dict[str, Any]]


def _run(job: _Job) -> dict[str, Any]:
    """Fills the folder of the run; the entries of `train`'s result."""
    backbone, digest, tiny = _prepare(job)
    extracted = _extract(job, backbone)
    described = describe(job.config, backbone.spec, job.data, job.source, extracted.features, digest)
    check_resumed(job.folder / CONFIG, described)
    if job.before is not None:
        check_repeated(job.before, described)
    write_json(job.folder / CONFIG, described)
    write_json(job.folder / CLASSES, list(job.source.classes))
    write_skipped(job.folder / "skipped.csv", extracted.features.skipped)
    fitted = _fit(job, backbone, extracted, tiny=tiny)
    return _write(job, extracted, fitted, described)


def _prepare(job: _Job) -> tuple[Network, str, bool]:
    """The backbone at the size that the run uses, its weights' SHA-256, and whether fine-tuning sees tiny pictures."""
    config, source = job.config, job.source
    backbone, digest = load_backbone(config.model, config.weights)
    collectives.check_same(photos=fingerprint(source), weights=digest, options=repr(config))
    if not job.partial.is_dir():
        raise InputError(f'"{job.partial}", which process 0 made, is not here: --out must be on a disk that all share')
    tiny = config.mode == "finetune" and _tiny(source)
    size = config.image_size or (_TINY_SIZE if tiny else backbone.spec.input_size)
    return backbone.replace(dtype=config.dtype, spec=replace(backbone.spec, input_size=size)), digest, tiny


def _extract(job: _Job, backbone: Network) -> _Extracted:
    source, config = job.source, job.config
    drawn = {"val_fraction": config.val_fraction, "seed": config.seed}
    shares = split(source, **drawn)
    wanted = np.sort(np.concatenate([shares["train"], shares["val"]]))
    watched = until(job.stop, job.track)
    features = extract(
        backbone, source.subset(wanted), batch_size=config.batch_size, cache=True, skip=True, track=watched
    )
    features = replace(features, index=wanted[features.index])
    unreadable = np.setdiff1d(wanted, features.index)
    if not len(features.index):
        first = features.skipped[0]
        raise InputError(f'none of the {len(wanted)} photos can be read: "{first.file}": {first.reason}')
    try:
        shares = split(source, **drawn, skip=unreadable)
    except InputError as error:
        raise InputError(f"{error} ({len(unreadable)} of {len(wanted)} photos cannot be read)") from None
    shares = {name: shares[name] for name in ("train", "val")}
    values = {name: features.values[np.searchsorted(features.index, where)] for name, where in shares.items()}
    return _Extracted(features, shares, values, {name: source.labels[where] for name, where in shares.items()})


def _fit(job: _Job, backbone: Network, extracted: _Extracted, *, tiny: bool) -> _Fitted:
    """The probe, and the network that goes on from it where the run fine-tunes."""
    config, shares = job.config, extracted.shares
    probe = fit_probe(
        extracted.values["train"],
        extracted.labels["train"],
        classes=job.source.classes,
        l2=config.l2,
        balanced=config.balanced,
        seed=config.seed,
        mesh=sharding.data_mesh(),
    )
    probe = probe._replace(**collectives.arrays_from_first({"kernel": probe.kernel, "bias": probe.bias}))
    net, probs = with_probe(backbone, probe), predict_probs(probe, extracted.values["val"])
    if config.mode == "linear_probe":
        append(job.folder / LOG, *probe.path)
        save(job.partial / RUN / "checkpoint", {"kernel": probe.kernel, "bias": probe.bias})
        return _Fitted(net, probe, probs, shares["val"], [])
    config = tiny_defaults(config) if tiny else config
    train_photos, val_photos = (job.source.subset(shares[name]) for name in ("train", "val"))
    states, log = job.partial / STATES, job.folder / LOG
    with resumable(log, states, save_every=config.save_every, stop=job.stop, track=job.track) as hooks:
        key, shard = jax.random.key(config.seed), join.processes()
        net, lines = finetune(net, train_photos, val_photos, config=config, key=key, hooks=hooks, shard=shard)
    quiet = until(job.stop, untracked)
    probs, places, _ = predict_source(net, val_photos, batch_size=config.batch_size, track=quiet)
    save(job.partial / RUN / "checkpoint", jax.device_get(net.variables))
    return _Fitted(net, probe, probs, shares["val"][places], lines)


def _write(job: _Job, extracted: _Extracted, fitted: _Fitted, described: dict[str, Any]) -> dict[str, Any]:
    """Measures the run, ends its log and writes its page."""
    source, config, features, shares = job.source, job.config, extracted.features, extracted.shares
    labels = source.labels[fitted.index]
    digests = dict(zip(map(int, features.index), features.digests, strict=True))
    measured = metrics.summarise(fitted.probs, labels, source.classes)
    result = {
        "train_images": len(shares["train"]),
        "val_images": len(labels),
        "skipped": [{"file": one.file, "reason": one.reason} for one in features.skipped],
        "duplicates": [{"train": one, "other": other} for one, other in duplicates(source, digests, shares)],
        "val_accuracy": measured["accuracy"],
        "val_balanced_accuracy": measured["balanced_accuracy"],
        "val_ece": measured["ece"],
        "val_loss": measured["log_loss"],
        "l2": fitted.probe.l2,
        "image_size": described["image_size"],
    }
    if config.mode == "finetune":
        before = predict_probs(fitted.probe, extracted.values["val"]).argmax(1)
        result |= {
            "probe_val_accuracy": metrics.accuracy(before, extracted.labels["val"]),
            "epochs": config.epochs or DEFAULT_EPOCHS,
            "skipped_steps": skipped_steps(fitted.lines),
        }
    append(job.folder / LOG, {"final": result})
    if join.first():
        story = {**described, **result, "seconds": _since(job.began)}
        write_page(job.folder, fitted.net, source, fitted.index, fitted.probs, fitted.probe, fitted.lines, story)
    return result | {"seconds": _since(job.began)}


def _finished(path: Path, config: TrainConfig, resumes: bool) -> dict[str, Any] | None:
    """What `train` returned for the RUN at `path`, but for "seconds" and "out", if it is there and to be gone on with.

    Raises:
        InputError: it was trained with other options, or does not say what it came to.
    """
    if not (resumes and (path / CONFIG).is_file()):
        return None
    check_resumed(path / CONFIG, {"options": recorded_options(config)})
    result = next((line["final"] for line in read_log(path / LOG) if "final" in line), None)
    if result is None:
        raise InputError(f'"{path}" is there already, and its {LOG} is damaged: give another --out')
    drop_leftovers(path)
    return {"mode": config.mode, "model": config.model, "classes": list(read_classes(path)), **result}


def _data(data: str | Path | None, before: Recorded | None, config: TrainConfig) -> tuple[str, Recorded | None]:
    """The data to train on, and what of the run that is repeated must be as it was."""
    if data is not None:
        return str(data), before and replace(before, data_sha256=None)
    if before is None or before.data is None:
        raise InputError("no DATA: give a folder of photos, digits, textures or tfds:NAME")
    same = recorded_options(before.options)["labels"] == recorded_options(config)["labels"]
    return before.data, before if same else replace(before, data_sha256=None)


def _tiny(source: Source) -> bool:
    """Whether the pictures (eight of them are looked at) have a short side of at most `TINY` pixels."""
    sides = []
    for i in np.linspace(0, len(source.files) - 1, 8).astype(int):
        try:
            sides.append(min(source.picture(int(i)).shape[:2]))
        except (DecodeError, OSError):
            continue
    return bool(sides) and max(sides) <= TINY


def tiny_defaults(config: TrainConfig) -> TrainConfig:
    """The configuration with the defaults of fine-tuning that suit tiny pictures."""
    return replace(config, lr=TINY_LR if config.lr is None else config.lr, flip=bool(config.flip))


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)
