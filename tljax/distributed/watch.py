"""Whether the other processes are still there: where one ends too early, each of the others stops with one line.

Signs of life are exchanged in the store that JAX's coordination service keeps in process 0. JAX's own heartbeat would
not do, as measured with JAX 0.10.2 and 0.12.0, two processes over gloo and `heartbeat_timeout_seconds=10`: it ends the
survivor in 0 to 9 s, stuck in a collective or not, but as an abort (-6) with 16 to 58 lines of C++. And of ten jobs
that were suspended as a whole for 40 s, eight died of it on waking.
"""

import atexit
import contextlib
import ctypes
import os
import re
import signal
import sys
import tempfile
import threading
import time
from typing import Any

import jax

from tljax.errors import InputError

STOPPED = 75
"""Exit code of a process that stops because another one did (EX_TEMPFAIL: try again)."""
SILENCE = 15
"""Seconds without a sign of life, of seconds in which this process ran itself, after which a process counts as dead."""


class Watch:
    """Two threads: one says that this process is alive and hears the others, one counts how long each is silent.

    The seconds are counted, not read from a clock, so that a job that was suspended as a whole goes on.
    """

    def __init__(self):
        """Before JAX joins the others: from here on, what C++ prints is held back, and an abort is explained."""
        self._held_back, self._stderr = _hold_back_native_output()
        self._over, self._ending = threading.Event(), threading.Lock()
        self._beats: dict[int, str] = {}
        self._left: dict[int, str] = {}
        self._code: int | None = None
        self._on_abort = ctypes.CFUNCTYPE(None, ctypes.c_int)(self._aborted)
        ctypes.CDLL(None).signal(signal.SIGABRT, self._on_abort)  # Python's own handlers run too late

    def start(self, client: Any, process: int, processes: int) -> None:
        """Once they have joined: `client` is that of JAX's coordination service, `process` this one's number."""
        self._client, self._process, self._processes = client, process, processes
        for task in (self._tell_and_hear, self._count):
            threading.Thread(target=task, name="tljax-watch", daemon=True).start()

    def stop(self) -> None:
        """The good end, when all others have come to theirs."""
        self._over.set()
        jax.distributed.shutdown()
        ctypes.CDLL(None).signal(signal.SIGABRT, ctypes.c_void_p(0))

    def leave(self, error: BaseException) -> None:
        """Ends this process alone: an error of its own, or what a collective raises whose other side has died."""
        if not isinstance(error, InputError | OSError | SystemExit | KeyboardInterrupt):
            time.sleep(SILENCE + 5)  # if somebody died, `_count` ends this process meanwhile
        with self._ending:
            self._code = code = _exit_code(error)
        reason = "" if isinstance(error, SystemExit) else str(error)
        self._say_goodbye(reason or type(error).__name__)
        atexit.register(self._end, code)

    def _end(self, code: int) -> None:
        """The last thing that Python does: ends without JAX's own farewell, which waits for the others."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for _ in range(SILENCE + 5 if self._process == 0 else 0):  # the store is here, and the others read it
            if len(self._left) == self._processes:
                break
            time.sleep(1)
        os._exit(code)

    def _tell_and_hear(self) -> None:
        beat = 0
        while not self._over.wait(1):
            beat += 1
            with contextlib.suppress(RuntimeError):  # no answer: everybody stays silent
                if self._code is None:
                    self._tell("alive", str(beat))
                self._beats = self._hear("alive")
                self._left = self._hear("left")

    def _count(self) -> None:
        silent, heard = dict.fromkeys(range(self._processes), 0), {}
        while not self._over.wait(1):
            beats = self._beats
            silent = {i: 0 if beats.get(i) != heard.get(i) else count + 1 for i, count in silent.items()}
            heard = beats
            dead = next((i for i, count in silent.items() if count >= SILENCE), None)
            if dead is not None:
                reason = self._left.get(dead)
                what = f"has stopped: {reason}" if reason else f"has been silent for {SILENCE} s"
                self._stop(dead, what, goodbye=bool(dead or reason))

    def _stop(self, other: int, what: str, *, goodbye: bool) -> None:
        with self._ending:
            if self._code is not None or self._over.is_set():
                return
            name = f"process {other}" + ("" if other else ", the coordinator,")
            line = f"tljax: {name} {what}; so this one stops as well: start all of them again, train with --resume\n"
            os.write(self._stderr, line.encode("utf-8", "backslashreplace"))
            if goodbye:
                self._say_goodbye(f"process {other} {what}")
            os._exit(STOPPED)

    def _say_goodbye(self, reason: str) -> None:
        with contextlib.suppress(RuntimeError):
            self._tell("left", " ".join(reason.split())[:300])

    def _tell(self, what: str, value: str) -> None:
        self._client.key_value_set(f"tljax/{what}/{self._process}", value, allow_overwrite=True)

    def _hear(self, what: str) -> dict[int, str]:
        """What each process has told last."""
        return {int(key.rsplit("/", 1)[1]): value for key, value in self._client.key_value_dir_get(f"tljax/{what}/")}

    def _aborted(self, _: int) -> None:
        """In the thread that aborts: JAX does so at the moment in which the connection to process 0 breaks."""
        os.lseek(self._held_back, 0, os.SEEK_SET)
        printed = os.read(self._held_back, 1 << 20)
        if self._code is not None:
            os._exit(self._code)
        if re.search(rb"(coordination|distributed) service", printed):
            self._stop(0, "cannot be reached any more", goodbye=False)
        os.write(self._stderr, printed)


def _hold_back_native_output() -> tuple[int, int]:
    """C++ prints into a nameless file from now on, Python where it did before: that file, and where stderr goes."""
    with tempfile.TemporaryFile() as file:
        held_back = os.dup(file.fileno())
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        stream.flush()
        setattr(sys, name, os.fdopen(os.dup(number), "w", 1, stream.encoding, stream.errors))
        os.dup2(held_back, number)
    return held_back, sys.stderr.fileno()


def _exit_code(error: BaseException) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, KeyboardInterrupt):
        return 130
    return 2 if isinstance(error, InputError | OSError) else 1
