"""The command line as a user drives it: results on stdout, one line for bad input, nothing half written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.fuzz.torch_files import MAGIC, Global, dumps, write_zip
from tests.photos import make_photos, photo
from tljax import __version__
from tljax.cli import main


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_photos(tmp_path_factory.mktemp("data"), {"red": 6, "blue": 6})


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", str(data), "--out", str(out), "--batch-size", "8"]) == 0
    return out


def run(capsys, *arguments):
    """(exit code, stdout, stderr) of a command."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, *arguments):
    """The one line that a refused command prints; nothing may be on stdout."""
    code, out, err = run(capsys, *arguments)
    lines = [line for line in err.splitlines() if line.startswith("tljax: ")]
    assert (code, out, len(lines)) == (2, "", 1), (code, out, err)
    assert "Traceback" not in err
    assert err.splitlines()[-1] == lines[0]
    return lines[0]


# --- what it does ------------------------------------------------------------------------------------------


def test_help_is_quick_and_imports_no_jax():
    code = (
        "import sys, tljax.cli\n"
        "try: tljax.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('jax', 'flax', 'matplotlib', 'sklearn', 'PIL')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "classify" in done.stdout


@pytest.mark.parametrize(
    "command", ["classify", "train", "evaluate", "ideal", "channels", "attack", "robustness", "demo", "compare"]
)
def test_help_of_each_command(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "usage: tljax " + command in capsys.readouterr().out


def test_a_reader_that_has_enough_ends_a_command_quietly():
    reading, writing = os.pipe()
    os.close(reading)  # as `head` does when it ends
    command = [sys.executable, "-m", "tljax", "models"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_models(capsys):
    code, out, _ = run(capsys, "models", "--json")
    rows = json.loads(out)["models"]
    assert code == 0
    assert len(rows) >= 13
    assert set(rows[0]) >= {"name", "params", "top1", "input_size", "source", "licence", "cached"}
    assert next(row for row in rows if row["name"] == "efficientnet_lite0")["cached"]
    code, out, _ = run(capsys, "models", "--all", "--json")
    everything = json.loads(out)["models"]
    assert everything[: len(rows)] == rows
    assert "torchvision/resnet50.imagenet1k_v2" in [row["name"] for row in everything]
    assert all(row["licence"] and row["source"] for row in everything)


def test_classify_writes_json_and_csv_and_lists_what_it_skipped(capsys, tmp_path):
    folder = make_photos(tmp_path / "photos", {"red": 2})
    (folder / "red" / "broken.jpg").write_bytes(b"\xff\xd8 not much")
    code, out, _ = run(capsys, "classify", folder, "--json", "--csv", tmp_path / "table.csv")
    result = json.loads(out)
    assert code == 0
    assert [Path(row["file"]).name for row in result["images"]] == ["red_000.jpg", "red_001.jpg"]
    top = result["images"][0]["top"]
    assert len(top) == 5
    assert set(top[0]) == {"index", "name", "prob"}
    assert top[0]["prob"] >= top[1]["prob"] > 0
    assert [Path(row["file"]).name for row in result["skipped"]] == ["broken.jpg"]
    assert (tmp_path / "table.csv").read_text().startswith("file,name1,prob1,name2,prob2")


def test_features(capsys, data, tmp_path):
    code, out, _ = run(capsys, "features", data, "--out", tmp_path / "f.npz", "--json")
    result = json.loads(out)
    assert (code, result["files"], result["dim"]) == (0, 12, 1280)
    stored = np.load(tmp_path / "f.npz")
    assert stored["features"].shape == (12, 1280)
    assert stored["features"].dtype == np.float32
    assert len(stored["files"]) == 12


def test_train_evaluate_predict(capsys, data, trained, tmp_path):
    for name in ("config.json", "classes.json", "metrics.jsonl", "skipped.csv", "report.html", "checkpoint"):
        assert (trained / name).exists()
    assert json.loads((trained / "classes.json").read_text()) == ["blue", "red"]

    upper = make_photos(tmp_path / "upper", {"red": 3, "blue": 2})
    (upper / "red").rename(upper / "RED")
    code, out, _ = run(capsys, "evaluate", trained, upper, "--json")
    result = json.loads(out)
    assert (code, result["images"], result["classes"]) == (0, 5, ["blue", "red"])
    assert result["accuracy"] == 1.0
    assert result["confusion"] == [[2, 0], [0, 3]]
    assert result["per_class_accuracy"] == {"blue": 1.0, "red": 1.0}

    code, out, _ = run(capsys, "predict", trained, data / "red", "--json")
    assert code == 0
    assert {row["top"][0]["name"] for row in json.loads(out)["images"]} == {"red"}


def test_a_run_is_a_network(trained):
    import jax.numpy as jnp

    import tljax

    net = tljax.load_run(trained)
    assert net.spec.classes == ("blue", "red")
    red = np.stack([np.asarray(Image.fromarray(photo("red", 50)).resize((224, 224)))])
    logits = net.apply(net.variables, jnp.asarray(red, jnp.float32) / 255)
    assert logits.shape == (1, 2)
    assert int(logits[0].argmax()) == 1


def test_dry_run_writes_nothing(capsys, data, tmp_path):
    code, out, _ = run(capsys, "train", data, "--out", tmp_path / "run", "--dry-run", "--json")
    assert code == 0
    assert json.loads(out)["train_images"] == 10
    assert os.listdir(tmp_path) == []


def test_a_config_file_gives_defaults_that_options_override(capsys, data, trained, tmp_path):
    config = trained / "config.json"
    code, out, _ = run(
        capsys, "train", data, "--config", config, "--seed", "3", "--out", tmp_path / "again", "--dry-run", "--json"
    )
    assert code == 0
    assert json.loads(out)["options"] | {"seed": 0} == json.loads(config.read_text())["options"]
    assert json.loads(out)["options"]["seed"] == 3


# --- bad input ---------------------------------------------------------------------------------------------


def test_an_unknown_command_or_option(capsys):
    assert 'no command "clasify": did you mean classify' in refused(capsys, "clasify")
    assert "--model" in refused(capsys, "classify", "a.jpg", "--modle", "vgg16")
    assert "--out" in refused(capsys, "train", "somewhere")
    assert "--epochs" in refused(capsys, "train", "d", "--out", "o", "--epochs", "many")


def test_a_missing_or_empty_folder(capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("missing", "empty"):
        assert name in refused(capsys, "train", tmp_path / name, "--out", tmp_path / "run")
        assert name in refused(capsys, "classify", tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["empty"]


def test_a_single_class_and_a_class_with_one_photo(capsys, tmp_path):
    single = make_photos(tmp_path / "single", {"red": 3})
    assert "single class" in refused(capsys, "train", single, "--out", tmp_path / "run")
    lonely = make_photos(tmp_path / "lonely", {"red": 3, "blue": 1})
    assert "blue" in refused(capsys, "train", lonely, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_only_corrupt_photos(capsys, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(3):
            (tmp_path / "data" / name / f"{i}.jpg").write_text("no photo")
    assert "6" in refused(capsys, "train", tmp_path / "data", "--out", tmp_path / "run")
    assert "can be read" in refused(capsys, "classify", tmp_path / "data")
    assert "can be read" in refused(capsys, "features", tmp_path / "data", "--out", tmp_path / "f.npz")
    assert os.listdir(tmp_path) == ["data"]


def test_an_image_of_12000_pixels_a_side_and_files_that_lie(capsys, tmp_path):
    Image.new("L", (12000, 12000)).save(tmp_path / "huge.png")
    assert "12,000" in refused(capsys, "classify", tmp_path / "huge.png").replace("12000", "12,000")
    Image.fromarray(photo("red", 0)).save(tmp_path / "really.gif")
    (tmp_path / "really.gif").rename(tmp_path / "gif.jpg")
    (tmp_path / "text.jpg").write_text("hello")
    code, out, _ = run(capsys, "classify", tmp_path, "--json")
    result = json.loads(out)
    assert code == 0
    assert [Path(row["file"]).name for row in result["images"]] == ["gif.jpg"]
    assert sorted(Path(row["file"]).name for row in result["skipped"]) == ["huge.png", "text.jpg"]


def test_weights_of_another_architecture_and_truncated_weights(capsys, data, tmp_path):
    write_zip(tmp_path / "other.pth", {"fc.weight": np.zeros((3, 4), np.float32)})
    said = refused(capsys, "classify", data, "--model", "resnet18", "--weights", tmp_path / "other.pth")
    assert "resnet18" in said
    whole = (tmp_path / "other.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    assert "cut.pth" in refused(capsys, "classify", data, "--model", "resnet18", "--weights", tmp_path / "cut.pth")
    assert "gone.pth" in refused(capsys, "classify", data, "--weights", tmp_path / "gone.pth")


def test_a_weight_file_that_calls_the_system_is_refused_and_nothing_runs(capsys, data, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'pwned'}",)

    import pickle

    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"weight": Evil()}))
    assert "evil.pth" in refused(capsys, "classify", data, "--weights", tmp_path / "evil.pth")
    assert not (tmp_path / "pwned").exists()


def test_an_unknown_model_suggests(capsys, data):
    assert "resnet50" in refused(capsys, "classify", data, "--model", "resnet5")


def test_an_output_that_exists_or_cannot_be_written(capsys, data, trained, tmp_path):
    assert "--overwrite" in refused(capsys, "train", data, "--out", trained)
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "run", "/proc/nothing/run"):
        assert "cannot" in refused(capsys, "train", data, "--out", out)
    assert ".npz" in refused(capsys, "features", data, "--out", tmp_path / "file")
    assert "--overwrite" in refused(capsys, "classify", data, "--csv", tmp_path / "file")
    assert os.listdir(tmp_path) == ["file"]


def test_epochs_go_with_fine_tuning(capsys, data, tmp_path):
    assert "--mode finetune" in refused(capsys, "train", data, "--out", tmp_path / "run", "--epochs", "3")


def test_no_space_left_half_way(capsys, data, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        said = refused(capsys, "train", data, "--out", disk / "run")
        assert "No space left" in said
        assert os.listdir(disk) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_evaluate_refuses_an_unknown_class_and_what_is_no_run(capsys, data, trained, tmp_path):
    green = make_photos(tmp_path / "green", {"green": 2, "red": 2})
    assert "green" in refused(capsys, "evaluate", trained, green)
    assert "config.json" in refused(capsys, "evaluate", data, data)
    assert "config.json" in refused(capsys, "predict", data, data)


def test_debug_shows_the_traceback(capsys, tmp_path):
    code, out, err = run(capsys, "classify", tmp_path / "missing", "--debug")
    assert (code, out) == (2, "")
    assert "Traceback" in err


def test_the_module_runs():
    done = subprocess.run([sys.executable, "-m", "tljax", "nothing"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith('tljax: no command "nothing"')


def test_the_stream_form_is_refused_too(capsys, data, tmp_path):
    hostile = dumps(MAGIC) + dumps(Global("os", "system"))
    (tmp_path / "stream.pth").write_bytes(hostile)
    assert "stream.pth" in refused(capsys, "classify", data, "--weights", tmp_path / "stream.pth")


def test_it_says_which_version_it_is(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert (stop.value.code, capsys.readouterr().out) == (0, f"tljax {__version__}\n")
