"""The end that a scheduler asks for: SIGTERM stops a run between two steps, where it can be resumed."""

import contextlib
import signal
import threading
from collections.abc import Iterable, Iterator

from tljax.progress import Track


class Preempted(SystemExit):
    """SIGTERM came and the run can be resumed: a script that does not catch this ends with exit code 0."""

    def __init__(self) -> None:
        super().__init__(0)


@contextlib.contextmanager
def on_sigterm() -> Iterator[threading.Event]:
    """An event that SIGTERM sets while the block runs, instead of ending the process.

    Only the main thread can take signals: in another one SIGTERM does what it did before.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def until(stop: threading.Event, track: Track) -> Track:
    """A `track` whose loops raise `Preempted` in front of the next item once `stop` is set."""

    def watched(items: Iterable, description: str = "", total: int | None = None) -> Iterator:
        for item in track(items, description, total):
            if stop.is_set():
                raise Preempted
            yield item

    return watched
