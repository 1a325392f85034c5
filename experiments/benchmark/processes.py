"""How long is one run, from the start of its process to its end?

    python -m experiments.benchmark.processes --photos cats_vs_dogs/PetImages --rounds 3

Each row is a `tljax` command with nothing cached, again with what that left in the cache, and a lean PyTorch script of
the same work (`lean.py`; extra `bench`), in turns, on the processors that the system gives. Lite0 has trained weights,
the others random ones. About five minutes.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from safetensors.numpy import save_file

from experiments import command
from experiments.benchmark.__main__ import some_photos, weight_file
from tljax.data.sources import open_source
from tljax.errors import InputError
from tljax.weights.read import read_weights

LEAN = Path(__file__).with_name("lean.py")
OURS = {
    "classify": ("classify",),
    "attack": ("attack", "--untargeted", "--out", "attacked"),
    "tune": ("train", "--mode", "finetune", "--epochs", "3", "--out", "run"),
}
ROWS = (
    *(f"classify/{model}" for model in ("efficientnet_lite0", "resnet50", "vgg16")),
    "attack/efficientnet_lite0",
    "tune/mobilenet_v2",
)


@dataclass(frozen=True)
class Config:
    """Options of the measurement."""

    photos: str
    """A folder of photos, with a folder for each class: the first is classified, 80 are trained on."""
    rows: tuple[str, ...] = ROWS
    """TASK/MODEL: what to measure."""
    rounds: int = 3
    """Runs of each kind."""
    python: str = sys.executable
    """The interpreter that has torch, torchvision and safetensors."""


def main(config: Config) -> str:
    """The table as Markdown."""
    lines = ["| one run | nothing cached | again | PyTorch | theirs / ours, cold | again |", "|" + " --- |" * 6]
    with tempfile.TemporaryDirectory() as scratch:
        folder = some_photos(config.photos, 80, Path(scratch) / "photos")
        for row in config.rows:
            lines.append(line(row, *measure(row, folder, Path(scratch), config)))
    return "\n".join(lines)


def line(row: str, cold: Sequence[float], again: Sequence[float], theirs: Sequence[float]) -> str:
    """A line of the table: medians, and ratios of medians."""
    ours, warm, peer = map(median, (cold, again, theirs))
    return f"| {row} | {ours:.1f} s | {warm:.1f} s | {peer:.1f} s | {peer / ours:.2f} | {peer / warm:.2f} |"


def measure(row: str, folder: str, scratch: Path, config: Config) -> tuple[list[float], list[float], list[float]]:
    """Seconds of our runs with an empty and a filled cache, and of the peer's."""
    task, _, model = row.partition("/")
    if task not in OURS or not model:
        raise InputError(f'no row "{row}": a row is TASK/MODEL, TASK one of {", ".join(OURS)}')
    source = open_source(folder)
    data = folder if task == "tune" else str(source.files[0])
    weights = weight_file(model, scratch)
    lean = scratch / f"lean-{model}.safetensors"
    save_file({name: value.copy() for name, value in read_weights(weights).items()}, lean)
    own = ("--weights", weights) if weights.endswith(".safetensors") else ()
    first, *options = OURS[task]
    ours = [sys.executable, "-m", "tljax", first, data, "--model", model, *own, *options]
    peer = [config.python, str(LEAN), task, model, str(lean), data]
    cold, again, theirs = [], [], []
    for _ in range(config.rounds):
        shutil.rmtree(scratch / "cache", ignore_errors=True)
        cold.append(seconds(ours, scratch))
        again.append(seconds(ours, scratch))
        theirs.append(seconds(peer, scratch))
    return cold, again, theirs


def seconds(arguments: Sequence[str], scratch: Path) -> float:
    """How long a process takes, in a new folder.

    Raises:
        InputError: it failed; the message is its last line.
    """
    environment = {**os.environ, "TLJAX_CACHE": str(scratch / "cache")}
    with tempfile.TemporaryDirectory(dir=scratch) as place:
        began = time.perf_counter()
        done = subprocess.run(arguments, cwd=place, env=environment, capture_output=True, text=True)
        taken = time.perf_counter() - began
    if done.returncode:
        raise InputError((done.stderr.strip().splitlines() or ["no message"])[-1])
    return taken


if __name__ == "__main__":
    command(main, Config, __doc__)
