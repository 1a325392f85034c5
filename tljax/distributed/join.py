"""Several processes as one: each is started with the same command, and where one ends too early, all do.

Whether the others are alive is asked of the store that JAX's coordination service keeps in process 0. JAX's own answer
to a dead process comes after minutes, or as an abort with a page of C++; here it is one line and exit code `STOPPED`.
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
from collections.abc import Iterator
from typing import Any

import jax
from jax._src.distributed import global_state  # the store has no public name

from tljax.errors import InputError

STOPPED = 75
"""Exit code of a process that stops because another one did (EX_TEMPFAIL: try again)."""
SILENCE = 15
"""Seconds without a sign of life, of seconds in which this process ran itself, after which a process counts as dead."""
_JAX_PATIENCE = 600
"""Seconds until JAX itself gives a process up: only where the watch has failed, or all were suspended."""
_DAY_MS = 86_400_000
_STORE = "tljax"


def processes() -> tuple[int, int]:
    """(which process this is, how many there are), without waking any device."""
    return global_state.process_id, global_state.num_processes


def first() -> bool:
    """Whether this process is the one that prints and writes: process 0, or the only one."""
    return global_state.process_id == 0


def meet(name: str) -> None:
    """Waits until every process has come to the meeting `name`, which there is once; however long they read photos."""
    global_state.client.wait_at_barrier(f"{_STORE}/{name}", _DAY_MS)


@contextlib.contextmanager
def joined(coordinator: str | None, num_processes: int | None = None, process_id: int | None = None) -> Iterator[None]:
    """What runs in the block is one of `num_processes` that run the same; they leave it together.

    Must come before JAX computes anything. Where a process dies, each of the others writes one line to stderr and ends
    with exit code `STOPPED`, whatever it is doing, at most 30 s later. Where an error leaves the block, the process
    still ends in the ordinary way, with 2 for an `InputError`, but does not wait for the others.

    Args:
        coordinator: "HOST:PORT" of process 0, at a free port; "auto" where JAX finds out all three (a TPU slice, SLURM,
            Open MPI); None for a single process.
        num_processes: how many there are. process_id: which one this is, from 0.
    Raises:
        InputError: arguments that do not fit, or the other processes cannot be reached.
    """
    arguments = _checked(coordinator, num_processes, process_id)
    if arguments is None:
        yield
        return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # it takes SIGTERM away; see `stops_at`
    watch = _Watch(_hold_back_native_output())
    try:
        jax.distributed.initialize(**arguments, heartbeat_timeout_seconds=_JAX_PATIENCE)
    except (ValueError, RuntimeError) as error:
        raise InputError(_cannot_join(coordinator, str(error))) from error
    watch.start()
    try:
        yield
    except BaseException as error:
        if _stopped_together:
            watch.stop()
        else:
            watch.leave(error)
        raise
    watch.stop()


def stops_at(number: int, asked: bool) -> bool:
    """Whether the run stops in front of step `number`: in all processes at the same one, once one of them was `asked`.

    For loops in which a process begins step n + 2 only once step n is done everywhere. So when it is in front of step
    n, no other is beyond step n + 1, and what it writes now is read by all of them in front of step n + 2.
    """
    global _stopped_together
    if global_state.num_processes == 1:
        return asked
    client = global_state.client
    if asked:
        with contextlib.suppress(RuntimeError):  # somebody else was asked before
            client.key_value_set(f"{_STORE}/stop/at", str(number + 2))
    found = client.key_value_dir_get(f"{_STORE}/stop/")
    _stopped_together = bool(found) and number >= int(found[0][1])
    return _stopped_together


_stopped_together = False


class _Watch:
    """Two threads: one says that this process is alive and hears the others, one counts how long each is silent.

    The seconds are counted, not read from a clock, so that a job that was suspended as a whole goes on.
    """

    def __init__(self, native: tuple[int, int]):
        self._held_back, self._stderr = native
        self._over, self._ending = threading.Event(), threading.Lock()
        self._beats: dict[int, str] = {}
        self._left: dict[int, str] = {}
        self._code: int | None = None
        self._on_abort = ctypes.CFUNCTYPE(None, ctypes.c_int)(self._aborted)
        ctypes.CDLL(None).signal(signal.SIGABRT, self._on_abort)  # Python's own handlers run too late

    def start(self) -> None:
        self._client, (self._process, self._processes) = global_state.client, processes()
        for task in (self._tell_and_hear, self._count):
            threading.Thread(target=task, name="tljax-watch", daemon=True).start()

    def stop(self) -> None:
        """The good end; the others wait here while the first one writes."""
        meet("end")
        self._over.set()
        jax.distributed.shutdown()
        ctypes.CDLL(None).signal(signal.SIGABRT, ctypes.c_void_p(0))

    def leave(self, error: BaseException) -> None:
        """Ends this process alone: an error of its own, or what a collective raises whose other side has died."""
        if not isinstance(error, InputError | OSError | SystemExit | KeyboardInterrupt):
            time.sleep(SILENCE + 5)  # if somebody died, `_count` ends this process meanwhile
        with self._ending:
            self._code = _exit_code(error)
        name = type(error).__name__
        self._say_goodbye(name if isinstance(error, SystemExit) else str(error) or name)
        atexit.register(self._end)

    def _end(self) -> None:
        """The last thing that Python does: ends without JAX's own farewell, which waits for the others."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for _ in range(SILENCE + 5 if self._process == 0 else 0):  # the store is here, and the others read it
            if len(self._left) == self._processes:
                break
            time.sleep(1)
        os._exit(self._code)

    def _tell_and_hear(self) -> None:
        beat = 0
        while not self._over.wait(1):
            beat += 1
            with contextlib.suppress(RuntimeError):  # no answer: everybody stays silent
                if self._code is None:
                    self._client.key_value_set(f"{_STORE}/alive/{self._process}", str(beat), allow_overwrite=True)
                self._beats = self._read("alive")
                self._left = self._read("left")

    def _count(self) -> None:
        silent, heard = dict.fromkeys(range(self._processes), 0), {}
        while not self._over.wait(1):
            beats = dict(self._beats)
            silent = {i: 0 if beats.get(i) != heard.get(i) else count + 1 for i, count in silent.items()}
            heard = beats
            dead = next((i for i, count in silent.items() if count >= SILENCE), None)
            if dead is not None:
                told = self._left.get(dead)
                what = f"has stopped: {told}" if told else f"has been silent for {SILENCE} s"
                self._stop(dead, what, goodbye=bool(dead or told))

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
            text = " ".join(reason.split())[:300]
            self._client.key_value_set(f"{_STORE}/left/{self._process}", text, allow_overwrite=True)

    def _read(self, name: str) -> dict[int, str]:
        return {int(key.rsplit("/", 1)[1]): value for key, value in self._client.key_value_dir_get(f"{_STORE}/{name}/")}

    def _aborted(self, _: int) -> None:
        """In the thread that aborts: JAX does so at the moment in which the connection to process 0 breaks."""
        os.lseek(self._held_back, 0, os.SEEK_SET)
        said = os.read(self._held_back, 1 << 20)
        if self._code is not None:
            os._exit(self._code)
        if re.search(rb"(coordination|distributed) service", said):
            self._stop(0, "cannot be reached any more", goodbye=False)
        os.write(self._stderr, said)


