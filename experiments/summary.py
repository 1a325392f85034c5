"""Writes experiments/README.md, the map of the experiments, from their results, and the table of speed in README.md.

    python -m experiments.summary                  from experiments/results/*.json
    python -m experiments.summary --collect out    takes over out/*/results.json first

An experiment says what it found by `findings` and `drawings`, which see nothing but its results.
"""

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from experiments.findings import markdown
from tljax.errors import InputError
from tljax.files import replacing, write_text

FOLDER = Path(__file__).parent
EXPERIMENTS = (
    "cats_vs_dogs",
    "oxford_pets",
    "where_transfer_ends",
    "training_tricks",
    "ideal_and_adversarial",
    "ideal_classes",
    "attack_success",
    "fool_another",
    "exported",
    "trust",
    "fuzz",
    "benchmark",
)
HEAD = """\
# Experiments

One file is one question and one command. Each begins with its question, what to expect and how long it takes; its
options are a frozen dataclass (`--help` lists them), `--small` shows within a minute that it runs, and it writes
`OUT/report.html`, `OUT/results.json` and its figures. None needs another. To start your own, copy the nearest.

What stands below was measured on two CPU cores that had other work to do as well (so times are upper bounds), and put
here by `python -m experiments.summary`. Behind ± is the 95 % interval over seeds by Student's t. "The lesson" is that
of a course in Keras and PyTorch, whose ways of transfer learning and of making images are tried beside ours.

| question | experiment |
|---|---|
"""
SPEED = (  # of the rows of the benchmark those that README.md shows
    "forward/efficientnet_lite0/32",
    "forward/resnet50/8",
    "gradient/efficientnet_lite0/8",
    "step/resnet50/8",
    "ideal/efficientnet_lite0/20",
    "train/efficientnet_lite0/2005",
)
MARK = "<!-- python -m experiments.summary -->"
NOTEBOOKS = """
Two notebooks show the same by hand: [your photos in five minutes](notebooks/your_photos_in_five_minutes.ipynb) and
[how a network sees a cat](notebooks/how_a_network_sees_a_cat.ipynb).
"""


@dataclass(frozen=True)
class Config:
    """Options of the summary."""

    collect: str = ""
    """A folder of experiments' folders, NAME/results.json, whose results are taken over first."""


def main(config: Config) -> None:
    """Takes results over, and writes the README and its figures."""
    results = FOLDER / "results"
    for name in EXPERIMENTS if config.collect else ():
        path = Path(config.collect) / name / "results.json"
        if path.is_file():
            save(results / f"{name}.json", portable(json.loads(path.read_text("utf-8"))))
    if config.collect and not any(results.glob("*.json")):
        raise InputError(f'no NAME/results.json in "{config.collect}", NAME being an experiment')
    for name in EXPERIMENTS:
        for stem, drawing in drawn(name).items():
            with replacing(results / f"{name}-{stem}.png") as part:
                drawing.figure.savefig(part, dpi=80, facecolor="white", metadata={"Software": None})
    write_text(FOLDER / "README.md", readme())
    front = FOLDER.parent / "README.md"
    write_text(front, with_speed(front.read_text("utf-8")))


def save(path: Path, document: dict[str, Any]) -> None:
    """Writes results on one line for each entry at the top, which keeps differences readable and the file short."""
    lines = ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in document.items())
    write_text(path, f"{{\n{lines}\n}}\n")


def portable(document: dict[str, Any]) -> dict[str, Any]:
    """The results with data sets and photos by their last name, without patterns of rows and the folder written to."""
    config = {key: shorter(value) for key, value in document["config"].items() if key not in ("out", "rows")}
    return {**document, "config": config}


def shorter(value: Any) -> Any:
    """The last name of a path, also of each in a list."""
    if isinstance(value, list):
        return [shorter(one) for one in value]
    return Path(value).name if isinstance(value, str) else value


def readme() -> str:
    """The text of the README."""
    rows = "".join(f"| {question(name)} | [`{name}`](#{name}) |\n" for name in EXPERIMENTS)
    return HEAD + rows + NOTEBOOKS + "".join(map(section, EXPERIMENTS))


def with_speed(text: str) -> str:
    """The text of the front README, with the table between its two marks written anew."""
    before, _, after = text.split(MARK)
    table = speaker("benchmark").ratios(measured("benchmark"), SPEED, ranges=False)
    return f"{before}{MARK}\n\n{markdown([table])}\n\n{MARK}{after}"


def section(name: str) -> str:
    """What the README says of one experiment."""
    lines = [f"\n## {name}\n", f"{question(name)}\n", "```bash", *commands(name), "```\n"]
    document = measured(name)
    if document is not None:
        lines += [markdown(speaker(name).findings(document)), ""]
    else:
        lines.append("Not among the stored results.\n")
    for stem, drawing in drawn(name).items():
        lines += [f"![{drawing.alt}](results/{name}-{stem}.png)\n", f"*{drawing.alt}.*\n"]
    return "\n".join(lines)


def drawn(name: str) -> dict[str, Any]:
    """The figures of an experiment that was measured."""
    document, module = measured(name), speaker(name)
    return module.drawings(document) if document is not None and hasattr(module, "drawings") else {}


def speaker(name: str) -> Any:
    """The module that says what an experiment found: its own, or `page` where it is a package."""
    module = importlib.import_module(f"experiments.{name}")
    return importlib.import_module(f"experiments.{name}.page") if hasattr(module, "__path__") else module


def measured(name: str) -> dict[str, Any] | None:
    """The results of an experiment, or None."""
    path = FOLDER / "results" / f"{name}.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else None


def question(name: str) -> str:
    """The first line of an experiment."""
    return importlib.import_module(f"experiments.{name}").__doc__.strip().splitlines()[0]


def commands(name: str) -> list[str]:
    """The commands that an experiment names."""
    lines = importlib.import_module(f"experiments.{name}").__doc__.splitlines()
    return [line.strip() for line in lines if line.startswith("    python -m")]


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
