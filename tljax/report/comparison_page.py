"""The page that compares networks: accuracy against time, and what is more than luck."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tljax.report import figures
from tljax.report.blocks import Block, Figure, Numbers, Table, Text
from tljax.report.page import Section, write_page
from tljax.report.text import dotted, duration, number, percent

_MEASURED = (
    "A linear classifier on what each network sees, measured on photos that were held out: the same for all networks. "
    "The time is that of this machine for one photo, from the file to its features."
)
_LUCK = (
    "A difference whose 95 % interval reaches 0 may be luck: as many other photos could turn it round. Intervals of "
    "differences are paired, photo by photo, and so narrower than those of two accuracies."
)


def write(path: str | os.PathLike, record: Mapping[str, Any]) -> Path:
    """Writes the page; see `sections` for the record, of which `data` names the photos.

    Raises:
        InputError: the file cannot be written.
    """
    return write_page(path, "Networks compared", sections(record), subtitle=dotted(record.get("data")))


def sections(record: Mapping[str, Any]) -> list[Section]:
    """The page's sections.

    Args:
        record: models: {name, accuracy, interval, seconds_per_photo, params, difference, difference_interval, luck,
            layer} each, the best first; advice (sentences), images and folds (counts), classes; skipped: {file, reason}
            each.
    """
    models = record["models"]
    tiles = [
        ("Take", models[0]["name"], f"of {len(models)} networks"),
        ("Accuracy", percent(models[0]["accuracy"]), _between(models[0]["interval"])),
        ("Photos", number(record["images"]), f"of {len(record['classes'])} classes, in {record['folds']} parts"),
    ]
    alt = "Accuracy on photos held out, with its 95 % interval, against the seconds for a photo, for each network"
    shown: list[Block] = [
        Numbers(tiles),
        Figure(figures.accuracy_vs_seconds(models), alt, _MEASURED),
        *(Text(f"{sentence}.") for sentence in record["advice"]),
    ]
    columns = ["Network", "Layer", "Accuracy", "95 % interval", "Below the best", "95 % interval", "May be luck"]
    table = Table([*columns, "Time", "Parameters"], [_row(model) for model in models])
    built = [Section("At a glance", shown), Section("Network by network", [table, Text(_LUCK, note=True)])]
    if record["skipped"]:
        rows = [(one["file"], one["reason"]) for one in record["skipped"]]
        built.append(Section("Photos left out", [Table(["File", "Reason"], rows)]))
    return built


def _row(model: Mapping[str, Any]) -> tuple[str | float, ...]:
    below = ("–", "–", "–")
    if model["difference_interval"] is not None:
        points = f"{100 * model['difference']:.1f} points"
        below = points, _between(model["difference_interval"], unit=""), "yes" if model["luck"] else "no"
    return (
        model["name"],
        model["layer"] or "last",
        percent(model["accuracy"]),
        _between(model["interval"]),
        *below,
        duration(model["seconds_per_photo"]),
        number(model["params"]),
    )


def _between(interval: tuple[float, float], unit: str = " %") -> str:
    low, high = interval
    return f"{100 * low:.1f} to {100 * high:.1f}{unit}"
