"""The page of `tljax check`: what may be wrong with photos, side by side with why, and boxes to decide it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from tljax.report.blocks import Block, Choice, Decision, Decisions, Numbers, Picture, Save, Table, Text
from tljax.report.page import Section, write_page
from tljax.report.text import dotted, number, shorten


@dataclass(frozen=True)
class Found:
    """One finding: the photo and the one that shows why (with captions), and what can be done about it.

    file: how the file of decisions calls the photo. suggestion: the class that it should have, or "drop".
    """

    file: str
    label: str
    note: str
    photo: UInt8[np.ndarray, "h w 3"] | None
    other: UInt8[np.ndarray, "h w 3"] | None
    other_label: str
    other_note: str
    suggestion: str


def write(
    path: str | os.PathLike,
    *,
    title: str,
    subtitle: str,
    counts: Mapping[str, int],
    meanings: Mapping[str, str],
    found: Mapping[str, Sequence[Found]],
    together: Sequence[Sequence[str]],
) -> Path:
    """Writes the page.

    Args:
        counts: of each kind of finding; meanings: what it is.
        found: of each kind the findings that are shown.
        together: groups of files that show one picture, as the file of decisions calls them.
    Raises:
        InputError: the file cannot be written.
    """
    tiles = [(_title(kind), number(count), "") for kind, count in counts.items()]
    how = (
        "Tick what is right, save the decisions, and train with them: tljax train DATA --fixes fixes.csv. Nothing is "
        "decided for you, but for one thing: copies of a picture are kept on one side of the split."
    )
    start: list[Block] = [Text("Nothing was found.")]
    if counts:
        start = [Text(how), Numbers(tiles), Save("fixes.csv", together)]
    sections = [Section("At a glance", start)]
    for kind, findings in found.items():
        shown: list[Block] = [Text(meanings[kind])]
        pictured = [(one, one.photo) for one in findings if one.photo is not None]
        if pictured:
            shown.append(Decisions([_decision(one, photo) for one, photo in pictured]))
        if bare := [(one.file, one.note) for one in findings if one.photo is None]:
            shown.append(Table(["File", "Reason"], bare))
        if counts[kind] > len(findings):
            shown.append(Text(f"… and {counts[kind] - len(findings):,} more, in issues.csv", note=True))
        sections.append(Section(_title(kind), shown))
    return write_page(path, title, sections, subtitle=subtitle)


def _decision(one: Found, photo: UInt8[np.ndarray, "h w 3"]) -> Decision:
    name = shorten(Path(one.file).name, 40)
    label = f"labelled {one.label}"
    pictures = [Picture(photo, f"{name}, {label}", label, dotted(name, one.note))]
    if one.other is not None:
        pictures.append(Picture(one.other, f"{one.other_label}: {one.other_note}", one.other_label, one.other_note))
    relabel = [] if one.suggestion == "drop" else [Choice(f"it is {one.suggestion}", "relabel", one.suggestion)]
    return Decision(one.file, pictures, [*relabel, Choice("drop it", "drop")])


def _title(kind: str) -> str:
    return kind.replace("_", " ").capitalize()
