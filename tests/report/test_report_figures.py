import itertools

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from tljax import metrics
from tljax.report import figures
from tljax.report.mosaic import mosaic
from tljax.report.style import svg

PATH = [
    {"l2": l2, "val_accuracy": a, "val_loss": c} for l2, a, c in ((1.0, 0.7, 0.9), (1e-4, 0.9, 0.2), (0.01, 0.8, 0.5))
]


def random_predictions(n=200, classes=7, seed=0):
    rng = np.random.default_rng(seed)
    scores = 2 * rng.normal(size=(n, classes))
    probs = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    return probs, rng.integers(0, classes, n)


def words(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def labels(axis):
    return [tick.get_text() for tick in axis.get_ticklabels()]


def test_accuracy_vs_l2_plots_the_path_in_order_and_marks_what_was_taken():
    figure = figures.accuracy_vs_l2(PATH, chosen=0.01)
    above, below = figure.axes
    np.testing.assert_allclose(above.lines[0].get_ydata(), [0.9, 0.8, 0.7])
    np.testing.assert_allclose(below.lines[0].get_ydata(), [0.2, 0.5, 0.9])
    assert labels(below.xaxis) == ["0.0001", "0.01", "1"]
    assert list(below.lines[1].get_xdata()) == [1, 1]
    assert words(figure) == ["taken"]
    assert words(figures.accuracy_vs_l2(PATH)) == []
    steps = [{**PATH[0], "l2": l2} for l2 in (3.2e-5, 1e-3, 1.0, 31.6)]
    ticks = figures.accuracy_vs_l2(steps).axes[1].get_xticklabels()
    assert [tick.get_text() for tick in ticks] == ["3e-5", "0.001", "1", "30"]


def test_learning_curve_leaves_out_what_was_not_measured():
    curve = [
        {"step": 0, "loss": 2.0, "accuracy": 0.1, "val_accuracy": None},
        {"step": 10, "loss": 1.0, "accuracy": 0.5, "val_accuracy": 0.4},
        {"step": 20, "loss": 0.5, "accuracy": 0.8},
    ]
    above, below = figures.learning_curve(curve).axes
    drawn = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in above.lines}
    assert drawn == {"training photos": ([0, 10, 20], [0.1, 0.5, 0.8]), "validation photos": ([10], [0.4])}
    assert list(below.lines[0].get_ydata()) == [2.0, 1.0, 0.5]


def test_accuracy_by_photos_ends_at_twice_the_photos():
    curve = {"sizes": [20, 40, 80], "accuracy": [0.8, 0.9, 0.98], "low": [0.7, 0.8, 0.9], "high": [0.9, 0.96, 1.0]}
    foretold = {"photos": 100, "twice": 0.99, "gain": 0.01, "gain_interval": [0.0, 0.05]}
    (axes,) = figures.accuracy_by_photos(curve | foretold).axes
    measured, on, interval, point = (line.get_xydata().tolist() for line in axes.lines)
    assert measured == [[20, 0.8], [40, 0.9], [80, 0.98]]
    assert on == [[80, 0.98], [200, 0.99]]
    assert interval == [[200, 0.98], [200, 1.0]]
    assert point == [[200, 0.99]]
    assert axes.get_xscale() == "log"
    assert labels(axes.xaxis) == ["20", "40", "80", "200"]


def test_confusion_of_few_classes_writes_all_counts():
    figure = figures.confusion(np.array([[8, 2], [0, 5]]), ["cat", "dog"])
    assert words(figure) == ["8", "2", "5"]
    image = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(image[..., 3], np.sqrt([[0.8, 0.2], [0, 1]]))
    assert labels(figure.axes[0].yaxis) == ["cat", "dog"]


@pytest.mark.parametrize(("classes", "named"), [(10, 10), (37, 37), (120, 40)])
def test_confusion_names_as_many_classes_as_can_be_read(classes, named):
    figure = figures.confusion(np.eye(classes, dtype=int), [f"breed {i}" for i in range(classes)])
    assert len(labels(figure.axes[0].xaxis)) == len(labels(figure.axes[0].yaxis)) == named
    figure.draw_without_rendering()
    boxes = [tick.get_window_extent() for tick in figure.axes[0].get_yticklabels()]
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in itertools.pairwise(boxes))


def test_confusion_of_many_classes_writes_mistakes_only():
    matrix = 4 * np.eye(37, dtype=int)
    matrix[3, 5] = 2
    assert words(figures.confusion(matrix, [f"breed {i}" for i in range(37)])) == ["2"]


def test_class_without_photos_divides_nothing_by_zero():
    figure = figures.confusion(np.array([[3, 0], [0, 0]]), ["a", "b"])
    assert np.isfinite(figure.axes[0].images[0].get_array()).all()


