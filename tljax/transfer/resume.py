"""The hooks of `train`: fine-tuning that goes on where it was killed, from the states and the metrics.jsonl on disk."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tljax.distributed import collectives, join
from tljax.progress import Track, untracked
from tljax.transfer.checkpoint import Checkpoints
from tljax.transfer.history import best_step
from tljax.transfer.hooks import Hooks
from tljax.transfer.metrics_log import append, rewind
from tljax.transfer.preemption import Preempted, Stop, until


@contextlib.contextmanager
def resumable(log: Path, states: Path, *, save_every: int, stop: Stop, track: Track = untracked) -> Iterator[Hooks]:
    """Hooks that begin at the last saved state, save on the way, and stop in front of a step once `stop` is set.

    Whenever the process is killed and this is done again, the run ends as if it had not been: a line of the log is
    written before the state that follows it, and lines that are later than the state are dropped. Of several processes
    all stop in front of the same step, and each has a log of its own, which is made what it is in process 0.

    Args:
        log: metrics.jsonl.
        states: the folder of the saved states, the same for all processes.
        save_every: steps between saved states; the one after the first step is saved as well.
        stop: once it is set, the state is saved and `Preempted` is raised.
        track: shows progress.
    """
    lines: list[dict[str, Any]] = []
    with Checkpoints(states, best=lambda: best_step(lines)) as checkpoints:

        def start(state):
            collectives.file_from_first(log)
            if checkpoints.latest() is not None:
                state = checkpoints.restore(state)
            lines.extend(rewind(log, int(state.step)))
            return state, list(lines)

        def before_step(number):
            if join.stops_at(number, stop.is_set()):
                raise Preempted(stop.code)

        def after_step(number, state):
            checkpoints.write()  # the device has got the next step, and does not wait
            if number % save_every == 0 or number == 1:  # a short run, too, has something to go on from
                checkpoints.take(state)

        def record(line):
            lines.append(line)
            append(log, line)

        def save(state):
            checkpoints.take(state)
            checkpoints.write()

        yield Hooks(
            start=start,
            before_step=before_step,
            after_step=after_step,
            record=record,
            save=save,
            restore=checkpoints.restore,
            track=track,
            track_validation=until(stop, untracked) if collectives.alone() else untracked,
        )
