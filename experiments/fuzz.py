"""Does a hostile file crash, hang, fill the memory, or run code?

    python -m experiments.fuzz --out out/fuzz
    python -m experiments.fuzz --small --out out/small

Mutates valid weight files (torch's three containers, safetensors, pickled NumPy), pictures and RUN folders, half of
them by random bytes and half by the rules of the format (forged opcodes, lying sizes, huge dimensions, bombs, links
to devices), and gives each to the public function that reads it, in a process whose memory and time are watched.
"Refused" is an `InputError`, which is one line; any other error counts as unclear.

Expected: 20,000 inputs, thousands refused, none of the five failures. Linux only. Time: five minutes on one CPU core;
the small preset takes two seconds. An input that failed is kept under OUT/failures.
"""

import math
import multiprocessing
import os
import re
import resource
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import tyro

from tests.mutations import IMAGES, WEIGHTS, hostile, seeds
from tests.runs import make_run, spoil_run
from tljax import progress
from tljax.data.images import decode, preprocess
from tljax.errors import InputError
from tljax.files import write_folder
from tljax.models.spec import get_spec
from tljax.report.blocks import Table
from tljax.report.experiment import write_experiment
from tljax.report.page import Section
from tljax.report.text import duration
from tljax.weights.read import read_weights

QUESTION = "Does a hostile file do any harm?"
SHARES = {**dict.fromkeys(WEIGHTS, 0.1), **dict.fromkeys(IMAGES, 0.05), "AVIF": 0.01, "run": 0.05}
FAILURES = ("crash", "hang", "memory", "executed", "unclear")
GIGABYTE = 1 << 30


@dataclass(frozen=True)
class Config:
    """Options of the experiment."""

    out: str = "out/fuzz"
    """The folder for report.html, results.json and the inputs that failed."""
    inputs: int = 20_000
    """How many, over all kinds."""
    kinds: tuple[str, ...] = tuple(SHARES)
    """Which kinds."""
    seed: int = 0
    """Of the mutations."""
    seconds: float = 5.0
    """A hang is whatever takes longer: CPU time, or six times as long by the clock."""
    batch: int = 500
    """Inputs in one process, unless it dies before."""
    small: bool = False
    """300 inputs, without RUN folders: shows that it runs."""


@dataclass
class Tally:
    """What became of the inputs of one kind."""

    counts: Counter = field(default_factory=Counter)
    reasons: Counter = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    slowest: float = 0.0


def main(config: Config) -> dict[str, Any]:
    """Tries them all, and writes OUT/report.html and OUT/results.json."""
    if config.small:
        config = replace(config, inputs=300, kinds=(*WEIGHTS, *IMAGES))
    out = write_folder(config.out, overwrite=True)
    whole = sum(SHARES[kind] for kind in config.kinds)
    start = time.perf_counter()
    tallies = {}
    with tempfile.TemporaryDirectory() as scratch, progress.tracking() as track:
        for kind in config.kinds:
            count = math.ceil(config.inputs * SHARES[kind] / whole)
            tallies[kind] = Tally()
            for result in track(outcomes(kind, count, config, Path(scratch)), kind, count):
                note(tallies[kind], kind, *result, config, out)
    document = {
        "config": config.__dict__,
        "seconds": time.perf_counter() - start,
        "inputs": sum(tally.counts.total() for tally in tallies.values()),
        "failures": {name: sum(tally.counts[name] for tally in tallies.values()) for name in FAILURES},
        "kinds": {
            kind: {**tally.counts, "slowest": tally.slowest, "reasons": tally.reasons.most_common(5)}
            for kind, tally in tallies.items()
        },
        "failed": [failure for tally in tallies.values() for failure in tally.failures],
    }
    write_experiment(out, QUESTION, document, findings=findings(document), drawings={}, sections=sections(document))
    return document


def note(tally: Tally, kind: str, i: int, outcome: str, detail: str, seconds: float, config: Config, out: Path) -> None:
    """Counts one outcome, and keeps the input that failed."""
    tally.counts[outcome] += 1
    tally.slowest = max(tally.slowest, seconds)
    if outcome == "refused":
        tally.reasons[re.sub(r"[0-9a-f]*[0-9][0-9a-f]*|\"[^\"]*\"|'[^']*'", "…", detail)[:90]] += 1
    if outcome in FAILURES:
        tally.failures.append({"kind": kind, "number": i, "outcome": outcome, "detail": detail, "seconds": seconds})
        (out / "failures").mkdir(exist_ok=True)
        if kind != "run":
            made = hostile(kind, Random(f"{config.seed} {kind} {i}"), Path("/nowhere/canary"))
            (out / "failures" / f"{kind}-{i}").write_bytes(made)


# --- one process after the other ---------------------------------------------------------------------------


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
                if not (ours.recv() == "begun" and ours.poll(6 * config.seconds)):
                    os.kill(worker.pid, signal.SIGPROF)
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
        said = str(error).replace(str(path), "F")
        if isinstance(error, InputError):
            return "refused", said
        return "unclear", f"{type(error).__name__}: {said[:500]}"
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

    spec = get_spec("efficientnet_lite0")
    read = see if kind in IMAGES else read_weights
    (folder / "F").write_bytes(seeds(kind)[0])
    attempt(read, folder / "F")
    return make, read


def virtual_memory(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    return int(re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024


# --- the page ----------------------------------------------------------------------------------------------


def findings(document: dict[str, Any]) -> list[str]:
    """What it found, a sentence each."""
    kinds = document["kinds"]
    read, refused = (sum(found.get(name, 0) for found in kinds.values()) for name in ("accepted", "refused"))
    harm = ", ".join(f"{name} {count}" for name, count in document["failures"].items())
    slowest = max(kinds, key=lambda kind: kinds[kind]["slowest"])
    return [
        f"{document['inputs']:,} hostile files ({', '.join(kinds)}) in {duration(document['seconds'])}: {refused:,} "
        f"refused in one line, {read:,} read. Failures: {harm}.",
        f"The slowest took {duration(kinds[slowest]['slowest'])} of one core ({slowest}).",
    ]


def sections(document: dict[str, Any]) -> list[Section]:
    """The page."""
    outcomes_ = ("accepted", "refused", *FAILURES)
    rows = [
        (kind, *(found.get(name, 0) for name in outcomes_), f"{found['slowest']:.2f}")
        for kind, found in document["kinds"].items()
    ]
    reasons = [(kind, n, why) for kind, found in document["kinds"].items() for why, n in found["reasons"]]
    failed = [(f["kind"], f["number"], f["outcome"], f["detail"]) for f in document["failed"]]
    return [
        Section("What became of them", [Table(["kind", *outcomes_, "slowest, CPU s"], rows)]),
        Section("The most frequent refusals", [Table(["kind", "inputs", "reason"], reasons)]),
        *([Section("Failures", [Table(["kind", "number", "failure", "detail"], failed)])] if failed else []),
    ]


if __name__ == "__main__":
    print("\n".join(findings(main(tyro.cli(Config, description=__doc__)))))
