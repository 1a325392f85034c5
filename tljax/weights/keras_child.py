"""Reads a Keras `.h5` in a process of its own: `python -P keras_child.py SOURCE TARGET`. Imports nothing of tljax.

The HDF5 library is not safe on files that were made to do harm, or that were damaged: some end the process, some never
end. So `keras_file` starts this script, with limits on memory, time and what it may write. Exit 0: TARGET is a
`.safetensors` file of all weights; 3: why not, as one line on stdout that continues a sentence on the file.
"""

import contextlib
import itertools
import math
import os
import sys

REFUSED = 3
_SPARE = 2 << 30  # bytes of address space for Python, NumPy and h5py


class Refusal(Exception):
    """Why a file is not read."""


def main(source: str, target: str) -> int:
    """Writes TARGET; returns the exit code."""
    size = os.path.getsize(source)
    _limit(size)
    import h5py
    import safetensors.numpy

    try:
        with h5py.File(source, "r") as file:
            arrays = _arrays(file, 4 * size)
        safetensors.numpy.save_file(arrays, target)
    except Refusal as reason:
        return _refuse(str(reason))
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, MemoryError, RecursionError) as error:
        return _refuse(f"is damaged or truncated: {' '.join(str(error).split())[:120] or type(error).__name__}")
    return 0


def _refuse(reason: str) -> int:
    print(reason.encode("ascii", "backslashreplace").decode())
    return REFUSED


def _limit(size: int) -> None:
    if sys.platform == "win32":
        return
    with contextlib.suppress(ImportError, ValueError, OSError):  # not every system has them
        import resource

        limits = {"RLIMIT_AS": _SPARE + 4 * size, "RLIMIT_FSIZE": 4 * size + (1 << 20), "RLIMIT_CORE": 0}
        for name, limit in limits.items():
            resource.setrlimit(getattr(resource, name), (limit, limit))


def _arrays(file, most: int) -> dict:
    """The weights as "K:LAYER/I": the I-th array of LAYER, the K-th of the layers that have any."""
    root = _follow(file, "model_weights") if "layer_names" not in file.attrs and "model_weights" in file else file
    layers = _names(root, "layer_names")
    if layers is None:
        if "layers" in file or "_layer_checkpoint_dependencies" in file:
            raise Refusal('is a .weights.h5 of Keras 3: save the whole model, as model.save("model.h5")')
        raise Refusal("is an HDF5 file without layer_names: none that Keras wrote")
    tensors, total, number = {}, 0, 0
    for layer in layers:
        group = _follow(root, layer)
        weights = _names(group, "weight_names") or []
        for i, name in enumerate(weights):
            dataset = _follow(group, name)
            total += _bytes(dataset)
            if total > most:
                raise Refusal("is damaged: its arrays are larger than the file")
            tensors[f"{number}:{layer}/{i}"] = _read(dataset)
        number += bool(weights)
    if not tensors:
        raise Refusal("holds no weights")
    return tensors


def _names(group, key: str) -> list[str] | None:
    """A list of names, which Keras cuts into KEY0, KEY1, ... where it is long."""
    numbered = itertools.takewhile(group.attrs.__contains__, (f"{key}{i}" for i in itertools.count()))
    parts = [key] if key in group.attrs else list(numbered)
    names = [name for part in parts for name in group.attrs[part].tolist()]
    return [name.decode() if isinstance(name, bytes) else name for name in names] if parts else None


def _follow(group, path: str):
    """What lies at `path`, by hard links only: a link may lead into another file."""
    import h5py

    for step in filter(None, path.split("/")):
        if not isinstance(group, h5py.Group) or not isinstance(group.get(step, getlink=True), h5py.HardLink):
            raise Refusal(f"is damaged: there is nothing at {path[:80]}")
        group = group[step]
    return group


def _bytes(dataset) -> int:
    import h5py

    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "fiu" or dataset.shape is None:
        raise Refusal("holds weights of something other than numbers")
    if dataset.external or dataset.is_virtual:
        raise Refusal("keeps its weights in other files")
    return max(dataset.nbytes, math.prod(dataset.shape) * 4)


def _read(dataset):
    import numpy as np

    array = np.asarray(dataset[()])
    kind = np.float32 if array.dtype.kind == "f" else array.dtype.newbyteorder("=")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, kind)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
