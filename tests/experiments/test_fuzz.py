"""The hostile files of `experiments.fuzz`, a few of each kind; its full number is a command of its own."""

import contextlib
import json
import os
import pickle
import signal
import sys
import time
from pathlib import Path
from random import Random

import numpy as np
import pytest

from experiments import run
from experiments.fuzz import processes
from experiments.fuzz.__main__ import EXPERIMENT
from experiments.fuzz.mutations import IMAGES, WEIGHTS, hostile, seeds
from experiments.fuzz.options import FAILURES, Config
from tljax.errors import InputError
from tljax.transfer.onnx_file import read_onnx

linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is watched through /proc")


@linux
def test_no_hostile_file_does_harm(tmp_path):
    results = run(EXPERIMENT, Config(out=str(tmp_path / "out"), small=True, seed=1))
    assert results["failures"] == dict.fromkeys(FAILURES, 0)
    assert results["inputs"] >= 300
    assert all(kind["refused"] for kind in results["kinds"].values())
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == json.loads(json.dumps(results))
    assert (
        "Does a hostile file crash, hang, fill the memory, or run code?"
        in (tmp_path / "out" / "report.html").read_text()
    )


@linux
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["run", "onnx"])
def test_no_hostile_run_or_exported_file_does_harm(tmp_path, kind):
    if kind == "onnx":
        pytest.importorskip("onnx", reason="the package onnx is not installed: pip install 'tljax[onnx]'")
    results = run(EXPERIMENT, Config(out=str(tmp_path / "out"), inputs=300, kinds=(kind,)))
    assert results["failures"] == dict.fromkeys(FAILURES, 0)


def refuse(message):
    raise InputError(message)


def loop():
    while True:
        pass


@linux
@pytest.mark.parametrize(
    ("outcome", "read"),
    [
        ("accepted", lambda path: None),
        ("refused", lambda path: refuse("no")),
        ("unclear", lambda path: {}["key"]),
        ("executed", lambda path: path.with_name("canary").touch()),
        ("memory", lambda path: bytes(3 << 29)),
        ("memory", lambda path: bytes(1 << 40)),
        ("hang", lambda path: time.sleep(60)),
        ("hang", lambda path: loop()),
        ("crash", lambda path: os.kill(os.getpid(), signal.SIGKILL)),
    ],
)
def test_every_kind_of_harm_is_noticed(tmp_path, monkeypatch, outcome, read):
    def make(_random, canary):
        (tmp_path / "canary").symlink_to(canary)
        (tmp_path / "F").touch()
        return tmp_path / "F"

    monkeypatch.setattr(processes, "reader", lambda _kind, _scratch: (make, read))
    ((_, noticed, _, _),) = processes.outcomes("zip", 1, Config(seconds=0.3), tmp_path)
    assert noticed == outcome


@pytest.mark.parametrize("kind", [*WEIGHTS, *IMAGES])
def test_the_same_number_gives_the_same_file(kind):
    made = [hostile(kind, Random(f"0 {kind} {i}"), Path("/canary")) for i in (1, 2, 1)]
    assert made[0] == made[2] != made[1]
    assert made[0] not in seeds(kind)


def test_the_onnx_file_that_is_mutated_is_a_good_one(tmp_path):
    """Else all would be refused for the same reason, whatever else is wrong with them."""
    pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed: pip install 'tljax[onnx]'")
    (tmp_path / "good.onnx").write_bytes(seeds("onnx")[0])
    ((probs, unknown),) = read_onnx(tmp_path / "good.onnx").outputs([np.full((4, 5, 3), 128, np.uint8)])
    assert probs.sum() == pytest.approx(1)
    assert unknown == pytest.approx(128 * 0.04)


def test_forged_pickles_do_run_in_pythons_own_unpickler(tmp_path):
    """Otherwise a canary that was never made would prove nothing."""
    canary = tmp_path / "canary"
    for i in range(400):
        with contextlib.suppress(Exception):
            pickle.loads(hostile("numpy", Random(f"0 numpy {i}"), canary))
        if canary.exists():
            break
    assert canary.exists()
