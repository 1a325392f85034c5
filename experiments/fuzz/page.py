"""What the experiment found: its findings and its page."""

from typing import Any

from experiments.fuzz.options import FAILURES
from tljax.report.blocks import Table
from tljax.report.page import Section
from tljax.report.text import duration


def findings(results: dict[str, Any]) -> list[str]:
    """What it found, a sentence each."""
    kinds = results["kinds"]
    read, refused = (sum(kind.get(name, 0) for kind in kinds.values()) for name in ("accepted", "refused"))
    harm = ", ".join(f"{name} {count}" for name, count in results["failures"].items())
    slowest = max(kinds, key=lambda kind: kinds[kind]["slowest"])
    return [
        f"{results['inputs']:,} hostile files ({', '.join(kinds)}) in {duration(results['seconds'])}: {refused:,} "
        f"refused in one line, {read:,} read. Failures: {harm}.",
        f"The slowest took {duration(kinds[slowest]['slowest'])} of one core ({slowest}).",
    ]


def sections(results: dict[str, Any]) -> list[Section]:
    """The page."""
    outcomes = ("accepted", "refused", *FAILURES)
    rows = [
        (kind, *(counts.get(name, 0) for name in outcomes), f"{counts['slowest']:.2f}")
        for kind, counts in results["kinds"].items()
    ]
    reasons = [(kind, n, why) for kind, counts in results["kinds"].items() for why, n in counts["reasons"]]
    failed = [(f["kind"], f["number"], f["outcome"], f["detail"]) for f in results["failed"]]
    return [
        Section("What became of them", [Table(["kind", *outcomes, "slowest, CPU s"], rows)]),
        Section("The most frequent refusals", [Table(["kind", "inputs", "reason"], reasons)]),
        *([Section("Failures", [Table(["kind", "number", "failure", "detail"], failed)])] if failed else []),
    ]
