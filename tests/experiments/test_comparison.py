import json

import numpy as np
import pytest
from matplotlib.colors import to_hex

from experiments.comparison import COLOURS, curves, dots
from experiments.page import write_experiment
from tljax.report.blocks import Figure, Text
from tljax.report.page import Section
from tljax.report.style import svg
from tljax.report.text import spread

RUNS = np.array([[0.1, 0.4, 0.7], [0.3, 0.4, 0.9]])


def test_spread_is_written_in_percent():
    assert spread(0.978, 0.006) == "97.8 ± 0.6 %"
    assert spread(0.978, float("nan")) == "97.8 %"


def test_curves_draw_the_mean_over_seeds_and_its_band():
    figure = curves({"a": ([1, 10, 100], RUNS)}, xlabel="pictures", log=True, share=False)
    (axes,) = figure.axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.2, 0.4, 0.8])
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(0.8 + 12.7062 * 0.1 / 1, rel=1e-3)  # t(0.975, 1)
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "10", "100"]


def test_the_band_of_a_share_stays_a_share():
    figure = curves({"a": ([0, 1, 2], RUNS)}, xlabel="epoch")
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0, 1)


def test_curves_in_groups_give_a_name_one_colour_everywhere():
    one = ([0, 1, 2], RUNS)
    figure = curves({"first": {"a": one, "b": one}, "second": {"b": one}}, xlabel="stage", ticks=["x", "y", "z"])
    first, second = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["first", "second"]
    assert to_hex(first.lines[1].get_color()) == to_hex(second.lines[0].get_color()) == COLOURS[1]
    assert [tick.get_text() for tick in second.get_xticklabels()] == ["x", "y", "z"]


def test_one_legend_names_every_line_and_no_empty_plot_is_left():
    one = ([0, 1, 2], RUNS)
    figure = curves({"first": {"a": one}, "second": {"a": one}, "third": {"a": one, "b": one}}, xlabel="stage")
    assert len(figure.axes) == 3
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    assert not any(axes.get_legend() for axes in figure.axes)


def test_more_names_than_colours_have_a_legend_each():
    one, half = ([0, 1, 2], RUNS), len(COLOURS) // 2 + 1
    groups = {title: {f"{title} {i}": one for i in range(half)} for title in ("first", "second")}
    figure = curves(groups, xlabel="stage")
    assert not figure.legends
    assert [len(axes.get_legend().get_texts()) for axes in figure.axes] == [half, half]


def test_a_single_seed_has_no_band():
    figure = curves({"a": ([0, 1, 2], RUNS[:1])}, xlabel="step")
    assert not figure.axes[0].collections
    assert svg(figure, prefix="f").startswith("<svg")


def test_dots_show_each_arm_and_each_seed():
    figure = dots({"probe": [0.9, 1.0], "pixels": [0.5, 0.5]}, xlabel="accuracy")
    (axes,) = figure.axes
    marks = [list(line.get_xdata()) for line in axes.lines if line.get_marker() == "|"]
    assert marks == [[0.9, 1.0], [0.5, 0.5]]
    assert [text.get_text() for text in axes.texts] == ["95.0 %", "50.0 %"]


def test_an_experiment_leaves_its_results_its_figures_and_a_page(tmp_path):
    drawing = Figure(dots({"a": [0.5, 0.6]}, xlabel="accuracy"), "one arm")
    page = write_experiment(
        tmp_path,
        "Does it work?",
        {"accuracy": 0.55},
        findings=["It works in 55 % of cases."],
        drawings={"arms": drawing},
        sections=[Section("More", [Text("and more")])],
    )
    assert json.loads((tmp_path / "results.json").read_text()) == {"accuracy": 0.55}
    assert (tmp_path / "arms.png").read_bytes().startswith(b"\x89PNG")
    text = page.read_text()
    assert "It works in 55 % of cases." in text
    assert "and more" in text
    assert "<figcaption>one arm</figcaption>" in text
    assert "<svg" in text


def test_results_that_are_no_json_are_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_experiment(tmp_path, "?", {"accuracy": float("nan")}, findings=[], drawings={})
