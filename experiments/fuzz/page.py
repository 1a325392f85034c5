"""What the experiment found: its findings and its page."""

from typing import Any

from experiments.fuzz.options import FAILURES
from tljax.report.blocks import Table
from tljax.report.page import Section
from tljax.report.text import duration


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