def test_reliability_draws_bins_that_were_counted_by_hand():
    probs = np.array([[0.95, 0.05], [0.9, 0.1], [0.4, 0.6], [0.45, 0.55]])
    curve = metrics.reliability(probs, np.array([0, 1, 1, 0]), bins=10)
    assert curve.count.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 1, 1]
    assert curve.accuracy[5] == 0.5
    np.testing.assert_allclose(curve.confidence[[5, 8, 9]], [0.575, 0.9, 0.95])
    above, below = figures.reliability(curve).axes
    assert [bar.get_height() for bar in below.patches] == curve.count.tolist()
    np.testing.assert_allclose(above.lines[1].get_ydata()[[5, 8, 9]], [0.5, 0, 1])


def test_pixels_vs_features_draws_both_bars_of_each_task():
    axes = figures.pixels_vs_features({"Textures": (0.978, 0.31), "Digits": (0.95, 0.967)}).axes[0]
    assert [[bar.get_width() for bar in bars] for bars in axes.containers] == [[0.978, 0.95], [0.31, 0.967]]
    assert labels(axes.yaxis) == ["Textures", "Digits"]
    assert "31.0 %  raw pixels" in [text.get_text() for text in axes.texts]


def test_robustness_curve_counts_the_budget_in_8_bit_steps():
    curve = [{"eps": eps, "accuracy": share} for eps, share in ((4 / 255, 0.0), (0, 0.9), (1 / 255, 0.3))]
    axes = figures.robustness_curve(curve).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [0, 1, 4])
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.9, 0.3, 0])


def test_transfer_matrix_writes_shares_and_leaves_the_unknown_empty():
    figure = figures.transfer_matrix(np.array([[1, 0.25], [np.nan, 0]]), ["a", "b"], ["a", "b"])
    assert words(figure) == ["100 %", "25 %", "0 %"]
    np.testing.assert_allclose(figure.axes[0].images[0].get_array()[..., 3], [[1, 0.25], [0, 0]])


def test_mosaic_stretches_each_channel_and_leaves_clear_gaps():
    maps = np.zeros((2, 2, 3), np.float32)
    maps[0, 0, 0], maps[1, 1, 1] = 1e-3, 500
    image = mosaic(maps, columns=2, cell=48)
    low, high = (np.array(matplotlib.colormaps["viridis"](v, bytes=True)) for v in (0.0, 1.0))
    assert image.dtype == np.uint8
    assert image.shape == (48 * 2 + 2, 48 * 2 + 2, 4)
    np.testing.assert_array_equal(image[0, 0], high)
    np.testing.assert_array_equal(image[47, 47], low)
    np.testing.assert_array_equal(image[47, 97], high)
    np.testing.assert_array_equal(image[60, 10], low)
    assert (image[48:50, :, 3] == 0).all()
    assert (image[50:, 50:, 3] == 0).all()


def test_mosaic_survives_what_is_not_finite():
    maps = np.full((3, 3, 2), np.nan, np.float32)
    maps[..., 1] = np.inf
    maps[1, 1, 1] = 2
    assert mosaic(maps, columns=2, cell=24).shape[2] == 4


FIGURES = [
    lambda name: figures.confusion(np.eye(2, dtype=int), [name, "b"]),
    lambda name: figures.pixels_vs_features({name: (0.5, 0.5)}),
    lambda name: figures.transfer_matrix(np.eye(1), [name], [name]),
]


@pytest.mark.parametrize("make", FIGURES)
@pytest.mark.parametrize("name", ["$x", "$\\frac$", "a\udce9\x00\nb", "<script>", "x" * 300, "猫"])
def test_any_name_can_be_drawn(make, name):
    text = svg(make(name), prefix="f")
    assert text.startswith("<svg")
    assert "<script" not in text
    assert text.encode("utf-8")


def test_figures_leave_matplotlib_as_it_was():
    import sys

    before = dict(matplotlib.rcParams)
    probs, true = random_predictions()
    made = [figures.accuracy_vs_l2(PATH), figures.reliability(metrics.reliability(probs, true))]
    assert all(isinstance(figure, Figure) for figure in made)
    svg(made[0], prefix="f")
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_accuracy_vs_seconds_marks_the_best_and_names_all():
    models = [
        {
            "name": name,
            "accuracy": accuracy,
            "interval": (accuracy - 0.1, accuracy + 0.05),
            "seconds_per_photo": seconds,
        }
        for name, accuracy, seconds in (("best", 0.9, 0.03), ("fast", 0.8, 0.005))
    ]
    (axes,) = figures.accuracy_vs_seconds(models).axes
    assert [text.get_text() for text in axes.texts] == ["best", "fast"]
    assert axes.texts[0].get_color() != axes.texts[1].get_color()
    assert axes.get_xscale() == "log"
    (low, high) = axes.get_ylim()
    assert low < 0.7
    assert high > 0.95
    assert figures.accuracy_vs_seconds(models[:1]).axes
