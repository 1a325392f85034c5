"""RUN folders made by hand, which costs no training; and what somebody may have done to one."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from experiments.fuzz.mutations import EXTREMES, hostile, spoilt

MODEL = "squeezenet1_1.caffe"
CLASSES = ("blue", "red")


def make_run(folder: Path, *, mode: str = "linear_probe", image_size: int = 64) -> Path:
    """A RUN of the small SqueezeNet with a random head; its checkpoint holds the head alone, or everything."""
    from tljax.files import write_json
    from tljax.models.spec import get_spec
    from tljax.transfer.checkpoint import save
    from tljax.transfer.head import run_spec
    from tljax.weights.fetch import fetch, weights_digest
    from tljax.weights.load import load_pretrained

    folder.mkdir(parents=True)
    spec = replace(run_spec(get_spec(MODEL), CLASSES), input_size=image_size)
    random = np.random.default_rng(0)
    kernel = random.normal(0, 1e-3, (spec.feature_dim, len(CLASSES))).astype(np.float32)
    head = {"kernel": kernel, "bias": np.zeros(len(CLASSES), np.float32)}
    if mode == "finetune":
        variables = load_pretrained(MODEL).variables
        params = {name: layer for name, layer in variables["params"].items() if name != "conv10"}
        save(folder / "checkpoint", {**variables, "params": {**params, "head": head}})
    else:
        save(folder / "checkpoint", head)
    record = {"model": MODEL, "mode": mode, "dtype": "float32", "image_size": image_size, "weights_file": None}
    write_json(folder / "config.json", {**record, "weights_sha256": weights_digest(fetch(get_spec(MODEL)))})
    write_json(folder / "classes.json", list(CLASSES))
    return folder


def spoil_run(source: Path, folder: Path, random: Random, canary: Path) -> Path:
    """A copy of a RUN with one thing in it changed."""
    shutil.copytree(source, folder, copy_function=os.link)
    record = json.loads((folder / "config.json").read_text())
    edit = random.randrange(8)
    if edit < 2:
        key = random.choice(list(record))
        record[key] = _odd(random)
        if random.random() < 0.3:
            del record[key]
        _write(folder / "config.json", json.dumps(record).encode())
    elif edit == 2:
        names = (["a"], ["a", "b", "c"], ["a"] * 3, [1, 2], ["\x00", "<b>"], list("ab") * 50_000)
        classes = random.choice((*names, _odd(random)))
        _write(folder / "classes.json", json.dumps(classes).encode())
    elif edit == 3:
        path = folder / random.choice(("config.json", "classes.json"))
        _write(path, random.choice((b"[" * 100_000, b"9" * 10_000, b"\xff\xfe", spoilt(path.read_bytes(), random))))
    elif edit == 4:
        weights = folder / "weights.pth"
        weights.write_bytes(hostile(random.choice(("zip", "stream", "numpy")), random, canary))
        _write(folder / "config.json", json.dumps({**record, "weights_file": str(weights)}).encode())
    else:
        parts = [path for path in sorted((folder / "checkpoint").rglob("*")) if edit == 7 or path.is_file()]
        path = random.choice([*parts, folder / "config.json", folder / "classes.json", folder / "checkpoint"])
        if edit == 7 or path.is_dir():
            _replace(path, random)
        else:
            _write(path, spoilt(path.read_bytes(), random))
    return folder


def _odd(random: Random) -> Any:
    odd = (None, True, "", "../../etc", "/dev/zero", "resnet18", "bfloat16", "x" * 100_000, [], {}, 0.5, -1, 1e400)
    return random.choice((*odd, random.choice(EXTREMES), "/dev/stdin", "\x00", "a\nb"))


def _write(path: Path, content: bytes) -> None:
    path.unlink()  # the file is shared with the run that was copied
    path.write_bytes(content)


def _replace(path: Path, random: Random) -> None:
    """By nothing, by a folder, or by something that never ends or never starts."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    edit = random.randrange(5)
    if edit == 1:
        path.mkdir()
    elif edit == 2:
        os.mkfifo(path)
    elif edit == 3:
        path.symlink_to("/dev/zero")
    elif edit == 4:
        path.symlink_to(path)
