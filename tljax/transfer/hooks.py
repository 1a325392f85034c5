"""What may happen around the steps of fine-tuning: saving, logging, stopping, progress. By default nothing does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tljax.errors import InputError
from tljax.progress import Track, untracked
from tljax.transfer.train_step import TrainState

History = list[dict[str, Any]]


def _nothing_saved(state: TrainState, step: int) -> TrainState:
    raise InputError(f"the history goes on after step {step}: give hooks that restore what was saved there")


@dataclass(frozen=True)
class Hooks:
    """Functions that `finetune` calls on its way; `resume.resumable` has those of `train`.

    One of them may raise `SystemExit` (or a subclass) in front of a step: the state is then saved, and the run ends.

    Attributes:
        start: (state) -> (state, history): from where to begin, with the lines of what was done before.
        before_step: (number), counted from 1.
        after_step: (number, state), once the device has got the step; its buffers are given to the next step.
        record: (line), a plain dict for each step and each epoch, once its numbers are known.
        save: (state), at the end of each epoch, and where the run is stopped.
        restore: (state, step) -> the state that was saved after `step`, like `state`; only for a history with epochs.
        track: shows progress: (items, description, total) -> items.
        track_validation: the same, for the batches of validation.

    >>> seen = []
    >>> hooks = tljax.transfer.Hooks(before_step=seen.append)
    >>> config = tljax.transfer.FinetuneConfig(epochs=1, batch_size=4, lr=0.01)
    >>> tuned, _ = tljax.transfer.finetune(net, (photos, labels), config=config, key=jax.random.key(0), hooks=hooks)
    >>> seen
    [1, 2]
    """

    start: Callable[[TrainState], tuple[TrainState, History]] = lambda state: (state, [])
    before_step: Callable[[int], None] = lambda number: None
    after_step: Callable[[int, TrainState], None] = lambda number, state: None
    record: Callable[[dict[str, Any]], None] = lambda line: None
    save: Callable[[TrainState], None] = lambda state: None
    restore: Callable[[TrainState, int], TrainState] = _nothing_saved
    track: Track = untracked
    track_validation: Track = untracked
