"""What the experiment found: its findings and its page."""

from typing import Any

from experiments.findings import Finding
from experiments.fuzz.options import FAILURES
from tljax.report.blocks import Table
from tljax.report.page import Section
from tljax.report.text import duration


def findings(results: dict[str, Any]) -> list[Finding]:
    """What it found: how many files, and what became of each kind."""
    kinds = results["kinds"]
    read, refused = (sum(kind.get(name, 0) for kind in kinds.values()) for name in ("accepted", "refused"))
    failed = sum(results["failures"].values())
    outcomes = ("accepted", "refused", *FAILURES)
    rows = [
        (kind, *(counts.get(name, 0) for name in outcomes), f"{counts['slowest']:.2f}")
        for kind, counts in kinds.items()
    ]
    return [
        f"{results['inputs']:,} hostile files in {duration(results['seconds'])}: {refused:,} refused in one line, "
        f"{read:,} read, {failed:,} failures.",
        Table(["kind", *outcomes, "slowest, CPU s"], rows),
    ]


def sections(results: dict[str, Any]) -> list[Section]:
    """The page."""
    reasons = [(kind, n, why) for kind, counts in results["kinds"].items() for why, n in counts["reasons"]]
    failed = [(f["kind"], f["number"], f["outcome"], f["detail"]) for f in results["failed"]]
    return [
        Section("The most frequent refusals", [Table(["kind", "inputs", "reason"], reasons)]),
        *([Section("Failures", [Table(["kind", "number", "failure", "detail"], failed)])] if failed else []),
    ]
