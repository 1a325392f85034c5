"""The stages of a run: prepare the backbone, extract features, fit, and write down what it came to."""

import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from tljax import metrics
from tljax.data.images import DecodeError
from tljax.data.source import Source, fingerprint
from tljax.data.splits import conflicts, duplicates, split
from tljax.distributed import collectives, join, sharding
from tljax.errors import InputError
from tljax.files import write_json, write_text
from tljax.models.layered import with_layers
from tljax.models.network import Network
from tljax.progress import Track, untracked
from tljax.transfer.card import CARD, run_card
from tljax.transfer.checkpoint import save
from tljax.transfer.config import DEFAULT_EPOCHS, TINY_LR, TrainConfig
from tljax.transfer.config_file import Recorded, check_repeated, check_resumed, describe
from tljax.transfer.features import Features, extract
from tljax.transfer.finetuning import finetune, validations
from tljax.transfer.head import seen_as, with_probe
from tljax.transfer.history import skipped_steps
from tljax.transfer.inputs import load_start
from tljax.transfer.layer_choice import AUTO, with_best_layer
from tljax.transfer.metrics_log import append
from tljax.transfer.prediction import predict_source
from tljax.transfer.preemption import Stop, until
from tljax.transfer.probe import FOLDS, Probe, fit_folds, fit_probe, predict_held_out, predict_probs
from tljax.transfer.resume import resumable
from tljax.transfer.run_folder import (
    CLASSES,
    CONFIG,
    FIXES,
    LOG,
    RUN,
    SETS,
    SKIPPED,
    STATES,
    TRAINED,
    UNKNOWN,
    write_skipped,
)
from tljax.transfer.run_report import write_page
from tljax.transfer.trust.arrays_file import write_arrays
from tljax.transfer.trust.fold_sets import calibrate_folds
from tljax.transfer.trust.learning_curve import learning_curve
from tljax.transfer.trust.sets import calibrate_sets
from tljax.transfer.trust.unknown import fit_unknown

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
        stop: is set by SIGTERM and Ctrl-C.
        began: the moment, by the monotonic clock.
    """

    config: TrainConfig
    source: Source
    data: str
    before: Recorded | None
    folder: Path
    partial: Path
    stop: Stop
    track: Track
    began: float

    def seconds(self) -> float:
        """How long the run has taken until now."""
        return round(time.monotonic() - self.began, 3)


@dataclass(frozen=True)
class Fitted:
    """The classifier, what it says of the validation photos at `index`, and the history of fine-tuning.

    Where all photos train, these are the training photos, and what the probe says of each fold held out.

    Attributes:
        probe_accuracy: of the probe, on these photos.
        curve: the probe's `LearningCurve`, where there is one.
        unknown: from `fit_unknown`. sets: from `calibrate_sets`, empty where no photo is new to the network.
    """

    net: Network
    probe: Probe
    probe_accuracy: float
    curve: Mapping[str, Any] | None
    probs: np.ndarray
    index: np.ndarray
    lines: Sequence[Mapping[str, Any]] = ()
    unknown: Mapping[str, np.ndarray] = field(default_factory=dict)
    sets: Mapping[str, np.ndarray] = field(default_factory=dict)


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


def best_stage(job: Job, backbone: Network, features: Features, train: Int[np.ndarray, " n"]) -> Network:
    """The backbone on the stage that serves its training photos best."""
    config, own = job.config, features.values[np.searchsorted(features.index, train)]
    options = {"l2": config.l2, "balanced": config.balanced, "seed": config.seed, "batch_size": config.batch_size}
    return with_best_layer(backbone, job.source.subset(train), own, track=until(job.stop, job.track), **options)


def fit(job: Job, backbone: Network, features: Features, shares: Shares, *, tiny: bool) -> Fitted:
    """The probe, and the network that goes on from it where the run fine-tunes."""
    config, source = job.config, job.source
    rows = {name: np.searchsorted(features.index, shares[name]) for name in ("train", "val") if name in shares}
    seen = {name: (features.values[places], features.labels[places]) for name, places in rows.items()}
    groups = None if source.groups is None else source.groups[shares["train"]]
    options = {
        "classes": source.classes,
        "balanced": config.balanced,
        "seed": config.seed,
        "groups": groups,
        "mesh": sharding.data_mesh(),
    }
    probe = fit_probe(*seen["train"], l2=config.l2, **options)
    probe = probe._replace(**collectives.arrays_from_first({"kernel": probe.kernel, "bias": probe.bias}))
    net = with_probe(backbone, probe)
    curve = collectives.from_first(lambda: _curve(config, seen, probe))
    if "val" in shares:
        probs, index = predict_probs(probe, seen["val"][0]), shares["val"]
        sets = calibrate_sets(probs, source.labels[index])
    else:
        folds = fit_folds(*seen["train"], l2=config.l2, **options)
        probs, places = predict_held_out(folds, seen["train"][0])
        index = shares["train"][places]
        sets = calibrate_folds(folds, *seen["train"])
    accuracy = metrics.accuracy(probs.argmax(1), source.labels[index])
    checkpoint = job.partial / RUN / "checkpoint"
    if config.mode == "linear_probe":
        append(job.folder / LOG, *probe.path)
        head = {"kernel": probe.kernel, "bias": probe.bias}
        save(checkpoint, head if config.init_from is None else jax.device_get(net.variables))
        known = _known(job, *seen["train"], val=seen["val"][0] if "val" in seen else None, groups=groups)
        return Fitted(net, probe, accuracy, curve, probs, index, unknown=known, sets=sets)
    config = tiny_defaults(config) if tiny else config
    states, log = job.partial / STATES, job.folder / LOG
    train, val = source.subset(shares["train"]), source.subset(shares["val"]) if "val" in shares else None
    with resumable(log, states, save_every=config.save_every, stop=job.stop, track=job.track) as hooks:
        key, shard = jax.random.key(config.seed), join.processes()
        net, lines = finetune(net, train, val, config=config, key=key, hooks=hooks, shard=shard)
    if val is not None:
        quiet = until(job.stop, untracked)
        passes = validations(config)  # as while it learned, so that no other program is compiled
        probs, places, _ = predict_source(net, val, batch_size=config.batch_size, track=quiet, passes=passes)
        index = shares["val"][places]
    new = val is not None and config.keep == "last"  # photos that neither trained nor chose the network
    sets = calibrate_sets(probs, source.labels[index]) if new else {}
    save(checkpoint, jax.device_get(net.variables))
    known = _tuned_known(job, backbone, net, features, rows)
    return Fitted(net, probe, accuracy, curve, probs, index, lines, known, sets)


def _curve(config: TrainConfig, seen: Mapping[str, tuple[Any, Any]], probe: Probe) -> dict[str, Any] | None:
    """What fewer and more photos would give, from features and labels of the photos that train and validate."""
    options = {"classes": len(probe.classes), "balanced": config.balanced, "seed": config.seed}
    curve = learning_curve(*seen["train"], val=seen.get("val"), l2=probe.l2, **options)
    return None if curve is None else curve.entries()


def _known(job: Job, features: np.ndarray, labels: np.ndarray, **options: Any) -> dict[str, np.ndarray]:
    """What tells photos of none of the classes, alike in all processes."""
    config = job.config
    known = fit_unknown(
        features, labels, classes=len(job.source.classes), rate=config.unknown_rate, seed=config.seed, **options
    )
    return collectives.arrays_from_first(known)


def _tuned_known(
    job: Job, backbone: Network, net: Network, features: Features, rows: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The same after fine-tuning, whose network knows the photos that it was trained on: only others set the threshold.

    The tuned layers stand in the backbone's own tree, and all photos are shown again: that program is compiled already.
    """
    tuned = {name: value for name, value in net.variables["params"].items() if name != "head"}
    params = {**backbone.variables["params"], **tuned}
    net = backbone.replace(variables={"params": params, "batch_stats": net.variables["batch_stats"]})
    options = {"batch_size": job.config.batch_size, "skip": True, "track": until(job.stop, untracked)}
    again = extract(net, job.source.subset(features.index), **options)
    learned = np.isin(again.index, rows["train"])
    known = again.values[learned], again.labels[learned]
    return _known(job, *known, val=again.values[~learned], folds=0) if "val" in rows else _known(job, *known)


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


def tiny_defaults(config: TrainConfig) -> TrainConfig:
    """The configuration with the defaults of fine-tuning that suit tiny pictures."""
    return replace(config, lr=TINY_LR if config.lr is None else config.lr, flip=bool(config.flip))
