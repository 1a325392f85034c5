"""Several processes as one: each is started with the same command; who we are, and how all begin and end together.

Where one ends too early, `watch` ends the others.
"""

import contextlib
import re
import sys
import threading
from collections.abc import Iterator
from typing import Any

import jax
from jax._src.distributed import global_state  # the store of JAX's coordination service has no public name

from tljax.distributed.watch import Watch
from tljax.errors import InputError

_JAX_PATIENCE = 600
"""Seconds until JAX itself gives a process up: only where the watch has failed, or all were suspended."""


def _store() -> Any:
    """What JAX's coordination service keeps for all processes: a class of C++."""
    return global_state.client


def processes() -> tuple[int, int]:
    """(which process this is, how many there are), without waking any device."""
    return global_state.process_id, global_state.num_processes


def first() -> bool:
    """Whether this process is the one that prints and writes: process 0, or the only one."""
    return global_state.process_id == 0


def meet(name: str) -> None:
    """Waits until every process has come to the meeting `name` as often as this one; however long they read photos."""
    _store().wait_at_barrier(f"tljax/{name}", timeout_in_ms=24 * 3600 * 1000)


_SILENT = 10.0  # seconds of waiting for the others, after which that is said


@contextlib.contextmanager
def joined(coordinator: str | None, num_processes: int | None = None, process_id: int | None = None) -> Iterator[None]:
    """What runs in the block is one of `num_processes` that run the same; they leave it together.

    Must come before JAX computes anything. Where a process dies, each of the others writes one line to stderr and ends
    with exit code `watch.STOPPED`, whatever it is doing, at most 30 s later. Where an error leaves the block, the
    process still ends in the ordinary way, with 2 for an `InputError`, but does not wait for the others.

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
    watch = Watch()
    waiting = threading.Timer(_SILENT, _say_waiting, [coordinator])
    waiting.daemon = True
    waiting.start()
    try:
        jax.distributed.initialize(**arguments, heartbeat_timeout_seconds=_JAX_PATIENCE)
    except (ValueError, RuntimeError) as error:
        answer = next(iter(str(error).splitlines()), "no answer")
        raise InputError(
            "--coordinator auto works on TPU slices, SLURM and Open MPI, and found none of them: give HOST:PORT, "
            "--num-processes and --process-id"
            if coordinator == "auto"
            else f"cannot join the other processes at {coordinator}: {answer[:200]}"
        ) from error
    finally:
        waiting.cancel()
    watch.start(_store(), *processes())
    try:
        yield
    except BaseException as error:
        if not (isinstance(error, SystemExit) and _stopped_with_all()):
            watch.leave(error)
            raise
        meet("end")
        watch.stop()
        raise
    meet("end")  # the others wait here while the first one writes
    watch.stop()


def stops_at(number: int, requested: bool) -> bool:
    """Whether the run stops in front of step `number`: in all processes at the same one, once one of them was asked to.

    For loops in which a process begins step n + 2 only once step n is done everywhere. So when it is in front of step
    n, no other is beyond step n + 1, and what it writes now is read by all of them in front of step n + 2.
    """
    process, count = processes()
    if count == 1:
        return requested
    client = _store()
    if requested:
        with contextlib.suppress(RuntimeError):  # somebody else was asked before
            client.key_value_set("tljax/stop/at", str(number + 2))
    agreed = client.key_value_dir_get("tljax/stop/")
    stops = bool(agreed) and number >= int(agreed[0][1])
    if stops:
        client.key_value_set(f"tljax/stopped/{process}/at", str(number), allow_overwrite=True)
    return stops


def _stopped_with_all() -> bool:
    """Whether `stops_at` has stopped this process; the others stop at the same step, so that all can end together."""
    return bool(_store().key_value_dir_get(f"tljax/stopped/{global_state.process_id}/"))


def _checked(coordinator: str | None, num_processes: int | None, process_id: int | None) -> dict[str, Any] | None:
    """The arguments of `jax.distributed.initialize`; None where there is but one process."""
    numbers = (num_processes, process_id)
    if coordinator in (None, "auto"):
        if numbers != (None, None):
            raise InputError(
                "--coordinator auto finds --num-processes and --process-id out itself: leave them out"
                if coordinator
                else "--num-processes and --process-id go with --coordinator HOST:PORT, of process 0"
            )
        return {} if coordinator else None
    if not re.fullmatch(r".+:\d{1,5}", coordinator):
        raise InputError(f'--coordinator is "{coordinator}": expected HOST:PORT of process 0, or auto')
    if num_processes is None or process_id is None:
        raise InputError("--coordinator HOST:PORT needs --num-processes and --process-id as well")
    if not 0 <= process_id < num_processes:
        raise InputError(f"--process-id is {process_id}: expected 0 to {num_processes - 1}, one for each process")
    return {
        "coordinator_address": coordinator,
        "num_processes": num_processes,
        "process_id": process_id,
        "cluster_detection_method": "deactivate",
    }


def _say_waiting(coordinator: str | None) -> None:
    print(f"waiting for the other processes, by way of {coordinator}", file=sys.stderr, flush=True)
