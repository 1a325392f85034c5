"""`metrics.jsonl`, a run's record of its steps and epochs; it notices a loss that is not finite."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tljax.errors import InputError
from tljax.transfer.finetune import make_schedule


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
    """

    def __init__(self, path: Path, plan: Plan):
        self._path = path
        self._plan = plan
        self._schedule = make_schedule(plan.lr, steps=plan.steps, warmup=plan.warmup)
        self._waiting: tuple[int, Any] | None = None

    def rewind(self, step: int) -> None:
        """Drops what was written after `step` (all of it for 0), and a line that was cut off in writing."""
        lines = [line for line in read_journal(self._path) if line.get("step", step + 1) <= step]
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
        append(self._path, line)

    def epoch(self, number: int, validation: dict[str, float], seconds: float) -> None:
        """Writes the means over an epoch's steps beside the validation's measures."""
        last = number * self._plan.epoch_steps
        steps = [line for line in read_journal(self._path) if line["step"] > last - self._plan.epoch_steps]
        means = {f"train_{name}": float(np.mean([line[name] for line in steps])) for name in ("loss", "accuracy")}
        append(self._path, {"epoch": number, "step": last, **means, **validation, "seconds": round(seconds, 3)})


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
