"""The end that a scheduler or Ctrl-C asks for: a signal stops a run between two steps, where it can be resumed."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterable, Iterator

from tljax.progress import Track

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""


class Preempted(SystemExit):
    """The run was asked to stop and can be resumed: a script that does not catch this ends with `code`."""


class Stop(threading.Event):
    """Set once the run shall stop; `code` is then the exit code: 0, or `INTERRUPTED` after Ctrl-C."""

    code = 0


@contextlib.contextmanager
def on_signals() -> Iterator[Stop]:
    """A `Stop` that SIGTERM and SIGINT (Ctrl-C) set while the block runs, instead of ending the process.

    A second Ctrl-C raises `KeyboardInterrupt`. Only the main thread can take signals: in another one both do what they
    did before.
    """
    stop = Stop()

    def interrupt(*_: object) -> None:
        if stop.code:
            raise KeyboardInterrupt
        stop.code = INTERRUPTED
        os.write(2, b"\nstopping where it can be resumed; Ctrl-C again ends at once\n")  # `print` may be under way
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: stop.set()),
        signal.SIGINT: signal.signal(signal.SIGINT, interrupt),
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def until(stop: Stop, track: Track) -> Track:
    """A `track` whose loops raise `Preempted` in front of the next item once `stop` is set."""

    def watched(items: Iterable, description: str = "", total: int | None = None) -> Iterator:
        for item in track(items, description, total):
            if stop.is_set():
                raise Preempted(stop.code)
            yield item

    return watched
