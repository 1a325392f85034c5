"""What fine-tuning has measured: a plain dict for each step and each epoch; it notices a loss that is not finite."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tljax.errors import InputError
from tljax.transfer.train_step import make_schedule

_SHOWN = 4
"""Photos that a message names; the history has all."""


class NotFinite(InputError):
    """The loss or the gradient of a step is not finite, and no more such steps may be passed over.

    >>> issubclass(tljax.transfer.NotFinite, ArithmeticError) or issubclass(tljax.transfer.NotFinite, Exception)
    True
    """


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


class History:
    """The lines of a run, one step behind, so that the device never waits for its own numbers.

    Args:
        plan: of the run; says the learning rate of a step.
        lines: what was measured before, for a run that goes on; added to.
        record: is given each new line.
        files: what the photos are called.
        skip_nonfinite: how many steps may be passed over because their loss or gradient is not finite.
    """

    def __init__(
        self,
        plan: Plan,
        lines: list[dict[str, Any]],
        *,
        record: Callable[[dict[str, Any]], None],
        files: Sequence[str] = (),
        skip_nonfinite: int = 0,
    ):
        self.lines = lines
        self._plan, self._record, self._files, self._skip = plan, record, files, skip_nonfinite
        self._schedule = make_schedule(plan.lr, steps=plan.steps, warmup=plan.warmup)
        self._waiting: tuple[int, Mapping[str, Any], Sequence[int] | np.ndarray] | None = None

    def step(self, number: int, measures: Mapping[str, Any], index: Sequence[int] | np.ndarray = ()) -> None:
        """Takes the measures of a step that the device may still be at, and adds the line of the step before.

        Args:
            measures: "loss", "accuracy" and "grad_norm".
            index: places of the step's photos in `files`.
        Raises:
            NotFinite: the step before had no finite loss or gradient; names its photos.
        """
        self.flush()
        self._waiting = (number, measures, index)

    def flush(self) -> None:
        """Adds the line of the step that waits; raises as `step`."""
        if self._waiting is None:
            return
        (number, measures, index), self._waiting = self._waiting, None
        line = {"step": number, "lr": np.asarray(self._schedule(number - 1)).item()}
        values = {name: float(value) for name, value in measures.items()}
        wrong = {name: str(values[name]) for name in ("loss", "grad_norm") if not math.isfinite(values[name])}
        if not wrong:
            self._add({**line, **values})
            return
        files = [self._files[i] for i in index]
        self._add({**line, "nonfinite": wrong, "files": files})
        skipped = skipped_steps(self.lines)
        if skipped > self._skip:
            raise NotFinite(self._complaint(line, values, files, skipped))

    def epoch(self, number: int, validation: Mapping[str, float], seconds: float) -> None:
        """Adds the means over an epoch's steps beside the validation's measures."""
        last = number * self._plan.epoch_steps
        lines = [line for line in self.lines if line["step"] > last - self._plan.epoch_steps]
        steps = [line for line in lines if "loss" in line]
        means = {
            f"train_{name}": float(np.mean([line[name] for line in steps])) if steps else None
            for name in ("loss", "accuracy")
        }
        skipped = skipped_steps(lines)
        line = {"epoch": number, "step": last, **means, **validation}
        line |= {"skipped_steps": skipped} if skipped else {}
        self._add({**line, "seconds": round(seconds, 3)})

    def _add(self, line: dict[str, Any]) -> None:
        self.lines.append(line)
        self._record(line)

    def _complaint(self, line: Mapping[str, Any], values: Mapping[str, float], files: Sequence[str], skipped: int):
        shown = ", ".join(f'"{name}"' for name in files[:_SHOWN])
        more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
        return (
            f"the loss is {values['loss']:g} and its gradient {values['grad_norm']:g} at step {line['step']} of "
            f"{self._plan.steps}, learning rate {line['lr']:.2g}, photos {shown or 'unknown'}{more}: the state before "
            f"it is saved; try --lr {self._plan.lr / 10:.1g} --overwrite, or pass over these photos with --resume "
            f"--skip-nonfinite {skipped}"
        )


def skipped_steps(lines: Sequence[Mapping[str, Any]]) -> int:
    """How many steps were passed over because their loss or gradient was not finite."""
    return sum("nonfinite" in line for line in lines)


def epochs(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of the epochs, in order."""
    return [line for line in lines if "epoch" in line]


def best_step(lines: Sequence[dict[str, Any]]) -> int | None:
    """The last step of the epoch with the least validation loss, the earliest of equals; None before the first."""
    validated = [line for line in epochs(lines) if "val_loss" in line]
    return min(validated, key=lambda line: line["val_loss"])["step"] if validated else None
