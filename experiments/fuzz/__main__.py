"""`python -m experiments.fuzz`: see the package's own text."""

import math
import re
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import experiments.fuzz as fuzz
from experiments import Experiment, Results, program
from experiments.fuzz import page, processes
from experiments.fuzz.mutations import IMAGES, WEIGHTS, hostile
from experiments.fuzz.options import FAILURES, SHARES, Config
from tljax.progress import Track
from tljax.report.page import Section


@dataclass
class Tally:
    """What became of the inputs of one kind."""

    counts: Counter = field(default_factory=Counter)
    reasons: Counter = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    slowest: float = 0.0


def main(config: Config, folder: Path, track: Track) -> tuple[Results, list[Section]]:
    """Tries them all."""
    if config.small:
        config = replace(config, inputs=300, kinds=(*WEIGHTS, *IMAGES))
    whole = sum(SHARES[kind] for kind in config.kinds)
    start = time.perf_counter()
    tallies = {}
    with tempfile.TemporaryDirectory() as scratch:
        for kind in config.kinds:
            count = math.ceil(config.inputs * SHARES[kind] / whole)
            tallies[kind] = Tally()
            for outcome in track(processes.outcomes(kind, count, config, Path(scratch)), kind, count):
                note(tallies[kind], kind, *outcome, config, folder)
    results = {
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
    return results, page.sections(results)


def note(
    tally: Tally, kind: str, i: int, outcome: str, detail: str, seconds: float, config: Config, folder: Path
) -> None:
    """Counts one outcome, and keeps the input that failed."""
    tally.counts[outcome] += 1
    tally.slowest = max(tally.slowest, seconds)
    if outcome == "refused":
        tally.reasons[re.sub(r"[0-9a-f]*[0-9][0-9a-f]*|\"[^\"]*\"|'[^']*'", "…", detail)[:90]] += 1
    if outcome in FAILURES:
        tally.failures.append({"kind": kind, "number": i, "outcome": outcome, "detail": detail, "seconds": seconds})
        (folder / "failures").mkdir(exist_ok=True)
        if kind != "run":
            made = hostile(kind, Random(f"{config.seed} {kind} {i}"), Path("/nowhere/canary"))
            (folder / "failures" / f"{kind}-{i}").write_bytes(made)


EXPERIMENT = Experiment(fuzz.__doc__, Config, main, page.findings, compiles=False)

if __name__ == "__main__":
    program(EXPERIMENT)
