"""What tells photos of none of the classes, as a file of a run."""

import os
from pathlib import Path

import numpy as np
import safetensors
from safetensors.numpy import load, save

from tljax.errors import InputError
from tljax.files import read_regular, replacing
from tljax.transfer.trust.unknown import Unknown

_MOST_BYTES = 1 << 30


def write_unknown(path: Path, unknown: Unknown) -> None:
    """Writes the arrays as a safetensors file."""
    arrays = {name: np.array(leaf, np.float32, order="C") for name, leaf in unknown.items()}
    with replacing(path) as part:
        part.write_bytes(save(arrays))


def read_unknown(path: Path, *, classes: int, dim: int) -> dict[str, np.ndarray] | None:
    """The arrays that `write_unknown` wrote; None where there are none, as in a run of an earlier version.

    Raises:
        InputError: a damaged file, or one of another network.
    """
    if not os.path.lexists(path):
        return None
    try:
        arrays = load(read_regular(path, most=_MOST_BYTES))
    except OSError as error:
        raise InputError(f'cannot read "{path}": {error.strerror or error}') from None
    except safetensors.SafetensorError as error:
        raise InputError(f'"{path}" is damaged: {error}') from None
    rank = arrays["shares"].size if "shares" in arrays else 0
    wanted = {"centres": (classes, dim), "directions": (dim, rank), "shares": (rank,), "unit": (), "threshold": ()}
    if {name: leaf.shape for name, leaf in arrays.items()} != wanted:
        raise InputError(f'"{path}" belongs to another run: remove it, and photos of none of the classes are not told')
    if not all(leaf.dtype == np.float32 and np.isfinite(leaf).all() for leaf in arrays.values()):
        raise InputError(f'"{path}" is damaged: expected finite float32 numbers')
    return arrays
