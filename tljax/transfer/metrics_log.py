"""`metrics.jsonl`, a run's record of its steps and epochs; it notices a loss that is not finite."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tljax.errors import InputError
from tljax.transfer.run_folder import write_text
from tljax.transfer.train_step import make_schedule

_SHOWN = 4
"""Photos that a message names; the rest is in `metrics.jsonl`."""


class NotFinite(InputError):
    """The loss or the gradient of a step is not finite, and no more such steps may be passed over."""


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


class Journal:
    """`metrics.jsonl`: a line for each step and each epoch, one step behind, so that the device never waits.

    Args:
        path: made where it is missing.
        plan: of the run; says the learning rate of a step.
        files: what the photos are called.
        skip_nonfinite: how many steps may be passed over because their loss or gradient is not finite.
    """

    def __init__(self, path: Path, plan: Plan, *, files: Sequence[str] = (), skip_nonfinite: int = 0):
        self._path = path
        self._plan = plan
        self._files = files
        self._skip, self._skipped = skip_nonfinite, 0
        self._schedule = make_schedule(plan.lr, steps=plan.steps, warmup=plan.warmup)
        self._waiting: tuple[int, Any, Sequence[int]] | None = None
        self._epochs: list[dict[str, Any]] = []

    def best(self) -> int | None:
        """The last step of the epoch with the least validation loss, the earliest of equals; None before the first."""
        return min(self._epochs, key=lambda line: line["val_loss"])["step"] if self._epochs else None

    def rewind(self, step: int) -> int:
        """Drops what was written after `step` (all of it for 0), and a line that was cut off in writing.

        Returns:
            The number of epochs that are written.
        """
        lines = [line for line in read_journal(self._path) if line.get("step", step + 1) <= step]
        write_text(self._path, "".join(json.dumps(line) + "\n" for line in lines))
        self._skipped = sum("nonfinite" in line for line in lines)
        self._epochs = [line for line in lines if "epoch" in line]
        return len(self._epochs)

    def step(self, number: int, measures: Any, index: Sequence[int] = ()) -> None:
        """Takes the measures of a step that the device may still be at, and writes those of the step before.

        Args:
            measures: "loss", "accuracy" and "grad_norm".
            index: places of the step's photos in `files`.
        Raises:
            NotFinite: the step before had no finite loss or gradient; names its photos.
        """
        self.flush()
        self._waiting = (number, measures, index)

    def flush(self) -> None:
        """Writes the step that waits; raises as `step`."""
        if self._waiting is None:
            return
        (number, measures, index), self._waiting = self._waiting, None
        line = {"step": number, "lr": float(self._schedule(number - 1))}
        values = {name: float(value) for name, value in measures.items()}
        wrong = {name: str(values[name]) for name in ("loss", "grad_norm") if not math.isfinite(values[name])}
        if not wrong:
            append(self._path, {**line, **values})
            return
        files = [self._files[i] for i in index]
        append(self._path, {**line, "nonfinite": wrong, "files": files})
        self._skipped += 1
        if self._skipped > self._skip:
            raise NotFinite(self._complaint(line, values, files))

    def epoch(self, number: int, validation: dict[str, float], seconds: float) -> None:
        """Writes the means over an epoch's steps beside the validation's measures."""
        last = number * self._plan.epoch_steps
        lines = [line for line in read_journal(self._path) if line["step"] > last - self._plan.epoch_steps]
        steps = [line for line in lines if "loss" in line]
        means = {
            f"train_{name}": float(np.mean([line[name] for line in steps])) if steps else None
            for name in ("loss", "accuracy")
        }
        skipped = sum("nonfinite" in line for line in lines)
        line = {"epoch": number, "step": last, **means, **validation}
        line |= {"skipped_steps": skipped} if skipped else {}
        append(self._path, {**line, "seconds": round(seconds, 3)})
        self._epochs.append(line)

    def _complaint(self, line: dict[str, Any], values: dict[str, float], files: Sequence[str]) -> str:
        shown = ", ".join(f'"{name}"' for name in files[:_SHOWN])
        more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
        return (
            f"the loss is {values['loss']:g} and its gradient {values['grad_norm']:g} at step {line['step']} of "
            f"{self._plan.steps}, learning rate {line['lr']:.2g}, photos {shown or 'unknown'}{more}: the state before "
            f"it is saved; try --lr {self._plan.lr / 10:.1g} --overwrite, or pass over these photos with --resume "
            f"--skip-nonfinite {self._skipped}"
        )


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`; a last line that was cut off is left out."""
    lines = []
    for text in path.read_text("utf-8").splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def append(path: Path, *lines: dict[str, Any]) -> None:
    """Adds lines of JSON to a file, which is made where it is missing."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
