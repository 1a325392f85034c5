"""What README.md shows can be done as it stands there."""

import re
import shlex
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from tests.photos import make_photos
from tljax.cli import _COMMANDS, main, parse

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
TPU = (ROOT / "experiments" / "tpu" / "README.md").read_text("utf-8")


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands():
    """The arguments of each `tljax COMMAND ...`, alone in its line or quoted for a shell elsewhere."""
    lines = "".join(blocks(README, "bash") + blocks(TPU, "bash")).splitlines()
    lines = [re.sub(r"^on_all '(.*?)'.*", r"\1", line) for line in lines if "..." not in line]
    found = (re.search(rf"\btljax (({'|'.join(_COMMANDS)})\b.*)", line) for line in lines)
    split = [shlex.split(one[1], comments=True) for one in found if one]
    return [arguments for arguments in split if "--config" not in arguments]  # which needs that file


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_a_command_is_understood(arguments):
    assert parse(arguments).json is False


def test_the_commands_are_found():
    assert len(commands()) >= 20
    assert {arguments[0] for arguments in commands()} >= {"demo", "train", "predict", "ideal", "export", "features"}


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)]+)\)", README))
def test_a_link_leads_somewhere(target):
    path, _, heading = target.partition("#")
    text = (ROOT / path).read_text("utf-8", errors="ignore") if path else README
    headings = [re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in text.splitlines()]
    assert not heading or heading in headings


@pytest.fixture
def without_cache():
    """The code sets where compiled programs are kept; the tests after it keep none there."""
    yield
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()


@pytest.mark.slow
def test_the_python_code_runs(tmp_path, monkeypatch, without_cache):
    monkeypatch.chdir(tmp_path)
    make_photos(tmp_path / "photos", {"cat": 6, "dog": 6})
    make_photos(tmp_path / "new-photos", {"new": 2})
    for name in ("cat", "dog"):
        next((tmp_path / "photos" / name).iterdir()).rename(f"{name}.jpg")
    (tmp_path / "photos" / "cat" / "broken.jpg").write_bytes(b"")
    np.save("photos.npy", np.zeros((20, 72, 96, 3), np.uint8) + np.arange(20, dtype=np.uint8)[:, None, None, None])
    np.save("labels.npy", np.arange(20) % 2)
    training, script, *jax_code = blocks(README, "python")
    names = {}
    exec(training, names)
    assert names["net"].spec.classes == ("cat", "dog")
    assert main(["export", "run", "--out", "pets.jax"]) == 0
    monkeypatch.setattr(sys, "argv", ["script", "cat.jpg"])
    exec(script, {})
    code = "".join(jax_code)
    for asked, steps in {"eps=4 / 255": "", "[284, 340]": "size=64, ", "objective=both": "size=64, "}.items():
        assert code.count(asked) == 1
        code = code.replace(asked, f"{asked}, {steps}steps=2")
    exec(code, names)
    assert names["images"].shape == (2, 224, 224, 3)
    assert names["slope"].shape == names["fooled"].shape == names["images"].shape
    assert names["dreams"].shape == (2, 64, 64, 3)
    assert names["mixed"].shape == (1, 64, 64, 3)
    assert [one.reason for one in names["found"].skipped] == ["empty file"]
    assert main(["predict", "mine.onnx", "cat.jpg"]) == 0
    assert names["tuned"].spec.classes == ("cat", "dog")
    assert len(names["history"]) > 2
