"""`ideal`, `channels`, `attack`, `explain` and `robustness` as a user drives them."""

import json
import os
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import tljax
from tests.photos import make_photos
from tests.test_cli import refused, run

MODEL = "squeezenet1_1.caffe"


@pytest.fixture(scope="module")
def cat():
    """The photo of a cat that scikit-image bundles."""
    import skimage

    return Path(skimage.__file__).parent / "data" / "chelsea.png"


def attack(capsys, cat, out, *arguments):
    return run(capsys, "attack", cat, "--model", MODEL, "--out", out, "--json", *arguments)


# --- ideal -------------------------------------------------------------------------------------------------


def test_ideal_saves_pictures_and_asks_judges(capsys, tmp_path):
    code, out, _ = run(
        capsys,
        *("ideal", "zebra", "Siamese cat", "--model", MODEL, "--judge", "efficientnet_lite0", "--out", tmp_path / "d"),
        *("--steps", "4", "--size", "64", "--variants", "2", "--json"),
    )
    result = json.loads(out)
    assert code == 0
    assert [image["class"] for image in result["images"]] == ["zebra", "zebra", "Siamese cat", "Siamese cat"]
    assert len({image["file"] for image in result["images"]}) == 4
    for image in result["images"]:
        assert np.asarray(Image.open(image["file"])).shape == (64, 64, 3)
        judge = image["judges"]["efficientnet_lite0"]
        assert 0 <= judge["prob"] <= 1
        assert 1 <= judge["rank"] <= 1000
    assert (tmp_path / "d" / "report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_a_name_that_imagenet_has_twice_is_judged_by_its_place(capsys, tmp_path):
    options = ("--model", MODEL, "--judge", "efficientnet_lite0", "--steps", "1", "--size", "64", "--json")
    code, out, _ = run(capsys, "ideal", "134", "517", *options, "--out", tmp_path / "d")
    images = json.loads(out)["images"]
    assert (code, [image["class"] for image in images]) == (0, ["crane", "crane"])
    assert len({image["file"] for image in images}) == 2


@pytest.mark.slow
def test_ideal_of_a_channel(capsys, tmp_path):
    code, out, _ = run(
        capsys,
        *("ideal", "--layer", "fire5", "--channel", "3", "--model", MODEL, "--out", tmp_path / "d"),
        *("--steps", "2", "--size", "64", "--json"),
    )
    assert code == 0
    assert json.loads(out)["images"][0]["class"] == "fire5 channel 3"


@pytest.mark.slow
def test_ideal_of_neurons_and_of_what_is_least_from_a_photo(capsys, cat, tmp_path):
    small = ("--model", MODEL, "--steps", "2", "--size", "64", "--json")
    neurons = ("ideal", "--layer", "fire5", "--channel", "3", "9", "--neuron", "--out", tmp_path / "n", *small)
    code, out, _ = run(capsys, *neurons)
    assert code == 0
    assert [image["class"] for image in json.loads(out)["images"]] == ["fire5 channel 3", "fire5 channel 9"]
    code, out, _ = run(capsys, "ideal", "zebra", "--negative", "--start", cat, "--out", tmp_path / "s", *small)
    assert code == 0
    made = np.asarray(Image.open(json.loads(out)["images"][0]["file"]), np.float32)
    photo = np.asarray(Image.open(cat), np.float32)
    assert np.abs(made.mean((0, 1)) - photo.mean((0, 1))).max() < 30
    assert "From a photo" in (tmp_path / "s" / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_picture(capsys, tmp_path):
    made = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        options = ("--steps", "2", "--size", "64", "--seed", seed, "--model", MODEL, "--json")
        code, out, _ = run(capsys, "ideal", "--layer", "fire5", "--channel", "3", "--out", tmp_path / name, *options)
        assert code == 0
        made.append(np.asarray(Image.open(json.loads(out)["images"][0]["file"])))
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["siamese"], '"Siamese cat" (284)'),
        (["crane"], '134 "crane", 517 "crane"'),
        (["1000"], "there are 1000"),
        (["1.5"], "no class named"),
        ([], "no class given"),
        (["zebra", "--layer", "fire5"], "go together"),
        (["zebra", "--neuron"], "--neuron needs a --layer"),
        (["zebra", "--start", "nowhere.jpg"], "nowhere.jpg"),
        (["--layer", "fire5", "--channel", "9999"], "9999"),
        (["--layer", "fire55", "--channel", "1"], "fire55"),
        (["zebra", "--judge", MODEL], "cannot judge"),
        (["zebra", "--judge", "nobody"], "nobody"),
        (["zebra", "--run", "nowhere"], "nowhere"),
        (["zebra", "--size", "7"], "7"),
        (["zebra", "--steps", "0"], "steps"),
    ],
)
def test_ideal_refuses(capsys, tmp_path, arguments, said):
    assert said in refused(capsys, "ideal", *arguments, "--model", MODEL, "--out", tmp_path / "d")
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_a_gradient_that_is_not_finite_stops_with_its_step_and_the_last_picture(capsys, tmp_path, monkeypatch):
    net = tljax.load_pretrained(MODEL)
    broken = net.replace(variables=jax.tree.map(lambda leaf: leaf * np.nan, net.variables))
    monkeypatch.setattr("tljax.transfer.run.load_network", lambda name, folded=True: broken if name == MODEL else net)
    small = ("--size", "64", "--steps", "2")
    said = refused(capsys, "ideal", "zebra", "--model", MODEL, "--judge", "other", "--out", tmp_path / "d", *small)
    assert "not finite at step 0" in said
    assert np.asarray(Image.open(tmp_path / "d" / "zebra.png")).shape == (64, 64, 3)


