"""Which network `compare` takes, beside what a whole run of each reaches."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tljax
from tljax.progress import Track
from tljax.transfer import compare, train


def measure(data: str, models: Sequence[str], track: Track) -> dict[str, Any]:
    """What both say, with intervals."""
    nets = {name: tljax.load_pretrained(name) for name in models}
    compared = compare(tljax.data.open_source(data), nets, cache=True, track=track)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for model in track(compared["models"], "whole runs", len(models)):
            run = train(data, Path(scratch) / model["name"], model=model["name"], track=track)
            rows.append({**model, "run": run["val_accuracy"], "run interval": run["interval"]})
    return {"best": compared["best"], "advice": compared["advice"], "models": rows}
