"""What a run learns: the probe, the network that goes on from it, and what it knows of photos that it did not see."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from tljax import metrics
from tljax.distributed import collectives, join, sharding
from tljax.models.network import Network
from tljax.progress import untracked
from tljax.transfer.checkpoint import save
from tljax.transfer.config import TINY_LR, TrainConfig
from tljax.transfer.features import Features, extract
from tljax.transfer.finetuning import finetune, validations
from tljax.transfer.head import with_probe
from tljax.transfer.job import Fitted, Job, Shares
from tljax.transfer.layer_choice import with_best_layer
from tljax.transfer.metrics_log import append
from tljax.transfer.prediction import predict_source
from tljax.transfer.preemption import until
from tljax.transfer.probe import Probe, fit_folds, fit_probe, predict_held_out, predict_probs
from tljax.transfer.resume import resumable
from tljax.transfer.run_folder import LOG, STATES
from tljax.transfer.trust.fold_sets import calibrate_folds
from tljax.transfer.trust.learning_curve import learning_curve
from tljax.transfer.trust.sets import calibrate_sets
from tljax.transfer.trust.unknown import fit_unknown

Seen = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Features and labels of the photos of "train" and perhaps "val"."""


def best_stage(job: Job, backbone: Network, features: Features, train: Int[np.ndarray, " n"]) -> Network:
    """The backbone on the stage that serves its training photos best."""
    config, own = job.config, features.values[np.searchsorted(features.index, train)]
    options = {"l2": config.l2, "balanced": config.balanced, "seed": config.seed, "batch_size": config.batch_size}
    return with_best_layer(backbone, job.source.subset(train), own, track=until(job.stop, job.track), **options)


def fit(job: Job, backbone: Network, features: Features, shares: Shares, *, tiny: bool) -> Fitted:
    """The probe, and the network that goes on from it where the run fine-tunes."""
    rows = {name: np.searchsorted(features.index, shares[name]) for name in ("train", "val") if name in shares}
    seen = {name: (features.values[places], features.labels[places]) for name, places in rows.items()}
    groups = None if job.source.groups is None else job.source.groups[shares["train"]]
    fitted = _probe(job, backbone, seen, shares, groups)
    if job.config.mode == "finetune":
        fitted = _tune(job, fitted, shares, tiny=tiny)
        return replace(fitted, unknown=_tuned_known(job, backbone, fitted.net, features, rows))
    append(job.folder / LOG, *fitted.probe.path)
    head = {"kernel": fitted.probe.kernel, "bias": fitted.probe.bias}
    save(job.checkpoint, head if job.config.init_from is None else jax.device_get(fitted.net.variables))
    val = seen["val"][0] if "val" in seen else None
    return replace(fitted, unknown=_known(job, *seen["train"], val=val, groups=groups))


def _probe(job: Job, backbone: Network, seen: Seen, shares: Shares, groups: Int[np.ndarray, " n"] | None) -> Fitted:
    """The linear probe, and what it says of photos that it did not see."""
    config, source = job.config, job.source
    options = {
        "classes": source.classes,
        "balanced": config.balanced,
        "seed": config.seed,
        "groups": groups,
        "mesh": sharding.data_mesh(),
    }
    probe = fit_probe(*seen["train"], l2=config.l2, **options)
    probe = probe._replace(**collectives.arrays_from_first({"kernel": probe.kernel, "bias": probe.bias}))
    if "val" in shares:
        probs, index = predict_probs(probe, seen["val"][0]), shares["val"]
        sets = calibrate_sets(probs, source.labels[index])
    else:
        folds = fit_folds(*seen["train"], l2=config.l2, **options)
        probs, places = predict_held_out(folds, seen["train"][0])
        index = shares["train"][places]
        sets = calibrate_folds(folds, *seen["train"])
    accuracy = metrics.accuracy(probs.argmax(1), source.labels[index])
    curve = collectives.from_first(lambda: _curve(config, seen, probe))
    return Fitted(with_probe(backbone, probe), probe, accuracy, curve, probs, index, sets=sets)


def _tune(job: Job, fitted: Fitted, shares: Shares, *, tiny: bool) -> Fitted:
    """What fine-tuning makes of it, and what that says of the validation photos."""
    config, source = tiny_defaults(job.config) if tiny else job.config, job.source
    train, val = source.subset(shares["train"]), source.subset(shares["val"]) if "val" in shares else None
    states, log = job.partial / STATES, job.folder / LOG
    with resumable(log, states, save_every=config.save_every, stop=job.stop, track=job.track) as hooks:
        key, shard = jax.random.key(config.seed), join.processes()
        net, lines = finetune(fitted.net, train, val, config=config, key=key, hooks=hooks, shard=shard)
    probs, index = fitted.probs, fitted.index
    if val is not None:
        quiet = until(job.stop, untracked)
        passes = validations(config)  # as while it learned, so that no other program is compiled
        probs, places, _ = predict_source(net, val, batch_size=config.batch_size, track=quiet, passes=passes)
        index = shares["val"][places]
    new = val is not None and config.keep == "last"  # photos that neither trained nor chose the network
    sets = calibrate_sets(probs, source.labels[index]) if new else {}
    save(job.checkpoint, jax.device_get(net.variables))
    return replace(fitted, net=net, probs=probs, index=index, lines=lines, sets=sets)


def tiny_defaults(config: TrainConfig) -> TrainConfig:
    """The configuration with the defaults of fine-tuning that suit tiny pictures."""
    return replace(config, lr=TINY_LR if config.lr is None else config.lr, flip=bool(config.flip))


def _curve(config: TrainConfig, seen: Seen, probe: Probe) -> dict[str, Any] | None:
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
