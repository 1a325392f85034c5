"""Fine-tuning from start to end: batches in a fixed order, steps, validation, saved states, and the resumed run."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int

from tljax import metrics
from tljax.data.loader import batches
from tljax.data.source import Source
from tljax.distributed import collectives, join, sharding
from tljax.errors import InputError
from tljax.models.network import Network
from tljax.models.spec import ModelSpec
from tljax.progress import Track, untracked
from tljax.transfer.augment import augmentation
from tljax.transfer.checkpoint import Checkpoints
from tljax.transfer.config import DEFAULT_EPOCHS, DEFAULT_LR, TINY_LR, TrainConfig
from tljax.transfer.freeze import finetune_rules, label_variables, moving_layers, trainable_labels
from tljax.transfer.metrics_log import Journal, NotFinite, Plan
from tljax.transfer.prediction import make_predictor
from tljax.transfer.preemption import Preempted, until
from tljax.transfer.run_folder import JOURNAL, STATES
from tljax.transfer.train_step import (
    TrainState,
    balanced_weights,
    init_state,
    make_optimizer,
    make_train_step,
    state_variables,
)
from tljax.trees import partition


def make_plan(config: TrainConfig, photos: int, *, tiny: bool = False, processes: int = 1) -> Plan:
    """The steps of a run on `photos` training photos, which may be tiny (see `TrainConfig`).

    Raises:
        InputError: the processes cannot share a batch evenly.
    """
    if config.batch_size % processes or photos < processes:
        raise InputError(
            f"{processes} processes cannot share batches of {min(config.batch_size, photos)} evenly: give a "
            f"--batch-size that is a multiple of {processes}"
        )
    batch_size = min(config.batch_size, photos - photos % processes)
    epoch_steps = photos // batch_size
    steps = epoch_steps * (config.epochs or DEFAULT_EPOCHS)
    default = TINY_LR if tiny else DEFAULT_LR
    lr = default if config.lr is None else config.lr
    return Plan(batch_size, epoch_steps, steps, lr, warmup=math.ceil(steps / 10))


def finetune(
    net: Network,
    source: Source,
    split: dict[str, np.ndarray],
    config: TrainConfig,
    folder: Path,
    *,
    tiny: bool,
    track: Track,
    asked: threading.Event,
    states: Path | None = None,
) -> Network:
    """Trains the head and the blocks that are not frozen, from the last state that is saved, if there is one.

    Whenever it is stopped and called again, it ends as if it had not been stopped, bit for bit: the order of the
    photos follows from seed and epoch, what is random from seed and step, and a line of the journal is written
    before the state that follows it. Of several processes each reads its own part of every batch.

    Args:
        net: with a linear head, as the probe left it.
        split: indices of readable photos, "train" and "val".
        tiny: the pictures are; decides the defaults of `flip` and `lr`.
        folder: holds `JOURNAL`.
        states: the folder of the saved states, the same for all processes; by default `STATES` beside `folder`.
        asked: once it is set, the state is saved and the run stops.
    Raises:
        InputError: nothing left to train; a photo that has become unreadable; a saved state of other options.
        NotFinite: a loss or gradient that is not finite; the state before that step is saved.
        Preempted: `asked` was set.
    """
    plan = make_plan(config, len(split["train"]), tiny=tiny, processes=join.processes()[1])
    mesh = sharding.data_mesh()
    flip = not tiny if config.flip is None else config.flip
    step, state, frozen = _prepare(net, source.labels[split["train"]], config, plan, mesh, flip=flip)
    collectives.file_from_first(folder / JOURNAL)
    log = Journal(folder / JOURNAL, plan, files=source.files, skip_nonfinite=config.skip_nonfinite)
    with Checkpoints(states or folder.parent / STATES, best=log.best) as checkpoints:
        if checkpoints.latest() is not None:
            state = checkpoints.restore(state)
        validate = _validation(net, source, split["val"], plan.batch_size)
        key = jax.random.key(config.seed)
        epochs = plan.steps // plan.epoch_steps
        try:
            for epoch in range(log.rewind(int(state.step)), epochs):
                began, start = time.monotonic(), int(state.step)
                feed = _epoch_batches(source, split["train"], net.spec, plan, config.seed, epoch, start)
                left = (epoch + 1) * plan.epoch_steps - start
                for number, batch, index in track(feed, f"epoch {epoch + 1} of {epochs}", left):
                    if join.stops_at(number, asked.is_set()):
                        raise Preempted
                    state, measures = step(state, frozen, sharding.spread(mesh, batch), key=key, number=number)
                    log.step(number, measures, index)
                    checkpoints.write()
                    if number % config.save_every == 0:
                        checkpoints.take(state)
                _save(checkpoints, log, state)
                alone = join.processes()[1] == 1  # several stop together, in front of a step
                found = validate(state_variables(state, frozen), until(asked, untracked) if alone else untracked)
                log.epoch(epoch + 1, found, time.monotonic() - began)
        except (Preempted, NotFinite):
            _save(checkpoints, log, state)
            raise
        if config.keep == "best":
            state = checkpoints.restore(state, log.best())
    return net.replace(variables=jax.device_get(state_variables(state, frozen)))


def _save(checkpoints: Checkpoints, log: Journal, state: TrainState) -> None:
    """Writes the last step's line, then its state; the state also where the line says that the step has failed."""
    try:
        log.flush()
    finally:
        checkpoints.take(state)
        checkpoints.write()


