"""Keras' `.h5` files, read by a child process that may crash, hang or fill its memory without harm."""

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tljax.weights import keras_child
from tljax.weights.pickles import Unreadable, require

_SECONDS = 60
_BYTES_PER_SECOND = 10 << 20  # of a slow disk


@contextmanager
def as_safetensors(path: Path) -> Iterator[Path]:
    """The weights of a Keras `.h5` as a `.safetensors` file, for as long as the block lasts.

    Reads what Keras 1 and 2 wrote, and `model.save("F.h5")` of any version: `layer_names` at the root or under
    `model_weights`, and `weight_names` for each layer. What the data sets are called differs from version to version,
    so the I-th array of LAYER, which is the K-th layer that has any, gets the name "K:LAYER/I".

    Raises:
        Unreadable: h5py is not installed; another, damaged, truncated or hostile file.
    """
    require(
        importlib.util.find_spec("h5py") is not None,
        'is a Keras .h5 file, and reading those needs h5py: pip install "tljax[keras]"',
    )
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "weights.safetensors"
        seconds = _SECONDS + path.stat().st_size / _BYTES_PER_SECOND
        try:
            child = subprocess.run(
                [sys.executable, "-P", keras_child.__file__, os.path.abspath(path), target],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=seconds,
                env={**os.environ, "HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"},  # no plug-ins
            )
        except subprocess.TimeoutExpired:
            raise Unreadable(f"is damaged: after {seconds:.0f} s there was no end to reading it") from None
        if child.returncode:
            said = child.stdout.decode("ascii", "replace").strip() if child.returncode == keras_child.REFUSED else ""
            raise Unreadable(said or "is damaged or truncated: the HDF5 library does not survive it")
        yield target
