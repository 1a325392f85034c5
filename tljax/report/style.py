"""One look for every figure: its colours are the page's CSS variables, so a figure follows the page's theme."""

import io
import re
import warnings
import xml.etree.ElementTree as ElementTree
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

INK, MUTED, LINE = "#1c2128", "#5b6470", "#d8dde3"
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"  # Okabe and Ito 2008: told apart by colour-blind readers
_VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", BLUE: "blue", ORANGE: "orange", GREEN: "green"}
_HEX = re.compile("|".join(_VARIABLES))

RC: "dict[RcKeyType, Any]" = {
    "axes.axisbelow": True,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": MUTED,
    "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN]),
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "patch.linewidth": 0,
    "svg.fonttype": "none",
    "svg.hashsalt": "tljax",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.color": LINE,
    "ytick.labelcolor": MUTED,
    "ytick.left": False,
}


def style():
    """A context, or a decorator, in which figures have the look of the pages; nothing outside it changes."""
    return matplotlib.rc_context(RC)


def new_figure(width: float = 4.2, height: float = 2.9) -> Figure:
    """An empty figure of `width` by `height` inches with no window; call it inside `style()`."""
    return Figure(figsize=(width, height))


def share_axis(axis: Axis) -> None:
    """Writes the shares in [0, 1] along an axis as percentages; room above 100 % or below 0 gets no number."""
    axis.set_major_formatter(lambda share, _: f"{100 * share:.4g} %" if -1e-9 <= share <= 1 + 1e-9 else "")


def svg(figure: Figure, *, prefix: str) -> str:
    """The figure as an `<svg>` element for the body of a page.

    Theme colours become CSS variables, ids get `prefix` (unique on a page), and metadata, namespaces and
    the style sheet, which would reach the rest of the page, are left out.
    """
    buffer = io.BytesIO()
    with style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's browser has the letters, not matplotlib
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        parent[:] = [child for child in parent if not child.tag.endswith(("}metadata", "}style"))]
    names = {e.get("id"): f"{prefix}-{i}" for i, e in enumerate(root.iter())}
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {k.rpartition("}")[2]: _value(v, names) for k, v in element.attrib.items()}
    width = figure.get_figwidth()
    root.attrib = {"viewBox": root.get("viewBox", ""), "style": f"--width:{96 * width:.0f}px", "aria-hidden": "true"}
    if width > 7.5:
        root.set("class", "broad")
    return ElementTree.tostring(root, encoding="unicode")


def _value(text: str, names: dict) -> str:
    """An attribute's value with references renamed and theme colours replaced."""
    if text in names:
        return names[text]
    text = re.sub(r"(?<=#)\w+", lambda match: names.get(match[0], match[0]), text)
    return _HEX.sub(lambda match: f"var(--{_VARIABLES[match[0]]})", text)
