"""Figures that compare arms of an experiment over seeds: the mean, and how far it can be trusted."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tljax.metrics import interval
from tljax.report.style import BLUE, GREEN, INK, MUTED, ORANGE, new_figure, share_axis, style
from tljax.report.text import shorten

COLOURS = (BLUE, ORANGE, GREEN, "#cc79a7", "#56b4e9", "#e69f00", MUTED)  # Okabe and Ito 2008, as in `style`

Line = tuple[Sequence[float], Float[np.ndarray, "seeds points"]]


@style()
def curves(
    lines: Mapping[str, Line] | Mapping[str, Mapping[str, Line]],
    *,
    xlabel: str,
    title: str = "",
    ticks: Sequence[str] | None = None,
    log: bool = False,
    share: bool = True,
) -> Figure:
    """Means over seeds as lines, their 95 % intervals as bands; one plot, or one for each group of lines.

    Args:
        lines: name -> (places of the points, (seeds, points) values); or title of a plot -> such lines.
        ticks: words for the places 0, 1, ...
        log: places on a logarithmic axis.
        share: values are shares in [0, 1], written as percentages.
    """
    grouped = not isinstance(next(iter(lines.values())), tuple)
    groups = lines if grouped else {title: lines}
    columns = min(2, len(groups))
    rows = -(-len(groups) // columns)
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    shared = len(groups) > 1 and len(names) <= len(COLOURS)
    figure = new_figure(4.4 * columns, (2.8 if grouped else 3.0) * rows)
    plots, drawn = figure.subplots(rows, columns, squeeze=False).ravel(), {}
    for axes, (heading, group) in zip(plots, groups.items(), strict=False):
        order = names if shared else list(group)
        for name, (places, values) in group.items():
            colour = COLOURS[order.index(name) % len(COLOURS)]
            drawn[name] = _band(axes, name, np.asarray(places, float), np.asarray(values, float), colour, share)
        axes.set(title=heading, xlabel=xlabel)
        if log:
            met = sorted({place for places, _ in group.values() for place in places})
            axes.set_xscale("log")
            axes.set_xticks(met, [f"{place:,g}" for place in met])
            axes.set_xticks([], minor=True)
        elif ticks is None:
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        else:
            axes.set_xticks(range(len(ticks)), ticks, rotation=40, ha="right", rotation_mode="anchor")
        if share:
            share_axis(axes.yaxis)
        if not shared:
            axes.legend()
    for axes in plots[len(groups) :]:
        axes.remove()
    if shared:
        figure.legend(handles=list(drawn.values()), loc="outside lower center", ncols=min(4, len(names)))
    return figure


@style()
def dots(rows: Mapping[str, Sequence[float]], *, xlabel: str, share: bool = True) -> Figure:
    """The mean of each arm with its 95 % interval, and each seed as a faint mark.

    Args:
        rows: name -> a value for each seed, best given in the order that they should have from above.
        share: values are shares in [0, 1], written as percentages.
    """
    labels = [shorten(name, 56) for name in rows]
    axes = new_figure(4.2 + 0.06 * max(map(len, labels)), 0.9 + 0.36 * len(rows)).add_subplot()
    for place, values in enumerate(rows.values()):
        mean, half = interval(values)
        axes.plot(values, [place] * len(values), "|", color=MUTED, alpha=0.7, markersize=9)
        axes.plot([mean - half, mean + half], [place, place], color=BLUE, linewidth=2.4, solid_capstyle="round")
        axes.plot([mean], [place], "o", color=BLUE)
        words = f"{100 * mean:.1f} %" if share else f"{mean:.3g}"
        axes.annotate(words, (mean, place), xytext=(0, 6), textcoords="offset points", ha="center", color=INK)
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")
    axes.set_yticks(range(len(rows)), labels)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set(ylim=(len(rows) - 0.4, -0.8), xlabel=xlabel)
    if share:
        share_axis(axes.xaxis)
    return axes.figure


def _band(axes: Axes, name: str, places: np.ndarray, values: np.ndarray, colour: str, share: bool) -> Line2D:
    intervals = [interval(column) for column in values.T]
    mean, half = (np.array([getattr(one, key) for one in intervals]) for key in ("mean", "half"))
    if np.isfinite(half).any():
        low, high = (0, 1) if share else (-np.inf, np.inf)
        axes.fill_between(places, *np.clip([mean - half, mean + half], low, high), color=colour, alpha=0.18)
    return axes.plot(places, mean, color=colour, label=name, marker="o" if len(places) <= 12 else None)[0]
