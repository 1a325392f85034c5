"""The stages of a run: prepare the backbone, extract features, fit, and write down what it came to."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from tljax import metrics
from tljax.data.images import DecodeError
from tljax.data.source import Source, fingerprint
from tljax.data.splits import duplicates, split
from tljax.distributed import collectives, join, sharding
from tljax.errors import InputError
from tljax.files import write_json, write_text
from tljax.models.network import Network
from tljax.progress import Track, untracked
from tljax.transfer.card import CARD, run_card
from tljax.transfer.checkpoint import save
from tljax.transfer.config import DEFAULT_EPOCHS, TINY_LR, TrainConfig
from tljax.transfer.config_file import Recorded, check_repeated, check_resumed, describe
from tljax.transfer.features import Features, extract
from tljax.transfer.finetuning import finetune
from tljax.transfer.head import with_probe
from tljax.transfer.history import skipped_steps
from tljax.transfer.metrics_log import append
from tljax.transfer.prediction import predict_source
from tljax.transfer.preemption import until
from tljax.transfer.probe import Probe, fit_probe, predict_probs
from tljax.transfer.resume import resumable
from tljax.transfer.run import load_backbone
from tljax.transfer.run_folder import CLASSES, CONFIG, LOG, RUN, STATES, write_skipped
from tljax.transfer.run_report import write_page

TINY = 64
"""Pictures whose short side is at most this many pixels count as tiny: icons, digits, letters."""
_TINY_SIZE = 96

Shares = Mapping[str, Int[np.ndarray, " n"]]


@dataclass(frozen=True)
class Job:
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

    def seconds(self) -> float:
        """How long the run has taken until now."""
        return round(time.monotonic() - self.began, 3)


@dataclass(frozen=True)
class Fitted:
    """The classifier, what it says of the validation photos at `index`, and the history of fine-tuning.

    Attributes:
        probe_accuracy: of the probe, on the validation photos.
    """

    net: Network
    probe: Probe
    probe_accuracy: float
    probs: np.ndarray
    index: np.ndarray
    lines: Sequence[Mapping[str, Any]] = ()


def run_stages(job: Job) -> dict[str, Any]:
    """Fills the folder of the run, one stage after the other; the entries of `train`'s result."""
    backbone, digest, tiny = prepare(job)
    features, shares = extract_features(job, backbone)
    described = describe(job.config, backbone.spec, job.data, job.source, features, digest)
    check_resumed(job.folder / CONFIG, described)
    if job.before is not None:
        check_repeated(job.before, described)
    write_json(job.folder / CONFIG, described)
    write_json(job.folder / CLASSES, list(job.source.classes))
    write_skipped(job.folder / "skipped.csv", features.skipped)
    fitted = fit(job, backbone, features, shares, tiny=tiny)
    return write(job, features, shares, fitted, described)


def prepare(job: Job) -> tuple[Network, str, bool]:
    """The backbone at the size that the run uses, its weights' SHA-256, and whether fine-tuning sees tiny pictures."""
    config, source = job.config, job.source
    backbone, digest = load_backbone(config.model, config.weights)
    collectives.check_same(photos=fingerprint(source), weights=digest, options=repr(config))
    if not job.partial.is_dir():
        raise InputError(f'"{job.partial}", which process 0 made, is not here: --out must be on a disk that all share')
    tiny = config.mode == "finetune" and _tiny(source)
    size = config.image_size or (_TINY_SIZE if tiny else backbone.spec.input_size)
    return backbone.replace(dtype=config.dtype, spec=replace(backbone.spec, input_size=size)), digest, tiny


def extract_features(job: Job, backbone: Network) -> tuple[Features, Shares]:
    """The features of all photos that can be read, and their split: "train" and "val", places in the source."""
    source, config = job.source, job.config
    drawn = {"val_fraction": config.val_fraction, "seed": config.seed}
    wanted = np.sort(np.concatenate([where for name, where in split(source, **drawn).items() if name != "test"]))
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
        return features, split(source, **drawn, skip=unreadable)
    except InputError as error:
        raise InputError(f"{error} ({len(unreadable)} of {len(wanted)} photos cannot be read)") from None


def fit(job: Job, backbone: Network, features: Features, shares: Shares, *, tiny: bool) -> Fitted:
    """The probe, and the network that goes on from it where the run fine-tunes."""
    config, source, val = job.config, job.source, shares["val"]
    rows = {name: np.searchsorted(features.index, shares[name]) for name in ("train", "val")}
    probe = fit_probe(
        features.values[rows["train"]],
        features.labels[rows["train"]],
        classes=source.classes,
        l2=config.l2,
        balanced=config.balanced,
        seed=config.seed,
        mesh=sharding.data_mesh(),
    )
    probe = probe._replace(**collectives.arrays_from_first({"kernel": probe.kernel, "bias": probe.bias}))
    net, probs = with_probe(backbone, probe), predict_probs(probe, features.values[rows["val"]])
    accuracy = metrics.accuracy(probs.argmax(1), source.labels[val])
    if config.mode == "linear_probe":
        append(job.folder / LOG, *probe.path)
        save(job.partial / RUN / "checkpoint", {"kernel": probe.kernel, "bias": probe.bias})
        return Fitted(net, probe, accuracy, probs, val)
    config = tiny_defaults(config) if tiny else config
    states, log = job.partial / STATES, job.folder / LOG
    with resumable(log, states, save_every=config.save_every, stop=job.stop, track=job.track) as hooks:
        key, shard = jax.random.key(config.seed), join.processes()
        photos = source.subset(shares["train"]), source.subset(val)
        net, lines = finetune(net, *photos, config=config, key=key, hooks=hooks, shard=shard)
    quiet = until(job.stop, untracked)
    probs, places, _ = predict_source(net, photos[1], batch_size=config.batch_size, track=quiet)
    save(job.partial / RUN / "checkpoint", jax.device_get(net.variables))
    return Fitted(net, probe, accuracy, probs, val[places], lines)


def write(job: Job, features: Features, shares: Shares, fitted: Fitted, described: Mapping[str, Any]) -> dict[str, Any]:
    """Measures the run, ends its log and writes its page."""
    source, config = job.source, job.config
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
        result |= {
            "probe_val_accuracy": fitted.probe_accuracy,
            "epochs": config.epochs or DEFAULT_EPOCHS,
            "skipped_steps": skipped_steps(fitted.lines),
        }
    append(job.folder / LOG, {"final": result})
    if join.first():
        story = {**described, **result, "seconds": job.seconds()}
        write_text(job.folder / CARD, run_card(job.folder, name=job.partial.name.removesuffix(".partial")))
        write_page(job.folder, fitted.net, source, fitted.index, fitted.probs, fitted.probe, fitted.lines, story)
    return result | {"seconds": job.seconds()}


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
