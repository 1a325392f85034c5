"""What an experiment leaves: results.json, its figures as PNG, and one page with what it found."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.findings import Finding
from tljax.files import PAGE, write_text
from tljax.report.blocks import Figure, Text
from tljax.report.page import Section, write_page


def write_experiment(
    folder: str | os.PathLike,
    question: str,
    document: Mapping[str, Any],
    *,
    findings: Sequence[Finding],
    drawings: Mapping[str, Figure],
    sections: Sequence[Section] = (),
) -> Path:
    """Writes an experiment's results into a folder that exists.

    Args:
        question: the page's title.
        document: goes into results.json; nothing in it may be NaN, which is no JSON.
        findings: sentences and tables.
        drawings: file stem -> figure; saved as PNG, and shown on the page, over its caption or else its `alt`.
        sections: what else the page shows.
    Returns:
        The page.
    Raises:
        InputError: the page cannot be written.
    """
    folder = Path(folder)
    write_text(folder / "results.json", json.dumps(document, indent=1, allow_nan=False) + "\n")
    for stem, drawing in drawings.items():
        drawing.figure.savefig(folder / f"{stem}.png", dpi=130, facecolor="white")
    figures = [replace(drawing, caption=drawing.caption or drawing.alt) for drawing in drawings.values()]
    shown = [Section("Figures", figures)] if figures else []
    found = [Text(one) if isinstance(one, str) else one for one in findings]
    return write_page(folder / PAGE, question, [Section("What it found", found), *shown, *sections])