# --- channels ----------------------------------------------------------------------------------------------


def test_channels_of_photos(capsys, tmp_path):
    photos = make_photos(tmp_path / "photos", {"red": 2, "blue": 1})
    options = ("--model", MODEL, "--count", "2", "--size", "64", "--steps", "2", "--json")
    code, out, _ = run(capsys, "channels", photos, "--out", tmp_path / "c", *options)
    result = json.loads(out)
    assert (code, result["layer"], len(result["channels"])) == (0, "fire9", 2)
    for channel in result["channels"]:
        assert set(channel) == {"channel", "file", "photos", "activation", "classes", "similar"}
        assert np.asarray(Image.open(channel["file"])).shape == (64, 64, 3)
        assert {Path(photo).name for photo in channel["photos"]} <= {"red_000.jpg", "red_001.jpg", "blue_000.jpg"}
        assert channel["classes"][0]["weight"] > 0
    assert Path(result["report"]).stat().st_size > 10_000


@pytest.mark.slow
def test_channels_of_a_run(capsys, tmp_path):
    data = make_photos(tmp_path / "data", {"red": 4, "blue": 4})
    assert run(capsys, "train", data, "--model", MODEL, "--out", tmp_path / "run")[0] == 0
    options = ("--run", tmp_path / "run", "--size", "64", "--steps", "2", "--json", "--channels", "7", "3")
    code, out, _ = run(capsys, "channels", data / "red", "--out", tmp_path / "c", *options)
    result = json.loads(out)
    assert (code, result["model"], [one["channel"] for one in result["channels"]]) == (0, "run", [7, 3])
    assert {name["name"] for one in result["channels"] for name in one["classes"]} <= {"red", "blue"}
    code, out, _ = run(capsys, "channels", data, "--layer", "fire5", "--out", tmp_path / "d", *options)
    assert (code, json.loads(out)["layer"]) == (0, "fire5")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--layer", "fire55"], "did you mean fire5"),
        (["--channels", "3", "9999"], "no channel with index 9999: there are 512"),
        (["--count", "0"], "count must be at least 1"),
        (["--size", "7"], "size must be even"),
        (["--steps", "0"], "steps must be at least 1"),
        (["nowhere"], "nowhere"),
        (["--run", "nowhere"], 'no run "nowhere"'),
    ],
)
def test_channels_refuses(capsys, tmp_path, arguments, said):
    assert said in refused(capsys, "channels", *arguments, "--model", MODEL, "--out", tmp_path / "d")
    assert os.listdir(tmp_path) == []


# --- attack ------------------------------------------------------------------------------------------------


def test_attack_reports_what_the_saved_file_does(capsys, cat, tmp_path):
    code, out, _ = attack(
        capsys, cat, tmp_path / "a", "--target", "golden retriever", "--eps", "8/255", "--steps", "20"
    )
    result = json.loads(out)
    assert code == 0
    assert result["success"]
    assert result["adversarial"]["name"] == "golden retriever"
    assert result["source"]["name"] != "golden retriever"
    original, saved = (np.asarray(Image.open(tmp_path / "a" / f"{n}.png")) for n in ("original", "adversarial"))
    change = (saved.astype(float) - original) / 255
    assert result["adversarial"]["linf"] == pytest.approx(np.abs(change).max())
    assert result["adversarial"]["l2"] == pytest.approx(np.sqrt((change**2).sum()))
    assert np.abs(saved.astype(int) - original).max() <= 8
    _, said, _ = run(capsys, "classify", tmp_path / "a" / "adversarial.png", "--model", MODEL, "--json")
    (photo,) = json.loads(said)["images"]
    assert result["as_photo"]["name"] == photo["top"][0]["name"]
    assert result["as_photo"]["prob"] == pytest.approx(photo["top"][0]["prob"], abs=1e-4)
    size = tljax.get_spec(MODEL).input_size
    assert result["size"] == [size, size]
    assert np.asarray(Image.open(tmp_path / "a" / "side-by-side.png")).shape == (size, 3 * size, 3)
    assert (tmp_path / "a" / "report.html").exists()


def test_an_attack_that_fails_says_so_and_saves_the_best(capsys, cat, tmp_path):
    code, out, _ = attack(capsys, cat, tmp_path / "a", "--target", "zebra", "--eps", "1/255", "--steps", "1")
    assert code == 0
    assert json.loads(out)["success"] is False
    assert (tmp_path / "a" / "adversarial.png").exists()
    arguments = ("--target", "zebra", "--eps", "1/255", "--steps", "1", "--model", MODEL, "--out", tmp_path / "b")
    _, out, _ = run(capsys, "attack", cat, *arguments)
    assert "failed" in out


