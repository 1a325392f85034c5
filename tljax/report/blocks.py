"""The pieces that a page is built from: plain records. `render` writes them as HTML, with every name escaped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Text:
    """A paragraph; as a `note`, smaller and muted."""

    text: str
    note: bool = False


@dataclass(frozen=True)
class Heading:
    """A heading below a section's."""

    text: str


@dataclass(frozen=True)
class Figure:
    """A matplotlib figure, drawn as SVG in the colours of the page; `alt` says what it shows."""

    figure: Any
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """An image with what stands below it.

    image: uint8 (h, w), (h, w, 1), (h, w, 3) or with alpha (h, w, 4). exact: keep every pixel (PNG); else a photo of
    some size becomes a JPEG, a seventh of that. caption: the line below; note: a second, muted one.
    """

    image: np.ndarray
    alt: str
    caption: str = ""
    note: str = ""
    exact: bool = False


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side; size: "small", "medium" or "large"; or "pair", two that fill the width."""

    pictures: Sequence[Picture]
    size: str = "medium"


@dataclass(frozen=True)
class Row:
    """Blocks side by side where there is room, each in a card; `wide` ones take half of the page, others a third."""

    blocks: Sequence["Block"]
    wide: bool = True


@dataclass(frozen=True)
class Card:
    """Blocks that belong together, in one frame."""

    blocks: Sequence["Block"]


@dataclass(frozen=True)
class Table:
    """Rows under column names; numbers stand to the right. Beyond `limit` rows the rest is only counted."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]
    limit: int = 40


@dataclass(frozen=True)
class Bar:
    """One line of `Bars`: value in [0, 1]; note: a word behind it; strong: the one to look at."""

    label: str
    value: float
    note: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Bars:
    """Probabilities as horizontal bars."""

    bars: Sequence[Bar]


@dataclass(frozen=True)
class Slider:
    """Two pictures of one size, one over the other, with a line between them that can be moved."""

    before: Picture
    after: Picture


@dataclass(frozen=True)
class Numbers:
    """Headline figures as tiles: (label, value as shown, a word below or "")."""

    numbers: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Choice:
    """A box to tick: what it says, and the action and label that it stands for in the file that `Save` writes."""

    text: str
    action: str
    label: str = ""


@dataclass(frozen=True)
class Decision:
    """Pictures of something found about a file, and what can be done; of its choices one or none is ticked."""

    file: str
    pictures: Sequence[Picture]
    choices: Sequence[Choice]


@dataclass(frozen=True)
class Decisions:
    """Decisions side by side."""

    decisions: Sequence[Decision]


@dataclass(frozen=True)
class Save:
    """A button that saves the decisions of the page as a CSV file `name`: file, action, label, group.

    together: groups of files; those that are not dropped are written with the action "together" whatever is ticked.
    """

    name: str
    together: Sequence[Sequence[str]] = ()


Block = (
    Text
    | Heading
    | Figure
    | Picture
    | Pictures
    | Row
    | Card
    | Table
    | Bars
    | Slider
    | Numbers
    | Decision
    | Decisions
    | Save
)
