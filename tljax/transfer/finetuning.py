"""Fine-tuning from start to end: photos in the order that the key draws, steps, validation."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int

from tljax import metrics
from tljax.data.loader import batches
from tljax.data.source import Source
from tljax.data.sources import Labelled, labelled_source
from tljax.distributed import sharding
from tljax.errors import InputError
from tljax.models.network import Network
from tljax.models.spec import ModelSpec
from tljax.transfer.augment import augmentation
from tljax.transfer.config import DEFAULT_EPOCHS, DEFAULT_LR, FinetuneConfig, check_config
from tljax.transfer.freeze import finetune_rules, label_variables, moving_layers, trainable_labels
from tljax.transfer.head import with_unknown
from tljax.transfer.history import History, NotFinite, Plan, best_step, epochs
from tljax.transfer.hooks import Hooks
from tljax.transfer.prediction import make_predictor
from tljax.transfer.train_step import (
    TrainState,
    balanced_weights,
    guard,
    init_state,
    make_optimizer,
    make_train_step,
    state_variables,
)
from tljax.trees import partition

_FEW_STEPS = 20


def finetune(
    net: Network,
    train: Labelled,
    val: Labelled | None = None,
    *,
    config: FinetuneConfig = FinetuneConfig(),
    key: jax.Array,
    hooks: Hooks = Hooks(),
    shard: tuple[int, int] = (0, 1),
) -> tuple[Network, list[dict[str, Any]]]:
    """Trains the head and the blocks that are not frozen.

    Equal arguments give equal results on the same machine: the order of the photos follows from key and epoch, what is
    random in a step from key and step. So a run that `hooks` lets begin where another one was stopped ends as if it had
    not been, bit for bit.

    Args:
        net: with a linear head: `with_probe(net, probe)`, or a trained run.
        train: (photos, labels), or a labelled source. Photos are a uint8 array (n, h, w, 3), a list of paths, ... (see
            `data.sources.photo_source`), labels integers (n,), indices into `net.spec.classes`.
        val: photos that measure each epoch; None measures none.
        config: how to learn.
        key: of the order of photos, augmentation and dropout.
        hooks: what else happens; nothing by default.
        shard: (i, n): this process reads the i-th of n parts of each batch, and all of them call this alike.
    Returns:
        The network with the trained variables, and its history, plain dicts in order. For each step: step, lr, loss,
        accuracy, grad_norm (or nonfinite and files, where it was passed over); for each epoch: epoch, step, train_loss,
        train_accuracy, seconds and, measured on `val`, val_accuracy and val_loss.
    Raises:
        InputError: a network without a linear head, nothing left to train, labels that are no classes, a photo that
            cannot be read, or options out of range.
        NotFinite: a loss or gradient that is not finite; nothing of that step is in the state that `hooks` saves.

    >>> config = tljax.transfer.FinetuneConfig(epochs=2, batch_size=8, lr=0.01)
    >>> tuned, history = tljax.transfer.finetune(net, (photos, labels), config=config, key=jax.random.key(0))
    >>> [line["step"] for line in history if "loss" in line][:2]
    [1, 2]
    """
    check_config(config)
    if net.spec.head != "linear":
        raise InputError(f"{net.spec.name} has its own head: give it one for your classes, with_probe(net, probe)")
    net = with_unknown(net, None).replace(calibration=None)
    train = labelled_source(train, net.spec.classes)
    plan = make_plan(config, len(train.files), processes=shard[1])
    mesh = sharding.data_mesh()
    step, state, frozen = _prepare(net, train.labels, config, plan, mesh)
    validate = _validation(net, val, config)
    if config.keep == "best" and val is None:
        raise InputError('keep="best" needs photos to validate by: give val')
    order_key, step_key = jax.random.split(key)
    state, lines = hooks.start(state)
    history = History(plan, lines, record=hooks.record, files=train.files, skip_nonfinite=config.skip_nonfinite)
    best_before = best_step(lines) if config.keep == "best" else None
    best = None if best_before is None else hooks.restore(state, best_before)
    total = plan.steps // plan.epoch_steps
    try:
        for epoch in range(len(epochs(lines)), total):
            began, first = time.monotonic(), int(state.step)
            order = _order(order_key, epoch, len(train.files))
            feed = _epoch_batches(train, order, net.spec, plan, first, first - epoch * plan.epoch_steps, shard)
            left = (epoch + 1) * plan.epoch_steps - first
            for number, batch, index in hooks.track(feed, f"epoch {epoch + 1} of {total}", left):
                hooks.before_step(number)
                state, measures = step(state, frozen, sharding.spread(mesh, batch), key=step_key, number=number)
                history.step(number, measures, index)
                hooks.after_step(number, state)
            history.flush()
            hooks.save(state)
            validated = validate(state_variables(state, frozen), hooks.track_validation)
            history.epoch(epoch + 1, validated, time.monotonic() - began)
            if config.keep == "best" and best_step(lines) == int(state.step):
                best = jax.tree.map(jnp.copy, state)
    except (NotFinite, SystemExit):
        try:
            history.flush()
        finally:
            hooks.save(state)
        raise
    variables = state_variables(state if best is None else best, frozen)
    return net.replace(variables=jax.device_get(variables)), lines


def few_steps(config: FinetuneConfig, photos: int) -> str | None:
    """A hint, where fine-tuning on `photos` training photos takes fewer than 20 steps."""
    steps = max(photos // config.batch_size, 1) * (config.epochs or DEFAULT_EPOCHS)
    if steps >= _FEW_STEPS:
        return None
    return f"fine-tuning takes {steps} steps, few to learn by: a smaller --batch-size or more --epochs makes more"


def make_plan(config: FinetuneConfig, photos: int, *, processes: int = 1) -> Plan:
    """The steps of a run on `photos` training photos.

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
    lr = DEFAULT_LR if config.lr is None else config.lr
    return Plan(batch_size, epoch_steps, steps, lr, warmup=math.ceil(steps / 10))