def _hold_back_native_output() -> tuple[int, int]:
    """C++ prints into a nameless file from now on, Python where it did before: that file, and where stderr goes."""
    said, told = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as file:
        held_back = os.dup(file.fileno())
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(held_back, 1)
    os.dup2(held_back, 2)
    sys.stdout = os.fdopen(said, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)
    sys.stderr = os.fdopen(told, "w", encoding=sys.stderr.encoding, errors=sys.stderr.errors, buffering=1)
    return held_back, told


def _checked(coordinator: str | None, num_processes: int | None, process_id: int | None) -> dict[str, Any] | None:
    """The arguments of `jax.distributed.initialize`; None where there is but one process."""
    numbers = (num_processes, process_id)
    if coordinator is None:
        if numbers != (None, None):
            raise InputError("--num-processes and --process-id go with --coordinator HOST:PORT, of process 0")
        return None
    if coordinator == "auto":
        if numbers != (None, None):
            raise InputError("--coordinator auto finds --num-processes and --process-id out itself: leave them out")
        return {}
    if not re.fullmatch(r".+:\d{1,5}", coordinator):
        raise InputError(f'--coordinator is "{coordinator}": expected HOST:PORT of process 0, or auto')
    if None in numbers:
        raise InputError("--coordinator HOST:PORT needs --num-processes and --process-id as well")
    if not 0 <= process_id < num_processes:
        raise InputError(f"--process-id is {process_id}: expected 0 to {num_processes - 1}, one for each process")
    return {
        "coordinator_address": coordinator,
        "num_processes": num_processes,
        "process_id": process_id,
        "cluster_detection_method": "deactivate",
    }


def _cannot_join(coordinator: str, reason: str) -> str:
    if coordinator == "auto":
        return (
            "--coordinator auto works on TPU slices, SLURM and Open MPI, and found none of them: give HOST:PORT, "
            "--num-processes and --process-id"
        )
    told = next(iter(reason.splitlines()), "no answer")
    return f"cannot join the other processes at {coordinator}: {told[:200]}"


def _exit_code(error: BaseException) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, KeyboardInterrupt):
        return 130
    return 2 if isinstance(error, InputError | OSError) else 1