def test_attack_refuses(capsys, cat, tmp_path):
    def said(*arguments):
        return refused(capsys, "attack", cat, "--model", MODEL, "--out", tmp_path / "a", *arguments)

    assert "either --target" in said()
    assert "either --target" in said("--target", "zebra", "--untargeted")
    assert "no class named" in said("--target", "zebbra")
    assert "134" in said("--target", "crane")
    assert "above 0" in said("--untargeted", "--eps", "0")
    assert "above 0" in said("--untargeted", "--eps=-1/255")
    assert "at most 1" in said("--untargeted", "--eps", "4")
    assert "below one 8-bit step" in said("--untargeted", "--eps", "0.9/255")
    assert "seeks any other class" in said("--target", "zebra", "--method", "auto_attack")
    assert "no budget" in said("--untargeted", "--eps", "small")
    assert "cw_l2" in said("--untargeted", "--method", "cw_l2", "--norm", "linf")
    assert os.listdir(tmp_path) == []


def test_attack_refuses_the_class_that_is_there_already(capsys, cat, tmp_path):
    _, out, _ = run(capsys, "classify", cat, "--model", MODEL, "--json")
    index = json.loads(out)["images"][0]["top"][0]["index"]
    said = refused(capsys, "attack", cat, "--model", MODEL, "--target", index, "--out", tmp_path / "a")
    assert "already sees" in said


def test_attack_refuses_what_is_no_photo(capsys, tmp_path):
    (tmp_path / "text.jpg").write_text("hello")
    for name in ("text.jpg", "gone.jpg"):
        assert name in refused(capsys, "attack", tmp_path / name, "--untargeted", "--out", tmp_path / "a")


# --- explain and robustness --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [
        ("grad_cam", "--layer", "fire5"),
        ("saliency",),
        ("smoothgrad", "--steps", "2", "--seed", "1"),
        ("integrated_gradients", "--steps", "2", "--baseline", "blur"),
        ("occlusion", "--baseline", "white"),
    ],
)
def test_explain(capsys, cat, tmp_path, method):
    options = ("--model", MODEL, "--method", *method, "--out", tmp_path / "e", "--json")
    code, out, _ = run(capsys, "explain", cat, "--class", "tabby", *options)
    result = json.loads(out)
    assert (code, result["class"]) == (0, "tabby")
    assert {Path(file).name for file in result["files"]} == {"photo.png", "heat.png", "overlay.png"}
    assert all(Path(file).exists() for file in result["files"])


def test_explain_refuses_options_of_other_methods(capsys, cat, tmp_path):
    for options, said in (
        (("--layer", "fire99"), "no layer named"),
        (("--method", "saliency", "--layer", "fire5"), "a layer goes with grad_cam"),
        (("--baseline", "blur"), "a baseline goes with"),
        (("--method", "occlusion", "--steps", "3"), "steps go with"),
        (("--method", "smoothgrad", "--steps", "0"), "at least 1"),
    ):
        assert said in refused(capsys, "explain", cat, "--model", MODEL, "--out", tmp_path / "e", *options)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fab", "square", "apgd_t"])
def test_the_other_attacks(capsys, cat, tmp_path, method):
    code, out, _ = attack(capsys, cat, tmp_path / "a", "--untargeted", "--method", method, "--steps", "3")
    record = json.loads(out)
    assert (code, record["method"], record["masked_gradients"]) == (0, method, False)
    assert record["success"] == (record["adversarial"]["name"] != record["source"]["name"])


@pytest.mark.slow
def test_robustness_of_a_run(capsys, tmp_path):
    data = make_photos(tmp_path / "data", {"red": 4, "blue": 4})
    train = ("train", data, "--model", MODEL, "--out", tmp_path / "run")
    assert run(capsys, *train)[0] == 0
    options = ("--eps", "0,1/255,64/255", "--steps", "5", "--json", "--out", tmp_path / "r")
    code, out, _ = run(capsys, "robustness", tmp_path / "run", data, *options)
    result = json.loads(out)
    assert (code, result["images"]) == (0, 8)
    assert [point["eps"] for point in result["curve"]] == pytest.approx([0, 1 / 255, 64 / 255])
    accuracies = [point["accuracy"] for point in result["curve"]]
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[0] == 1.0
    assert accuracies[-1] < 1.0
    assert (tmp_path / "r" / "robustness.png").exists()
    assert json.loads((tmp_path / "r" / "robustness.json").read_text())["curve"] == result["curve"]
    for point in result["curve"]:
        low, high = point["interval"]
        assert low <= point["accuracy"] <= high
    strong = ("--method", "auto_attack", "--eps", "0,64/255", "--steps", "2", "--limit", "4", "--json")
    code, out, _ = run(capsys, "robustness", tmp_path / "run", data, *strong, "--out", tmp_path / "s")
    assert code == 0
    assert json.loads(out)["curve"][1]["accuracy"] <= json.loads(out)["curve"][0]["accuracy"]
    assert "no class named" in refused(capsys, "robustness", MODEL, data, "--out", tmp_path / "x")
