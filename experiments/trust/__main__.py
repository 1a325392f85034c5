"""`python -m experiments.trust`: see the package's own text."""

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import experiments.trust as text
import tljax
from experiments import Experiment, Results, program
from experiments.findings import Finding
from experiments.trust import copies, coverage, labels, scale, unknown
from experiments.trust.common import labelled
from tljax.metrics import interval
from tljax.progress import Track
from tljax.report.blocks import Table
from tljax.report.page import Section
from tljax.report.text import duration, percent, spread

PARTS = ("labels", "copies", "coverage", "unknown", "choice", "scale")


@dataclass(frozen=True)
class Config:
    """Options of the experiment."""

    cats: str
    """Photos of cats and dogs, a folder for each."""
    pets: str
    """Photos of breeds, a folder for each."""
    others: str
    """A folder of photos of other things; a labels.csv with ImageNet's index of each leaves cats and dogs out."""
    out: str = "out/trust"
    """The folder for report.html and results.json."""
    model: str = "efficientnet_lite0"
    """The network whose features are judged."""
    models: tuple[str, ...] = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "squeezenet1_1.caffe")
    """Those that `compare` chooses among."""
    parts: tuple[str, ...] = PARTS
    """Which parts to run."""
    seeds: int = 5
    """Draws of wrong labels, and of own photos."""
    resplits: int = 1000
    """Splits for the sets."""
    photos: int = 2000
    """Among how many photos copies are planted."""
    many: int = 20_000
    """How many photos are checked for time and memory."""
    small: bool = False
    """Few photos and draws: shows that it runs."""


def main(config: Config, folder: Path, track: Track) -> tuple[Results, list[Section]]:
    """Measures each part."""
    limit = None
    if config.small:
        limit, models = 12, ("efficientnet_lite0", "squeezenet1_1.caffe")
        config = replace(config, seeds=2, resplits=20, photos=40, many=60, models=models)
    net = tljax.load_pretrained(config.model)
    data = {"cats and dogs": config.cats, "breeds": config.pets}
    sets = [labelled(net, name, where, track, limit=limit) for name, where in data.items()]
    results: dict[str, Any] = {}
    if "labels" in config.parts:
        results["labels"] = labels.measure(sets, config.seeds, track)
    if "copies" in config.parts:
        results["copies"] = copies.measure(config.cats, config.photos, track)
    if "coverage" in config.parts:
        results["coverage"] = coverage.measure(sets, config.resplits, track)
    if "unknown" in config.parts:
        strange = unknown.strangers(net, config.others, limit, track)
        results["unknown"] = unknown.measure(sets, strange, config.seeds, track)
    if "choice" in config.parts:
        from experiments.trust import choice

        results["choice"] = {name: choice.measure(where, config.models, track) for name, where in data.items()}
    if "scale" in config.parts:
        with tempfile.TemporaryDirectory() as scratch:
            results["scale"] = scale.measure(config.cats, config.many, Path(scratch), track)
    return {"config": asdict(config), "versions": versions(), **results}, []


def versions() -> dict[str, str]:
    """Of the judges that are here."""
    from tljax.versions import versions

    return versions(["cleanlab", "imagededup", "mapie", "pytorch-ood", "torch", "scikit-learn", "jax"])


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
        "**Labels.** 5 % of them changed at random; which are found, over draws. A photo whose label was wrong before "
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
        f"**Copies.** {part['planted']} planted among {part['photos']:,} photos: the share found with the original, "
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
        "**Sets.** How often they hold the right class, over random splits into photos that calibrate and new ones; "
        "the bounds hold 95 % of such splits by the beta-binomial law. As `predict` gives them, sets cover at least "
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
        "**None of these.** AUROC: how often a photo of something else scores higher than an own one that nobody "
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
        "**Which network.** What `compare` says by folds, and what `train` reaches on the photos that it keeps aside, "
        "with 95 % intervals.",
        Table(["photos", "network", "by compare", "by a run"], rows),
    ]


def within(share: float, bounds: list[float]) -> str:
    """A share with its interval."""
    return f"{percent(share)} ({100 * bounds[0]:.1f} to {100 * bounds[1]:.1f})"


def of_scale(part: dict[str, Any]) -> list[Finding]:
    return [
        f"**Many photos.** `check` of {part['photos']:,} photos took {duration(part['seconds'])} beyond the features, "
        f"and {part['memory (GiB)']:.2f} GiB at most."
    ]


EXPERIMENT = Experiment(text.__doc__ or "", Config, main, findings)

if __name__ == "__main__":
    program(EXPERIMENT)
