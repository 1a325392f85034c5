"""The figures of the pages, as `matplotlib.figure.Figure` objects that no window shows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from tljax.metrics import Reliability
from tljax.report.style import BLUE, GREEN, INK, LINE, MUTED, ORANGE, new_figure, share_axis, style
from tljax.report.text import shorten

_HEAT = "#2f81c7"  # seen on white and on near-black: cells differ by how much of it covers the page


@style()
def accuracy_vs_l2(path: Sequence[dict[str, float]], chosen: float | None = None) -> Figure:
    """Cross-validated accuracy (above) and loss (below) along a path of L2 strengths, evenly spaced in their order.

    Args:
        path: {l2, val_accuracy, val_loss} of each strength.
        chosen: the strength that was taken, marked.
    """
    path = sorted(path, key=lambda point: point["l2"])
    places = np.arange(len(path))
    figure = new_figure(height=3.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    above.plot(places, [point["val_accuracy"] for point in path], color=BLUE, marker="o")
    below.plot(places, [point["val_loss"] for point in path], color=ORANGE, marker="o")
    share_axis(above.yaxis)
    above.set_title("Accuracy on held-out folds")
    below.set(title="Loss", xlabel="L2 strength")
    below.set_xticks(places, [f"{float(format(point['l2'], '.1g')):g}".replace("e-0", "e-") for point in path])
    if len(path) > 8:
        below.tick_params(axis="x", labelrotation=45)
    for place in [i for i in places if chosen is not None and np.isclose(path[i]["l2"], chosen, rtol=1e-4, atol=0)]:
        for axes in (above, below):
            axes.axvline(place, color=GREEN, linewidth=1.2, linestyle="--")
        corner = {"xy": (place, 1), "xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        side = {"xytext": (4, -9), "ha": "left"} if place < len(path) / 2 else {"xytext": (-4, -9), "ha": "right"}
        below.annotate("taken", **corner, **side, color=GREEN)
    return figure


@style()
def learning_curve(curve: Sequence[dict[str, Any]]) -> Figure:
    """Accuracy (above) and training loss (below) against the step.

    Args:
        curve: {step, loss, accuracy, val_accuracy}; whichever is absent or None at a step is not drawn there.
    """
    figure = new_figure(height=3.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    for key, name, colour, axes in (
        ("accuracy", "training photos", BLUE, above),
        ("val_accuracy", "validation photos", ORANGE, above),
        ("loss", "training loss", BLUE, below),
    ):
        points = [(row["step"], row[key]) for row in curve if row.get(key) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, label=name, marker="o" if len(points) <= 30 else None)
    share_axis(above.yaxis)
    above.set_title("Accuracy")
    if above.lines:
        above.legend(loc="lower right")
    below.set(title="Training loss", xlabel="step")
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


@style()
def accuracy_by_photos(curve: Mapping[str, Any]) -> Figure:
    """Accuracy against the number of training photos, with its 95 % band, and what is expected of twice as many.

    Args:
        curve: sizes, accuracy, low, high; photos, twice, gain and gain_interval, as `transfer.LearningCurve`.
    """
    sizes, accuracy, twice = curve["sizes"], curve["accuracy"], 2 * curve["photos"]
    now = curve["twice"] - curve["gain"]
    low, high = (min(now + gain, 1) for gain in curve["gain_interval"])
    figure = new_figure(height=3.2)
    axes = figure.add_subplot()
    axes.fill_between(sizes, curve["low"], curve["high"], color=BLUE, alpha=0.15)
    axes.plot(sizes, accuracy, color=BLUE, marker="o", clip_on=False)
    axes.plot([sizes[-1], twice], [accuracy[-1], curve["twice"]], color=ORANGE, linestyle="--")
    axes.plot([twice, twice], [low, high], color=ORANGE)
    axes.plot(twice, curve["twice"], color=ORANGE, marker="o", clip_on=False)
    axes.set_xscale("log")
    axes.set_xticks([*sizes, twice], [f"{size:,}" for size in [*sizes, twice]])
    axes.minorticks_off()
    axes.set(title="Accuracy by training photos", xlabel="training photos")
    share_axis(axes.yaxis)
    return figure


@style()
def confusion(matrix: Int[np.ndarray, "c c"], classes: Sequence[str]) -> Figure:
    """Confusion matrix: rows are true classes, columns predicted; the colour is the root of the share of the row.

    Up to 12 classes all counts are written, up to 50 those of mistakes, and every class is named; beyond that as many
    names as can be read.
    """
    matrix = np.asarray(matrix)
    count = len(matrix)
    shade = np.sqrt(matrix / np.maximum(matrix.sum(1, keepdims=True), 1))
    step = -(-count // 50)
    names = [shorten(name, 22) for name in classes]
    size = 2.2 + 0.28 * count if count <= 12 else 3.2 + 0.15 * min(count, 50)
    figure = new_figure(max(size + 0.6, 4.2), size)
    axes = _heat(figure, shade)
    small: dict[str, Any] = {"fontsize": 8.5 if count <= 12 else 7}
    ticks = np.arange(0, count, step)
    slope: dict[str, Any] = {
        "rotation": 60 if count <= 12 else 90,
        "ha": "right",
        "va": "center",
        "rotation_mode": "anchor",
    }
    axes.set_xticks(ticks, names[::step], **small, **({} if sum(map(len, names)) <= 36 else slope))
    axes.set_yticks(ticks, names[::step], **small)
    axes.set(xlabel="predicted", ylabel="true")
    if count <= 50:
        shown = matrix if count <= 12 else matrix * (1 - np.eye(count, dtype=int))
        _write(axes, shade, [[f"{n}" if n else "" for n in row] for row in shown], **small)
    return figure


@style()
def reliability(curve: Reliability) -> Figure:
    """Reliability diagram: how often the network is right, by how sure it says it is, above the number of photos.

    Source: Guo et al., "On calibration of modern neural networks", 2017.
    """
    bins = len(curve.count)
    middles, width = (curve.edges[1:] + curve.edges[:-1]) / 2, 0.9 / bins
    figure = new_figure(height=3.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--")
    above.bar(middles, curve.accuracy, width, color=BLUE, alpha=0.3)
    above.plot(curve.confidence, curve.accuracy, color=BLUE, marker="o", linestyle="none")
    above.set(xlim=(0, 1), ylim=(0, 1.03), title="Share that is right")
    below.bar(middles, curve.count, width, color=MUTED, alpha=0.6)
    below.set(title="Photos", xlabel="probability of the predicted class")
    below.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    for axis in (above.yaxis, below.xaxis):
        share_axis(axis)
    return figure


@style()
def pixels_vs_features(results: dict[str, tuple[float, float]]) -> Figure:
    """The accuracy of one probe on the network's features and on raw pixels, for each data set.

    Args:
        results: {data set: (accuracy on features, accuracy on pixels)}, in [0, 1].
    """
    figure = new_figure(4.8, 0.8 + 0.7 * len(results))
    axes = figure.add_subplot()
    places = np.arange(len(results))
    for offset, column, colour, name in ((-0.2, 0, BLUE, "features"), (0.2, 1, ORANGE, "raw pixels")):
        values = [pair[column] for pair in results.values()]
        bars = axes.barh(places + offset, values, 0.34, color=colour, label=name)
        axes.bar_label(bars, [f"{100 * value:.1f} %  {name}" for value in values], padding=4, color=INK)
    axes.grid(False)
    axes.set_yticks(places, [shorten(name, 24) for name in results], fontsize=9.5)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.5), xticks=[0, 0.25, 0.5, 0.75, 1], xlabel="accuracy on validation photos")
    share_axis(axes.xaxis)
    return figure


@style()
def accuracy_vs_seconds(models: Sequence[Mapping[str, Any]]) -> Figure:
    """The accuracy of networks with its interval, against the seconds that each takes for a photo.

    Args:
        models: {name, accuracy, interval: (low, high), seconds_per_photo} each, the best first, which is marked.
    """
    figure = new_figure(6.4, 3.6)
    axes = figure.add_subplot()
    times = [model["seconds_per_photo"] for model in models]
    for place, model in enumerate(models):
        x, y = model["seconds_per_photo"], model["accuracy"]
        colour = BLUE if place else GREEN
        below, above = y - model["interval"][0], model["interval"][1] - y
        axes.errorbar([x], [y], [[below], [above]], color=colour, marker="o", capsize=3, elinewidth=1.2)
        slope: dict[str, Any] = {"rotation": 35, "rotation_mode": "anchor", "xytext": (1, 6)}  # so that few meet
        top = (x, model["interval"][1])
        axes.annotate(shorten(model["name"], 24), top, textcoords="offset points", color=colour, **slope)
    axes.set_xscale("log")
    axes.set_xlim(min(times) / 1.5, max(times) * 1.5)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.xaxis.set_major_formatter("{x:.3g}")
    axes.minorticks_off()
    axes.set(title="Accuracy on photos held out", xlabel="seconds for a photo")
    share_axis(axes.yaxis)
    return figure


@style()
def robustness_curve(curve: Sequence[Mapping[str, float]]) -> Figure:
    """Accuracy under attack against the budget.

    Args:
        curve: {eps, accuracy} each: budgets in [0, 1] units, shown as multiples of 1/255, and shares in [0, 1].
    """
    steps, values = zip(*sorted((255 * point["eps"], point["accuracy"]) for point in curve), strict=True)
    figure = new_figure()
    axes = figure.add_subplot()
    axes.fill_between(steps, values, color=BLUE, alpha=0.15)
    axes.plot(steps, values, color=BLUE, marker="o", clip_on=False)
    last, apart = -np.inf, 0.06 * np.ptp(steps)
    for step, value in zip(steps, values, strict=True):
        if step - last >= apart:  # the labels of budgets nearer than that would lie on each other
            axes.annotate(f"{100 * value:.0f} %", (step, value), xytext=(5, 5), textcoords="offset points")
            last = step
    axes.set(ylim=(0, 1.05), yticks=[0, 0.25, 0.5, 0.75, 1], xlabel="budget, in steps of 1/255")
    axes.xaxis.set_major_formatter("{x:.4g}")
    share_axis(axes.yaxis)
    return figure


@style()
def transfer_matrix(
    values: Float[np.ndarray, "makers judges"],
    makers: Sequence[str],
    judges: Sequence[str],
    *,
    letters: int = 22,
    ylabel: str = "made on",
) -> Figure:
    """How often images made on one network (rows) work on another (columns).

    Args:
        values: shares in [0, 1]; nan is left empty.
        letters: of a maker's name, at most; what is longer is cut in the middle.
        ylabel: what the rows are, where they are no makers.
    """
    values = np.asarray(values, float)
    figure = new_figure(1.1 + 0.06 * letters + 0.72 * len(judges), 1.6 + 0.5 * len(makers))
    axes = _heat(figure, values)
    axes.set_xticks(
        range(len(judges)), [shorten(n, 22) for n in judges], rotation=35, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(range(len(makers)), [shorten(n, letters) for n in makers])
    axes.set(xlabel="judged by", ylabel=ylabel)
    _write(axes, values, [["" if np.isnan(v) else f"{100 * v:.0f} %" for v in row] for row in values])
    return figure


def _heat(figure: Figure, values: np.ndarray) -> Axes:
    """A plot of cells, covered by one colour as far as their value in [0, 1] says."""
    axes = figure.add_subplot()
    cells = to_rgba_array(_HEAT, np.clip(np.nan_to_num(values), 0, 1).ravel())
    axes.imshow(cells.reshape(*values.shape, 4), aspect="auto", interpolation="none")
    axes.grid(False)
    axes.spines[:].set(visible=True, color=LINE)
    axes.tick_params(length=0)
    return axes


def _write(axes: Axes, shades: np.ndarray, words: Sequence[Sequence[str]], fontsize: float = 9) -> None:
    """A word in each cell, light where the cell is dark; an empty one is not drawn."""
    for row, line in enumerate(words):
        for column, word in enumerate(line):
            if word:
                colour = "white" if shades[row, column] > 0.75 else INK
                axes.text(column, row, word, ha="center", va="center", color=colour, fontsize=fontsize)
