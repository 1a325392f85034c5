"""Fine-tuning from start to end: batches in a fixed order, steps, validation, saved states, and the resumed run."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from tljax.data.loader import batches
from tljax.data.source import Source
from tljax.errors import InputError
from tljax.models.network import Network
from tljax.models.spec import ModelSpec
from tljax.progress import Track
from tljax.transfer import metrics
from tljax.transfer.augment import augmentation
from tljax.transfer.checkpoint import Checkpoints
from tljax.transfer.config import DEFAULT_EPOCHS, DEFAULT_LR, TINY_LR, TrainConfig
from tljax.transfer.finetune import (
    TrainState,
    balanced_weights,
    init_state,
    make_optimizer,
    make_train_step,
    state_variables,
)
from tljax.transfer.freeze import finetune_rules, label_variables, moving_layers, trainable_labels
from tljax.transfer.journal import Journal, Plan
from tljax.transfer.prediction import make_predictor
from tljax.trees import partition

SAVE_EVERY = 100
"""Steps between saved states within an epoch; one is saved at each epoch's end as well."""


def make_plan(config: TrainConfig, photos: int, *, tiny: bool = False) -> Plan:
    """The steps of a run on `photos` training photos, which may be tiny (see `TrainConfig`)."""
    batch_size = min(config.batch_size, photos)
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
    resume: bool,
    track: Track,
) -> Network:
    """Trains the head and the blocks that are not frozen.

    Args:
        net: with a linear head, as the probe left it.
        split: indices of readable photos, "train" and "val".
        tiny: the pictures are; decides the defaults of `flip` and `lr`.
        folder: holds `metrics.jsonl` and the saved states; with `resume`, both are continued from the last
            state, and the result is what an unbroken run gives, bit for bit.
    Raises:
        InputError: nothing left to train; a loss that is not finite; a photo that has become unreadable; a
            saved state of other options.
    """
    plan = make_plan(config, len(split["train"]), tiny=tiny)
    flip = not tiny if config.flip is None else config.flip
    step, state, frozen = _prepare(net, source.labels[split["train"]], config, plan, flip=flip)
    checkpoints = Checkpoints(folder / "states")
    log = Journal(folder / "metrics.jsonl", plan)
    try:
        if resume and checkpoints.latest() is not None:
            state = checkpoints.restore(state)
        log.rewind(int(state.step))
        validate = _validation(net, source, split["val"], plan.batch_size)
        key = jax.random.key(config.seed)
        for epoch in range(int(state.step) // plan.epoch_steps, plan.steps // plan.epoch_steps):
            began, start = time.monotonic(), int(state.step)
            feed = _epoch_batches(source, split["train"], net.spec, plan, seed=config.seed, epoch=epoch, start=start)
            title = f"epoch {epoch + 1} of {plan.steps // plan.epoch_steps}"
            for number, batch in track(feed, title, (epoch + 1) * plan.epoch_steps - start):
                state, measures = step(state, frozen, batch, key=key)
                log.step(number, measures)
                if number % SAVE_EVERY == 0 and number % plan.epoch_steps:
                    log.flush()
                    checkpoints.save(number, state)
            log.flush()
            log.epoch(epoch + 1, validate(state_variables(state, frozen)), time.monotonic() - began)
            checkpoints.save(number, state)
    finally:
        checkpoints.close()
    return net.replace(variables=jax.device_get(state_variables(state, frozen)))


def _prepare(
    net: Network, train_labels: Int[np.ndarray, " n"], config: TrainConfig, plan: Plan, *, flip: bool
) -> tuple[Callable, TrainState, Any]:
    """The step, the state before the first one, and the frozen parameters."""
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
    )
    return step, *init_state(net.variables, labels["params"], optimizer)


def _validation(net: Network, source: Source, indices: np.ndarray, batch_size: int) -> Callable:
    """`variables -> {"val_accuracy", "val_loss"}`."""
    run = make_predictor(net, source, indices, batch_size=batch_size)

    def validate(variables):
        probs, index, _ = run(variables)
        labels = source.labels[index]
        return {
            "val_accuracy": metrics.accuracy(probs.argmax(1), labels),
            "val_loss": metrics.log_loss(probs, labels),
        }

    return validate


def _epoch_batches(
    source: Source, indices: np.ndarray, spec: ModelSpec, plan: Plan, *, seed: int, epoch: int, start: int
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """(number of the step from 1, batch) for an epoch's steps after `start`: the order follows from seed and epoch.

    The pictures come with the margin that is cut off in prediction, so that crops have room.
    """
    order = np.random.default_rng([seed, epoch]).permutation(np.sort(indices))
    first, last = start - epoch * plan.epoch_steps, plan.epoch_steps
    wide = replace(spec, input_size=spec.resize_size, crop_pct=1.0)
    chosen = order[first * plan.batch_size : last * plan.batch_size]
    for number, batch in enumerate(batches(source, chosen, wide, batch_size=plan.batch_size), start=start + 1):
        if batch.skipped:
            gone = batch.skipped[0]
            raise InputError(f'"{gone.file}" could be read when the run began and cannot now: {gone.reason}')
        yield number, {"images": batch.images, "labels": batch.labels, "mask": batch.mask}
