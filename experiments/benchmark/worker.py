"""One process of the benchmark: one peer and one row. It sets itself up, says so, and then measures when it is told.

    python -m experiments.benchmark.worker PEER CONTEXT ROW     (started by `turns`)

On stdin each line is a number of calls, and the answer on stdout one JSON object; the end of stdin ends it.
"""

import importlib
import json
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.benchmark.rows import COMPILE, FLAX, KERAS, ONNX, OURS, PAGES, TORCH, Row, parse

MODULES = {
    **dict.fromkeys((OURS, FLAX), "jax_peer"),
    **dict.fromkeys((TORCH, PAGES, COMPILE), "torch_peer"),
    ONNX: "onnx_peer",
    KERAS: "keras_peer",
}


@dataclass(frozen=True)
class Context:
    """What all processes of a benchmark share.

    Attributes:
        threads: processors that a process may use.
        weights: model -> file of weights.
        photos: number of photos -> folder with a folder of photos for each class.
        splits: the same folder -> {"train": files, "val": files}, relative to it.
    """

    threads: int = 2
    weights: dict[str, str] = field(default_factory=dict)
    photos: dict[str, str] = field(default_factory=dict)
    splits: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def files(self, folder: str) -> list[str]:
        """All photos of a folder, in the same order everywhere."""
        return sorted(name for share in self.splits[folder].values() for name in share)


@dataclass(frozen=True)
class Work:
    """What a peer does for a row.

    Attributes:
        run: one call; it returns when the result is there.
        check: numbers that every peer must agree on, by name; asked for after the first call.
        outcome: of the last result: how good it is, by name.
        flops, bytes: of one call: products and sums of the layers (of direct convolution), and the least that these
            must read and write if each layer reads its input once; 0 where nobody counted.
    """

    run: Callable[[], Any]
    check: Callable[[], dict[str, list[float]]] = dict
    outcome: Callable[[Any], dict[str, float]] = lambda result: {}
    flops: float = 0.0
    bytes: float = 0.0


def main(peer: str, context: Context, row: Row) -> None:
    """Answers on stdout until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: context.threads])
    if peer not in (TORCH, COMPILE, ONNX):
        from tljax.memory import keep_large_pages

        keep_large_pages()  # as the command line does; before JAX starts
    work = importlib.import_module(f"experiments.benchmark.{MODULES[peer]}").make(peer, row, context)
    seconds, result = timed(work.run)
    first_call = {"first": seconds, "check": work.check(), "flops": work.flops, "bytes": work.bytes}
    print(json.dumps({**first_call, "outcome": work.outcome(result), "peak": peak()}), file=answers, flush=True)
    for line in sys.stdin:
        count = int(line)
        if seconds < 0.3:
            work.run()  # the other peers' turn has emptied the caches
        calls = [timed(work.run)[0] for _ in range(count)]
        seconds = calls[-1]
        print(json.dumps({"seconds": calls, "peak": peak()}), file=answers, flush=True)


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """(seconds, result) of one call."""
    began = time.perf_counter()
    result = run()
    return time.perf_counter() - began, result


def peak() -> int:
    """The most memory that this process held so far, in bytes; 0 where the system does not say."""
    status = Path("/proc/self/status")
    match = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(match[1]) * 1024 if match else 0


if __name__ == "__main__":
    main(sys.argv[1], Context(**json.loads(Path(sys.argv[2]).read_text("utf-8"))), parse(sys.argv[3]))
