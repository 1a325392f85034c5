"""Weight files of any known kind, told apart by content, as a flat dict of NumPy arrays."""

import json
from pathlib import Path

import numpy as np
import safetensors

from tljax.errors import InputError
from tljax.weights import keras_file, torch_file
from tljax.weights.numpy_file import read_pickle
from tljax.weights.pickles import Refused, Unreadable, only_unreadable, require
from tljax.weights.tensors import BFLOAT16, as_numbers

_EXPECTED = "a .safetensors file, a torch .pth state dict or a Keras .h5 file is expected"
_SAFETENSORS = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": BFLOAT16,
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """The named arrays of a weight file. What the file is, its content says; its name does not matter.

    Reads `.safetensors`; torch state dicts in the three containers that torch has written (zip, pickle stream,
    tar), alone or under "state_dict" or "model"; pickled dicts of NumPy (kernel, bias); Keras' `.h5`, in a process
    of its own and with names as in `keras_file`. Nothing that a file holds is executed.

    Args:
        path: the file; `~` is expanded.
    Returns:
        arrays by the file's own names, possibly read-only. Floats of any width are float32, the rest is as stored.
    Raises:
        InputError: no such file; another kind of file; a damaged, truncated or hostile one.

    >>> arrays = tljax.weights.read_weights("toy.safetensors")
    >>> arrays["conv.weight"].shape
    (8, 3, 3, 3)
    """
    path = Path(path).expanduser()
    try:
        return _read(path)
    except Refused as name:
        raise InputError(f'refused: "{path}" wants to call {name}; {_EXPECTED}, and its pickle is not run') from None
    except Unreadable as reason:
        raise InputError(f'"{path}" {reason}') from None
    except OSError as error:
        raise InputError(f'cannot read "{path}": {error.strerror or error}') from None


def _read(path: Path) -> dict[str, np.ndarray]:
    require(not path.is_dir(), f"is a folder; {_EXPECTED}")
    require(path.exists(), "does not exist: give the path of a .safetensors, .pth or .h5 file")
    require(path.is_file(), f"is no regular file; {_EXPECTED}")
    with path.open("rb") as file:
        start = file.read(512)
    text = start.lstrip().lower()
    require(start, f"is empty; {_EXPECTED}")
    require(
        not text.startswith((b"<!doctype", b"<html", b"<?xml")),
        "is a web page, not weights: the download went wrong; fetch the file itself",
    )
    require(
        not text.startswith(b"version https://git-lfs"),
        "is a git-lfs pointer, not the weights; run `git lfs pull` where it came from",
    )
    if start.startswith(b"PK"):
        return torch_file.read_zip(path)
    if start.startswith(b"\x89HDF"):
        with keras_file.as_safetensors(path) as file:
            return _read_safetensors(file)
    if start[8:9] == b"{":
        return _read_safetensors(path)
    data = path.read_bytes()
    if start[257:262] == b"ustar":
        return torch_file.read_tar(data)
    if torch_file.MAGIC.to_bytes(10, "little") in start[:32]:
        return torch_file.read_stream(data)
    try:
        return read_pickle(data)
    except Refused:
        raise
    except Unreadable:
        if start.startswith(b"\x80"):
            raise
        raise Unreadable(f"is no weight file; {_EXPECTED}") from None


@only_unreadable()
def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        tensors = safetensors.deserialize(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise Unreadable(f"is a damaged or truncated .safetensors file: {error}") from None
    arrays = {}
    for name, tensor in tensors:
        dtype = _SAFETENSORS.get(tensor["dtype"])
        require(dtype is not None, f"holds {json.dumps(name[:80])} as {tensor['dtype']}, which is not read")
        arrays[name] = as_numbers(np.frombuffer(tensor["data"], dtype).reshape(tensor["shape"]))
    return arrays
