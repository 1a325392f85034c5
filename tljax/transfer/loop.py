"""Fine-tuning from start to end: batches in a fixed order, steps, validation, saved states, and the resumed run."""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from tljax.data.loader import batches
from tljax.data.source import Source
from tljax.errors import InputError
from tljax.models.network import Network, for_inference
from tljax.models.spec import ModelSpec
from tljax.transfer import metrics
from tljax.transfer.augment import augmentation
from tljax.transfer.checkpoint import Checkpoints
from tljax.transfer.config import DEFAULT_EPOCHS, DEFAULT_LR, TrainConfig
from tljax.transfer.finetune import (
    balanced_weights,
    init_state,
    make_eval_step,
    make_optimizer,
    make_schedule,
    make_train_step,
    state_variables,
)
from tljax.transfer.freeze import finetune_rules, label_variables, moving_layers, trainable_labels
from tljax.trees import partition

Track = Callable[[Iterable, str, int], Iterable]
SAVE_EVERY = 100
"""Steps between saved states within an epoch; one is saved at each epoch's end as well."""


@dataclass(frozen=True)
class Plan:
    """How many steps: every batch is whole, so the photos that are left over wait for the next epoch's order.

    Attributes:
        batch_size: photos of a step; at most as many as there are.
        epoch_steps: steps of an epoch.
        steps: of the whole run.
        lr, warmup: peak learning rate of the head, and the steps until it is reached.
    """

    batch_size: int
    epoch_steps: int
    steps: int
    lr: float
    warmup: int


def make_plan(config: TrainConfig, photos: int) -> Plan:
    """The steps of a run on `photos` training photos."""
    batch_size = min(config.batch_size, photos)
    epoch_steps = photos // batch_size
    steps = epoch_steps * (config.epochs or DEFAULT_EPOCHS)
    lr = DEFAULT_LR if config.lr is None else config.lr
    return Plan(batch_size, epoch_steps, steps, lr, warmup=math.ceil(steps / 10))


def finetune(
    net: Network,
    source: Source,
    split: dict[str, np.ndarray],
    config: TrainConfig,
    folder: Path,
    *,
    flip: bool,
    resume: bool,
    track: Track,
) -> Network:
    """Trains the head and the blocks that are not frozen.

    Args:
        net: with a linear head, as the probe left it.
        split: indices of readable photos, "train" and "val".
        folder: holds `metrics.jsonl` and the saved states; with `resume`, both are continued from the last
            state, and the result is what an unbroken run gives, bit for bit.
    Raises:
        InputError: nothing left to train; a loss that is not finite; a photo that has become unreadable; a
            saved state of other options.
    """
    plan = make_plan(config, len(split["train"]))
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
    weights = balanced_weights(source.labels[split["train"]], len(source.classes)) if config.balanced else None
    step = make_train_step(
        net.apply_train,
        optimizer,
        size=net.spec.input_size,
        setting=augmentation(config.augment, flip=flip),
        label_smoothing=config.label_smoothing,
        class_weights=weights,
        update_stats=moving_layers(labels) if config.update_stats else (),
    )
    state, frozen = init_state(net.variables, labels["params"], optimizer)
    checkpoints = Checkpoints(folder / "states")
    log = Log(folder / "metrics.jsonl", plan)
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


class Log:
    """`metrics.jsonl`: a line for each step and each epoch, one step behind, so that the device never waits.

    Args:
        path: made where it is missing.
        plan: of the run; says the learning rate of a step.
    """

    def __init__(self, path: Path, plan: Plan):
        self._path = path
        self._plan = plan
        self._schedule = make_schedule(plan.lr, steps=plan.steps, warmup=plan.warmup)
        self._waiting: tuple[int, Any] | None = None

    def rewind(self, step: int) -> None:
        """Drops what was written after `step` (all of it for 0), and a line that was cut off in writing."""
        lines = [line for line in read_log(self._path) if line["step"] <= step] if step else []
        self._path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")

    def step(self, number: int, measures: Any) -> None:
        """Takes the measures of a step that the device may still be at, and writes those of the step before.

        Raises:
            InputError: the loss or the gradient of the step before is not finite.
        """
        self.flush()
        self._waiting = (number, measures)

    def flush(self) -> None:
        """Writes the step that waits; raises as `step`."""
        if self._waiting is None:
            return
        (number, measures), self._waiting = self._waiting, None
        line = {"step": number, "lr": float(self._schedule(number - 1))}
        line.update({name: float(value) for name, value in measures.items()})
        if not (math.isfinite(line["loss"]) and math.isfinite(line["grad_norm"])):
            raise InputError(
                f"the loss is {line['loss']:g} and its gradient {line['grad_norm']:g} at step {number} of "
                f"{self._plan.steps}, learning rate {line['lr']:.2g}: try --lr {self._plan.lr / 10:.1g}"
            )
        self._write(line)

    def epoch(self, number: int, validation: dict[str, float], seconds: float) -> None:
        """Writes the means over an epoch's steps beside the validation's measures."""
        last = number * self._plan.epoch_steps
        steps = [line for line in read_log(self._path) if last - self._plan.epoch_steps < line["step"] <= last]
        means = {f"train_{name}": float(np.mean([line[name] for line in steps])) for name in ("loss", "accuracy")}
        self._write({"epoch": number, "step": last, **means, **validation, "seconds": round(seconds, 3)})

    def _write(self, line: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`; a last line that was cut off is left out."""
    lines = []
    for text in path.read_text("utf-8").splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def predict(
    net: Network, source: Source, indices: Sequence[int], *, batch_size: int = 32
) -> tuple[Float[np.ndarray, "n k"], Int[np.ndarray, " n"]]:
    """Probabilities of the pictures at `indices` that can be read, and their indices."""
    return _predictor(net, source, indices, batch_size)(net.variables)


def _predictor(net: Network, source: Source, indices: Sequence[int], batch_size: int) -> Callable:
    """`variables -> (probabilities, indices)`, compiled once for all calls."""
    step = make_eval_step(for_inference(net).apply, size=net.spec.input_size)

    def run(variables):
        folded = for_inference(net.replace(variables=variables)).variables
        probs, index = [np.zeros((0, len(net.spec.classes)), np.float32)], [np.zeros(0, np.int64)]
        for batch in batches(source, indices, net.spec, batch_size=batch_size):
            probs.append(np.asarray(step(folded, batch.images))[batch.mask])
            index.append(batch.index[batch.mask])
        return np.concatenate(probs), np.concatenate(index)

    return run


def _validation(net: Network, source: Source, indices: np.ndarray, batch_size: int) -> Callable:
    """`variables -> {"val_accuracy", "val_loss"}`."""
    run = _predictor(net, source, indices, batch_size)

    def validate(variables):
        probs, index = run(variables)
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
