"""The arrays by which a run says what can be relied on, as files of it."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
from safetensors.numpy import load, save

from tljax.errors import InputError
from tljax.files import read_regular, replacing

_MOST_BYTES = 1 << 30

Wanted = Mapping[str, tuple[type, tuple[int, ...]]]
"""The type and the shape of each array."""


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays as a safetensors file; no arrays, no file."""
    if arrays:
        with replacing(path) as part:
            part.write_bytes(save({name: np.array(leaf, order="C") for name, leaf in arrays.items()}))


def read_unknown(path: Path, *, classes: int, dim: int) -> dict[str, np.ndarray] | None:
    """What `fit_unknown` gave, as `write_arrays` wrote it; None where there is none, as in a run of an earlier version.

    Raises:
        InputError: a damaged file, or one of another network.
    """
    arrays = _read(path)
    if arrays is None:
        return None
    rank = arrays["shares"].size if "shares" in arrays else 0
    shapes = {"centres": (classes, dim), "directions": (dim, rank), "shares": (rank,), "unit": (), "threshold": ()}
    wanted = {name: (np.float32, shape) for name, shape in shapes.items()}
    return _checked(path, arrays, wanted, "photos of none of the classes are not told")


def read_sets(path: Path, *, classes: int, dim: int) -> dict[str, np.ndarray] | None:
    """What `calibrate_sets` gave, perhaps with the heads of folds; otherwise as `read_unknown`."""
    arrays = _read(path)
    if arrays is None:
        return None
    photos = arrays["before"].size if "before" in arrays else 0
    wanted: Wanted = {
        "before": (np.float64, (photos,)),
        "prob": (np.float64, (photos,)),
        "fold": (np.int32, (photos,)),
        "penalty": (np.float64, ()),
    }
    if "kernel" in arrays:
        folds = len(np.unique(arrays["fold"])) if "fold" in arrays else 0
        wanted = {**wanted, "kernel": (np.float32, (dim, folds, classes)), "bias": (np.float32, (folds, classes))}
    return _checked(path, arrays, wanted, "it makes no sets")


def _read(path: Path) -> dict[str, np.ndarray] | None:
    if not os.path.lexists(path):
        return None
    try:
        return load(read_regular(path, most=_MOST_BYTES))
    except OSError as error:
        raise InputError(f'cannot read "{path}": {error.strerror or error}') from None
    except safetensors.SafetensorError as error:
        raise InputError(f'"{path}" is damaged: {error}') from None


def _checked(path: Path, arrays: dict[str, np.ndarray], wanted: Wanted, otherwise: str) -> dict[str, np.ndarray]:
    """The arrays, if they are what is wanted, and finite; `otherwise` says what the run does without them."""
    if {name: leaf.shape for name, leaf in arrays.items()} != {name: shape for name, (_, shape) in wanted.items()}:
        raise InputError(f'"{path}" belongs to another run: remove it, and {otherwise}')
    for name, (dtype, _) in wanted.items():
        if arrays[name].dtype != dtype or not np.isfinite(arrays[name]).all():
            raise InputError(f'"{path}" is damaged: expected finite numbers of {np.dtype(dtype)} as "{name}"')
    return arrays
