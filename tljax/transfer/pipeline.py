"""The stages of a run: prepare the backbone, extract features, fit, and write down what it came to."""

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Int

from tljax import metrics
from tljax.data.images import DecodeError
from tljax.data.source import Source, fingerprint
from tljax.data.splits import conflicts, duplicates, split
from tljax.distributed import collectives, join
from tljax.errors import InputError
from tljax.files import write_json, write_text
from tljax.models.layered import with_layers
from tljax.models.network import Network
from tljax.transfer.card import CARD, run_card
from tljax.transfer.config import DEFAULT_EPOCHS
from tljax.transfer.config_file import check_repeated, check_resumed, describe
from tljax.transfer.features import Features, extract
from tljax.transfer.fitting import best_stage, fit
from tljax.transfer.head import seen_as
from tljax.transfer.history import skipped_steps
from tljax.transfer.inputs import load_start
from tljax.transfer.job import Fitted, Job, Shares
from tljax.transfer.layer_choice import AUTO
from tljax.transfer.metrics_log import append
from tljax.transfer.preemption import until
from tljax.transfer.probe import FOLDS
from tljax.transfer.run_folder import (
    CLASSES,
    CONFIG,
    FIXES,
    LOG,
    SETS,
    SKIPPED,
    TRAINED,
    UNKNOWN,
    write_skipped,
)
from tljax.transfer.run_report import write_page
from tljax.transfer.trust.arrays_file import write_arrays

TINY = 64
"""Pictures whose short side is at most this many pixels count as tiny: icons, digits, letters."""
_TINY_SIZE = 96


def run_stages(job: Job) -> dict[str, Any]:
    """Fills the folder of the run, one stage after the other; the entries of `train`'s result."""
    backbone, digest, tiny = prepare(job)
    features, shares = extract_features(job, backbone)
    if job.config.layer == AUTO:
        backbone, last = best_stage(job, backbone, features, shares["train"]), backbone
        features, shares = (features, shares) if backbone is last else extract_features(job, backbone)
    described = describe(job.config, backbone.spec, job.data, job.source, features, digest)
    check_resumed(job.folder / CONFIG, described)
    if job.before is not None:
        check_repeated(job.before, described)
    write_json(job.folder / CONFIG, described)
    write_json(job.folder / CLASSES, list(job.source.classes))
    write_skipped(job.folder / SKIPPED, features.skipped)
    if job.config.fixes is not None:
        shutil.copyfile(job.config.fixes, job.folder / FIXES)
    trained = _digests(features, shares["train"])
    write_text(job.folder / TRAINED, "".join(f"{digest}\n" for digest in sorted(set(trained.values()))))
    fitted = fit(job, backbone, features, shares, tiny=tiny)
    return write(job, features, shares, fitted, described)


def prepare(job: Job) -> tuple[Network, str, bool]:
    """The backbone at the size that the run uses, its weights' SHA-256, and whether fine-tuning sees tiny pictures."""
    config, source = job.config, job.source
    backbone, digest = load_start(config)
    collectives.check_same(photos=fingerprint(source), weights=digest, options=repr(config))
    if not job.partial.is_dir():
        raise InputError(f'"{job.partial}", which process 0 made, is not here: --out must be on a disk that all share')
    tiny = config.mode == "finetune" and _tiny(source)
    size = config.image_size or (_TINY_SIZE if tiny else backbone.spec.input_size)
    seen = seen_as(
        backbone.spec, image_size=size, crop_mode=config.crop_mode or backbone.spec.crop_mode, white=source.white
    )
    backbone = backbone.replace(dtype=config.dtype, spec=seen)
    if config.layer is not None and config.layer != AUTO:
        backbone = with_layers(backbone, config.layer)
    return backbone, digest, tiny