def _prepare(
    net: Network, train_labels: Int[np.ndarray, " n"], config: TrainConfig, plan: Plan, mesh: Mesh, *, flip: bool
) -> tuple[Callable, TrainState, Any]:
    """The step, the state before the first one, and the frozen parameters."""
    if config.update_stats and plan.batch_size % mesh.size:
        raise InputError(
            f"{mesh.size} devices cannot share batches of {plan.batch_size} evenly, which --update-stats needs: "
            f"give a --batch-size that is a multiple of {mesh.size}"
        )
    labels = label_variables(net.variables, finetune_rules(net.spec, config.freeze))
    trained, _ = partition(labels["params"], labels["params"], trainable_labels(labels))
    optimizer = make_optimizer(
        trained,
        lr=plan.lr,
        steps=plan.steps,
        warmup=plan.warmup,
        depth_decay=config.depth_decay,
        weight_decay=config.weight_decay,
    )
    weights = balanced_weights(train_labels, len(net.spec.classes)) if config.balanced else None
    step = make_train_step(
        net.apply_train,
        optimizer,
        size=net.spec.input_size,
        setting=augmentation(config.augment, flip=flip),
        label_smoothing=config.label_smoothing,
        class_weights=weights,
        update_stats=moving_layers(labels) if config.update_stats else (),
        skip_nonfinite=config.skip_nonfinite,
        mesh=mesh,
    )
    return step, *sharding.replicate(mesh, init_state(net.variables, labels["params"], optimizer))


def _validation(net: Network, source: Source, indices: np.ndarray, batch_size: int) -> Callable:
    """`(variables, track) -> {"val_accuracy", "val_loss"}`."""
    run = make_predictor(net, source, indices, batch_size=batch_size)

    def validate(variables, track):
        probs, index, _ = run(variables, track)
        labels = source.labels[index]
        return {
            "val_accuracy": metrics.accuracy(probs.argmax(1), labels),
            "val_loss": metrics.log_loss(probs, labels),
        }

    return validate


def _epoch_batches(
    source: Source, indices: np.ndarray, spec: ModelSpec, plan: Plan, seed: int, epoch: int, start: int
) -> Iterator[tuple[int, dict[str, np.ndarray], np.ndarray]]:
    """(number of the step from 1, batch, places of its photos) for an epoch's steps after `start`.

    The pictures come with the margin that is cut off in prediction, so that crops have room. Of several processes each
    has its part of the batch, and the places of all.
    """
    process, processes = join.processes()
    order = np.random.default_rng([seed, epoch]).permutation(np.sort(indices))
    first, last = start - epoch * plan.epoch_steps, plan.epoch_steps
    wide = replace(spec, input_size=spec.resize_size, crop_pct=1.0)
    chosen = order[first * plan.batch_size : last * plan.batch_size]
    feed = batches(source, chosen, wide, batch_size=plan.batch_size // processes, shard=(process, processes))
    for number, batch, index in zip(count(start + 1), feed, chosen.reshape(-1, plan.batch_size), strict=False):
        if batch.skipped:
            gone = batch.skipped[0]
            raise InputError(f'"{gone.file}" could be read when the run began and cannot now: {gone.reason}')
        yield number, {"images": batch.images, "labels": batch.labels, "mask": batch.mask}, index
