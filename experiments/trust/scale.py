"""How long `check` takes on many photos, and how much memory, in a process of its own; features are known already."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import tljax
from tljax.progress import Track


def measure(data: str, photos: int, scratch: Path, track: Track) -> dict[str, Any]:
    """Seconds beyond the features, and the most memory that the process held."""
    make_photos(data, photos, scratch, track)
    for step in ("features", "check"):  # the second process finds what the first has kept
        command = [sys.executable, "-m", "experiments.trust.scale", str(scratch), step]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {"photos": photos, **json.loads(done.stdout.splitlines()[-1])}


def make_photos(data: str, photos: int, folder: Path, track: Track) -> None:
    """Random parts of photos, each another one."""
    source = tljax.data.open_source(data)
    for number in track(range(photos), "photos for the large set", photos):
        random = np.random.default_rng(number)
        i = number % len(source.files)
        picture = Image.fromarray(source.picture(i))
        side = round(float(random.uniform(0.4, 0.8)) * min(picture.size))
        left, top = (int(random.integers(length - side + 1)) for length in picture.size)
        name = folder / source.classes[source.labels[i]] / f"{number}.jpg"
        name.parent.mkdir(parents=True, exist_ok=True)
        picture.crop((left, top, left + side, top + side)).resize((180, 180)).save(name, quality=85)


def child(folder: str, step: str) -> dict[str, float]:
    """What the process does."""
    from tljax.files import keep_compiled

    keep_compiled()
    net = tljax.load_pretrained("efficientnet_lite0")
    source = tljax.data.open_source(folder)
    start = time.perf_counter()
    tljax.transfer.extract(net, source, cache=True)
    known = time.perf_counter()
    if step == "check":
        found = tljax.transfer.check(net, source, cache=True)
        whole = time.perf_counter()
        return {"seconds": whole - known - (known - start), "memory (GiB)": peak(), "issues": len(found.issues)}
    return {"seconds": known - start}


def peak() -> float:
    """The most memory that this process held, in GiB; the system's other figure includes what its parent held."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / (1 << 20)


if __name__ == "__main__":
    print(json.dumps(child(*sys.argv[1:])))
