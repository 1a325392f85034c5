"""Processes that read hostile files one by one, watched from outside: memory, time, and whether they live."""

import multiprocessing
import os
import re
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from experiments.fuzz.mutations import IMAGES, hostile, seeds
from experiments.fuzz.options import Config
from experiments.fuzz.runs import make_run, spoil_run
from tljax.data.images import decode, preprocess
from tljax.errors import InputError
from tljax.models.spec import get_spec
from tljax.weights.read import read_weights

GIGABYTE = 1 << 30


def outcomes(kind: str, count: int, config: Config, scratch: Path) -> Iterator[tuple[int, str, str, float]]:
    """(number, outcome, detail, seconds) of each input; a process that dies or hangs is followed by another."""
    context = multiprocessing.get_context("spawn" if kind == "run" else "fork")  # RUNs need JAX: no fork survives it
    seeds(kind) if kind != "run" else None
    done = 0
    while done < count:
        ours, theirs = context.Pipe(duplex=False)
        stop = min(done + config.batch, count)
        worker = context.Process(target=work, args=(kind, done, stop, config, scratch, theirs), daemon=True)
        worker.start()
        theirs.close()
        while done < stop:
            try:
                ours.recv()  # "begun"
                while not ours.poll(6 * config.seconds):
                    if not runs(worker.pid):  # one that runs has a limit of CPU time, and may wait for its turn
                        os.kill(worker.pid, signal.SIGPROF)
                        break
                result = ours.recv()
            except EOFError:
                worker.join()
                kind_of_end = "hang" if worker.exitcode == -signal.SIGPROF else "crash"
                result = done, kind_of_end, f"exit code {worker.exitcode}", config.seconds
            yield result
            done += 1
            if result[1] in ("crash", "hang", "memory"):
                break
        ours.close()
        worker.join()


def work(kind: str, start: int, stop: int, config: Config, scratch: Path, pipe: Any) -> None:
    """Reads the inputs from `start` to `stop` one by one, and tells what became of each."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    os.environ["TLJAX_CACHE"] = str(scratch / "cache")
    make, read = reader(kind, scratch)
    base = virtual_memory("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (base + 4 * GIGABYTE,) * 2)
    for i in range(start, stop):
        canary = scratch / f"canary-{os.getpid()}"
        path = make(Random(f"{config.seed} {kind} {i}"), canary)
        pipe.send("begun")
        signal.setitimer(signal.ITIMER_PROF, config.seconds)  # its signal ends the process
        begun = time.process_time()
        outcome, detail = attempt(read, path)
        seconds = time.process_time() - begun
        signal.setitimer(signal.ITIMER_PROF, 0)
        if virtual_memory("VmPeak") - base > GIGABYTE:
            outcome, detail = "memory", f"{(virtual_memory('VmPeak') - base) / 1e9:.1f} GB; {outcome}: {detail}"
        if os.path.lexists(canary):
            outcome = "executed"
            shutil.rmtree(canary) if canary.is_dir() else canary.unlink()
        pipe.send((i, outcome, detail, seconds))
        if outcome == "memory":
            return
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def attempt(read: Callable[[Path], Any], path: Path) -> tuple[str, str]:
    """("accepted", "refused", "memory" or "unclear", what was said)."""
    try:
        read(path)
    except BaseException as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MemoryError):
                return "memory", f"wanted more than 4 GB: {error}"
            cause = cause.__cause__ or cause.__context__
        message = str(error).replace(str(path), "F")
        if isinstance(error, InputError):
            return "refused", message
        return "unclear", f"{type(error).__name__}: {message[:500]}"
    return "accepted", ""


def reader(kind: str, scratch: Path) -> tuple[Callable[[Random, Path], Path], Callable[[Path], Any]]:
    """What makes an input of a kind, and what reads it; a valid one was read by then, so that all is warm."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    if kind == "run":
        from tljax.transfer.run import load_run

        good = [make_run(folder / mode, mode=mode) for mode in ("linear_probe", "finetune")]
        for run in good:
            load_run(run)
        return lambda random, canary: spoil_run(random.choice(good), folder / "RUN", random, canary), load_run

    def make(random: Random, canary: Path) -> Path:
        path = folder / "F"
        path.write_bytes(hostile(kind, random, canary))
        return path

    def see(path: Path) -> None:
        data = path.read_bytes()
        preprocess(decode(data, short_side=spec.resize_size if len(data) % 2 else None), spec)

    def ask(path: Path) -> None:
        from tljax.transfer.onnx_file import read_onnx

        list(read_onnx(path).probabilities([np.full((4, 5, 3), 128, np.uint8)]))

    spec = get_spec("efficientnet_lite0")
    read = see if kind in IMAGES else ask if kind == "onnx" else read_weights
    (folder / "F").write_bytes(seeds(kind)[0])
    attempt(read, folder / "F")
    return make, read


def runs(pid: int) -> bool:
    """Whether a process or a child of it has work to do, rather than waiting for something."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has just ended
        return False
    return state == "R" or any(map(runs, map(int, children)))


def virtual_memory(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    return int(re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024