def extract_features(job: Job, backbone: Network) -> tuple[Features, Shares]:
    """The features of all photos that can be read, and their split: "train" and perhaps "val", places in the source."""
    source, config = job.source, job.config
    drawn = {"val_fraction": config.val_fraction, "seed": config.seed}
    wanted = np.sort(np.concatenate([where for name, where in split(source, **drawn).items() if name != "test"]))
    watched = until(job.stop, job.track)
    features = extract(
        backbone, source.subset(wanted), batch_size=config.batch_size, cache=True, skip=True, track=watched
    )
    features = replace(features, index=wanted[features.index])
    if not len(features.index):
        first = features.skipped[0]
        raise InputError(f'none of the {len(wanted)} photos can be read: "{first.file}": {first.reason}')
    reasons = {one.file: one.reason for one in features.skipped}
    unreadable = np.setdiff1d(wanted, features.index)
    return features, split(source, **drawn, skip={int(i): reasons[source.files[i]] for i in unreadable})


def write(job: Job, features: Features, shares: Shares, fitted: Fitted, described: Mapping[str, Any]) -> dict[str, Any]:
    """Measures the run, ends its log and writes its page."""
    source, config = job.source, job.config
    digests = _digests(features, features.index)
    result = {
        "notes": list(source.notes),
        "train_images": len(shares["train"]),
        "val_images": len(fitted.index) if "val" in shares else 0,
        "skipped": [{"file": one.file, "reason": one.reason} for one in features.skipped],
        "duplicates": [{"train": one, "other": other} for one, other in duplicates(source, digests, shares)],
        "conflicts": list(map(list, conflicts(source, digests))),
        **_measured(source, shares, fitted, digests),
        "learning_curve": fitted.curve,
        "l2": fitted.probe.l2,
        "image_size": described["image_size"],
        "layer": described["layer"],
    }
    if config.mode == "finetune":
        result |= {
            "probe_val_accuracy": fitted.probe_accuracy,
            "epochs": config.epochs or DEFAULT_EPOCHS,
            "skipped_steps": skipped_steps(fitted.lines),
            "adversarial": config.adversarial,
        }
    write_arrays(job.folder / UNKNOWN, fitted.unknown)
    write_arrays(job.folder / SETS, fitted.sets)
    append(job.folder / LOG, {"final": result})
    if join.first():
        story = {**described, **result, "seconds": job.seconds()}
        write_text(job.folder / CARD, run_card(job.folder, name=job.partial.name.removesuffix(".partial")))
        measured = fitted.index, fitted.probs
        write_page(job.folder, fitted.net, source, shares["train"], *measured, fitted.probe, fitted.lines, story)
    return result | {"seconds": job.seconds()}


def _measured(source: Source, shares: Shares, fitted: Fitted, digests: Mapping[int, str]) -> dict[str, Any]:
    """How good the run is: on its validation photos, or by folds, and what copies among the photos do to that."""
    labels = source.labels[fitted.index]
    measured = metrics.summarise(fitted.probs, labels, source.classes) if len(labels) else {}
    times = Counter(digests[int(i)] for i in shares["train"])
    fresh = np.array([times[digests[int(i)]] <= ("val" not in shares) for i in fitted.index], bool)
    alone = metrics.accuracy(fitted.probs[fresh].argmax(1), labels[fresh]) if fresh.any() else None
    return {
        "val_accuracy": measured.get("accuracy"),
        "interval": measured.get("interval"),
        "val_balanced_accuracy": measured.get("balanced_accuracy"),
        "val_ece": measured.get("ece"),
        "val_loss": measured.get("log_loss"),
        "copies": int((~fresh).sum()),
        "accuracy_without_copies": alone,
        "folds": None if "val" in shares else FOLDS,
    }


def _digests(features: Features, indices: Int[np.ndarray, " n"]) -> dict[int, str]:
    """The content hash of each of the photos at `indices`, places in the source."""
    known = dict(zip(map(int, features.index), features.digests, strict=True))
    return {int(i): known[int(i)] for i in indices}


def _tiny(source: Source) -> bool:
    """Whether the pictures (eight of them are looked at) have a short side of at most `TINY` pixels."""
    sides = []
    for i in np.linspace(0, len(source.files) - 1, 8).astype(int):
        try:
            sides.append(min(source.picture(int(i)).shape[:2]))
        except (DecodeError, OSError):
            continue
    return bool(sides) and max(sides) <= TINY
