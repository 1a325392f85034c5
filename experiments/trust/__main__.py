"""`python -m experiments.trust`: see the package's own text."""

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import experiments.trust as trust
import tljax
from experiments import Experiment, Results, program
from experiments.trust import choice, copies, coverage, labels, page, scale, unknown
from experiments.trust.common import labelled
from tljax.progress import Track
from tljax.report.page import Section

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
        results["choice"] = {name: choice.measure(where, config.models, track) for name, where in data.items()}
    if "scale" in config.parts:
        with tempfile.TemporaryDirectory() as scratch:
            results["scale"] = scale.measure(config.cats, config.many, Path(scratch), track)
    return {"config": asdict(config), "versions": versions(), **results}, []


def versions() -> dict[str, str]:
    """Of the judges that are here."""
    from tljax.versions import versions

    return versions(["cleanlab", "imagededup", "mapie", "pytorch-ood", "torch", "scikit-learn", "jax"])


EXPERIMENT = Experiment(trust.__doc__ or "", Config, main, page.findings)

if __name__ == "__main__":
    program(EXPERIMENT)