def _prepare(
    net: Network, train_labels: Int[np.ndarray, " n"], config: FinetuneConfig, plan: Plan, mesh: Mesh
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
    step = make_train_step(
        net.apply_train,
        optimizer,
        size=net.spec.input_size,
        setting=augmentation(config.augment, flip=config.flip is not False),
        adversarial=config.adversarial,
        label_smoothing=config.label_smoothing,
        class_weights=balanced_weights(train_labels, len(net.spec.classes)) if config.balanced else None,
        update_stats=moving_layers(labels) if config.update_stats else (),
        skip_nonfinite=config.skip_nonfinite,
        mesh=mesh,
    )
    return guard(step, mesh), *sharding.replicate(mesh, init_state(net.variables, labels["params"], optimizer))


def validations(config: FinetuneConfig) -> int:
    """How often a run shows its validation photos: after each epoch, and for its result."""
    return 1 + (config.epochs or DEFAULT_EPOCHS)


def _validation(net: Network, val: Labelled | None, config: FinetuneConfig) -> Callable:
    """`(variables, track) -> {"val_accuracy", "val_loss"}`; {} where there is nothing to measure by."""
    if val is None:
        return lambda variables, track: {}
    source = labelled_source(val, net.spec.classes)
    predict = make_predictor(net, source, batch_size=config.batch_size, passes=validations(config))

    def validate(variables, track):
        probs, _, index, _ = predict(variables, track)
        labels = source.labels[index]
        return {
            "val_accuracy": metrics.accuracy(probs.argmax(1), labels),
            "val_loss": metrics.log_loss(probs, labels),
        }

    return validate


def _order(key: jax.Array, epoch: int, photos: int) -> Int[np.ndarray, " n"]:
    """The order of the photos in an epoch; drawn on the host, where nothing has to be compiled."""
    words = np.asarray(jax.random.key_data(key)).reshape(-1)
    return np.random.default_rng([*words.tolist(), epoch]).permutation(photos)


def _epoch_batches(
    source: Source,
    order: Int[np.ndarray, " n"],
    spec: ModelSpec,
    plan: Plan,
    start: int,
    done: int,
    shard: tuple[int, int],
) -> Iterator[tuple[int, dict[str, np.ndarray], np.ndarray]]:
    """(number of the step from 1, batch, places of its photos) for an epoch's steps after number `start`.

    The pictures come with the margin that is cut off in prediction, so that crops have room. Of several processes each
    has its part of the batch, and the places of all.

    Args:
        done: how many steps of the epoch lie behind.
    """
    wide = replace(spec, input_size=spec.resize_size, crop_pct=1.0)
    chosen = order[done * plan.batch_size : plan.epoch_steps * plan.batch_size]
    feed = batches(source, chosen, wide, batch_size=plan.batch_size // shard[1], shard=shard)
    for number, batch, index in zip(count(start + 1), feed, chosen.reshape(-1, plan.batch_size), strict=False):
        if batch.skipped:
            gone = batch.skipped[0]
            raise InputError(f'"{gone.file}" cannot be read: {gone.reason}')
        yield number, {"images": batch.images, "labels": batch.labels, "mask": batch.mask}, index
