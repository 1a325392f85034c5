"""What the experiment found, as sentences and tables."""

from typing import Any

import numpy as np

from experiments.findings import Finding
from tljax.metrics import interval
from tljax.report.blocks import Table
from tljax.report.text import duration, percent, spread


def findings(results: dict[str, Any]) -> list[Finding]:
    """What it found, as sentences and tables."""
    said = {
        "labels": of_labels,
        "copies": of_copies,
        "coverage": of_coverage,
        "unknown": of_unknown,
        "choice": of_choice,
        "scale": of_scale,
    }
    found = [one for part, say in said.items() if part in results for one in say(results[part])]
    judges = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return [*found, f"Versions: {judges}."]


def of_labels(part: dict[str, Any]) -> list[Finding]:
    rows = []
    for name, runs in part.items():
        for way in runs[0]["found"]:
            shares = [[run["found"][way][what] for run in runs] for what in ("precision", "recall")]
            rows.append((name, way, *(spread(*interval(values)) for values in shares)))
    other = [run["other photos than cleanlab"] for runs in part.values() for run in runs]
    known = [count for count in other if count is not None]
    same = f" Found by us or cleanlab alone in equal probabilities: {sum(known)} photos in {len(known)} draws."
    return [
        "Labels. 5 % of them changed at random; which are found, over draws. A photo whose label was wrong before "
        "counts against the precision of all." + (same if known else ""),
        Table(["photos", "found by", "precision", "recall"], rows),
    ]


def of_copies(part: dict[str, Any]) -> list[Finding]:
    ways = list(part["tljax"]["by way"])
    known = {name: part[name] for name in ("tljax", "imagededup") if "by way" in part.get(name, {})}
    rows = [
        (
            one.get("method", name),
            percent(one["recall"]),
            one["false groups"],
            *(percent(one["by way"][way]) for way in ways),
        )
        for name, one in known.items()
    ]
    return [
        f"Copies. {part['planted']} planted among {part['photos']:,} photos: the share found with the original, "
        "and groups that hold more than one picture. Of imagededup the hash and distance that find most with at most "
        "two such groups.",
        Table(["found by", "copies found", "false groups", *ways], rows),
    ]


def of_coverage(part: dict[str, Any]) -> list[Finding]:
    rows = [
        (name, coverage, way, percent(row["coverage"]), percent(row["within bounds"]), f"{row['size']:.2f}")
        for name, one in part.items()
        for coverage, ways in one["rows"].items()
        for way, row in ways.items()
    ]
    compared = sum(one["sets compared with MAPIE"] for one in part.values())
    different = sum(one["of them different"] for one in part.values())
    judged = f" Of {compared:,} sets made by MAPIE from the same numbers, {different} differ." if compared else ""
    accuracy = "; ".join(f"{name} {percent(one['accuracy'])}" for name, one in part.items())
    return [
        "Sets. How often they hold the right class, over random splits into photos that calibrate and new ones; "
        "the bounds hold 95 % of such splits by the beta-binomial law. As predict gives them, sets cover at least "
        f"the share asked for, and more where the likeliest class alone does (accuracy: {accuracy}); randomised ones "
        f"cover exactly that.{judged}",
        Table(["photos", "asked for", "sets", "covered", "splits within bounds", "classes in a set"], rows),
    ]


def of_unknown(part: dict[str, Any]) -> list[Finding]:
    methods = list(next(iter(part.values()))[0]["auroc"]["noise"])
    rows = [
        (f"{name} / {task}", *(f"{np.mean([run['auroc'][task][way] for run in runs]):.3f}" for way in methods))
        for name, runs in part.items()
        for task in runs[0]["auroc"]
    ]
    turned = "; ".join(
        f"{name} {spread(*interval([run['turned away'] for run in runs]))}" for name, runs in part.items()
    )
    return [
        "None of these. AUROC: how often a photo of something else scores higher than an own one that nobody "
        f"learned from; mean over draws. 5 % of own photos may be turned away; turned away were: {turned}.",
        Table(["own photos / others", *methods], rows, limit=len(rows)),
    ]


def of_choice(part: dict[str, Any]) -> list[Finding]:
    rows = [
        (
            name,
            row["name"] + (" (taken)" if row["name"] == one["best"] else ""),
            within(row["accuracy"], row["interval"]),
            within(row["run"], row["run interval"]),
        )
        for name, one in part.items()
        for row in one["models"]
    ]
    return [
        "Which network. What compare says by folds, and what train reaches on the photos that it keeps aside, "
        "with 95 % intervals.",
        Table(["photos", "network", "by compare", "by a run"], rows),
    ]


def within(share: float, bounds: list[float]) -> str:
    """A share with its interval."""
    return f"{percent(share)} ({100 * bounds[0]:.1f} to {100 * bounds[1]:.1f})"


def of_scale(part: dict[str, Any]) -> list[Finding]:
    return [
        f"Many photos. check of {part['photos']:,} photos took {duration(part['seconds'])} beyond the features, "
        f"and {part['memory (GiB)']:.2f} GiB at most."
    ]
