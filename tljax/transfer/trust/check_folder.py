"""What `check` found, as a folder: issues.csv, and a page on which a person decides."""

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from tljax.data.images import DecodeError
from tljax.data.source import Source
from tljax.files import PAGE, replacing
from tljax.report import check_page
from tljax.report.check_page import Found
from tljax.transfer.trust.check import KINDS, Checked, Issue

ISSUES = "issues.csv"
COLUMNS = ("file", "kind", "score", "suggestion", "other")
_SHOWN = 60
_SIDE = 200


def rows(checked: Checked) -> list[dict[str, Any]]:
    """The issues by `COLUMNS`, with files as they are called in results."""
    files = checked.source.files
    return [
        {
            "file": files[one.index],
            "kind": one.kind,
            "score": one.score,
            "suggestion": one.suggestion,
            "other": "" if one.other is None else files[one.other],
        }
        for one in checked.issues
    ]


def write_check(folder: Path, checked: Checked, *, subtitle: str) -> None:
    """Writes issues.csv and report.html; of each kind the page shows the 60 worst.

    Raises:
        InputError: the page cannot be written.
        OSError: the disk is full.
    """
    with replacing(folder / ISSUES) as part, part.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerows([row[column] for column in COLUMNS] for row in rows(checked))
    source, counts = checked.source, checked.counts()
    shown = {kind: [one for one in checked.issues if one.kind == kind][:_SHOWN] for kind in counts}
    photos = len(source.files)
    check_page.write(
        folder / PAGE,
        title=f"What may be wrong in {photos:,} photos of {len(source.classes)} classes",
        subtitle=subtitle,
        counts=counts,
        meanings=KINDS,
        found={kind: [_found(source, one) for one in issues] for kind, issues in shown.items()},
        together=[[_key(source, i) for i in group.index] for group in checked.copies],
    )


def _key(source: Source, i: int) -> str:
    """How the decisions call a photo: relative to the data, so that they hold when it moves."""
    return source.keys[i] if source.keys else source.files[i]


def _found(source: Source, issue: Issue) -> Found:
    label = source.classes[source.labels[issue.index]]
    other = issue.other
    return Found(
        file=_key(source, issue.index),
        label=label,
        note=issue.detail or f"{issue.score:.2f}",
        photo=None if issue.kind == "unreadable" else _small(source, issue.index),
        other=None if other is None else _small(source, other),
        other_label="" if other is None else source.classes[source.labels[other]],
        other_note="" if other is None else os.path.basename(_key(source, other)),
        suggestion=issue.suggestion,
    )


def _small(source: Source, i: int) -> UInt8[np.ndarray, "h w 3"] | None:
    """A picture for the page; None where it cannot be read any more."""
    from PIL import Image

    try:
        picture = Image.fromarray(source.picture(i, short_side=_SIDE))
    except (DecodeError, OSError):
        return None
    picture.thumbnail((_SIDE, _SIDE))
    return np.asarray(picture)
