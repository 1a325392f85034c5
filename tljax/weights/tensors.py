"""Storages and tensors as torch files describe them, and the NumPy arrays that they stand for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tljax.weights.pickles import Unreadable, require

BFLOAT16 = np.dtype([("bfloat16", "<u2")])
DTYPES = {
    "Half": np.dtype("<f2"),
    "BFloat16": BFLOAT16,
    "Float": np.dtype("<f4"),
    "Double": np.dtype("<f8"),
    "Char": np.dtype("i1"),
    "Byte": np.dtype("u1"),
    "Short": np.dtype("<i2"),
    "Int": np.dtype("<i4"),
    "Long": np.dtype("<i8"),
    "Bool": np.dtype("?"),
}


@dataclass
class Storage:
    """A run of elements of one dtype: its `data` (filled in when it is reached), or a window on another's."""

    dtype: np.dtype
    size: int
    data: np.ndarray | None = None
    base: "Storage | None" = None
    offset: int = 0

    def elements(self) -> np.ndarray:
        """(size,) in the storage's dtype.

        Raises:
            Unreadable: there is no such data in the file.
        """
        data = self.data
        if self.base is not None:
            data = self.base.elements()[self.offset : self.offset + self.size]
        if data is None or len(data) != self.size:
            raise Unreadable("is damaged: a tensor's storage is missing")
        return data


@dataclass
class Parameter:
    """A tensor as torch 0.1 wraps it; what it holds comes with its state."""

    tensor: "Tensor | None" = None

    def set_state(self, state: Any) -> None:
        """Takes the tensor from (data, gradient, hooks, requires_grad, volatile); ignores other states."""
        if isinstance(state, tuple) and state and isinstance(state[0], Tensor):
            self.tensor = state[0]


class Tensor(NamedTuple):
    """A window on a storage; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        """The window as an array, without a copy.

        Raises:
            Unreadable: the window leaves its storage, or repeats elements so that it is larger.
        """
        data = self.storage.elements()
        numbers = (self.offset, *self.shape, *self.strides)
        require(
            len(self.shape) == len(self.strides) and all(type(n) is int and n >= 0 for n in numbers),
            "is damaged: a tensor's shape or strides are no sizes",
        )
        size = math.prod(self.shape)
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        if not size:
            return np.zeros(self.shape, data.dtype)
        require(last < len(data) and size <= len(data), "is damaged: a tensor reaches outside its storage")
        strides = tuple(step * data.itemsize for step in self.strides)
        return as_strided(data[self.offset :], self.shape, strides, writeable=False)


def slice_storage(raw: memoryview, start: int, size: int, dtype: np.dtype) -> np.ndarray:
    """`size` elements of `raw` from byte `start`, without a copy; Unreadable where the file ends earlier."""
    require(
        type(size) is int and size >= 0 and start + size * dtype.itemsize <= len(raw),
        "is truncated: it ends inside its tensors",
    )
    return np.frombuffer(raw, dtype, count=size, offset=start)


def state_dict(loaded: Any, file_size: int) -> dict[str, np.ndarray]:
    """Named arrays from what a file's pickle gave: a dict of tensors, alone or under "state_dict" or "model".

    Floats of any width become float32; integers stay as stored.

    Raises:
        Unreadable: something other than tensors; tensors that together dwarf the file.
    """
    named = _unwrap(loaded)
    state = {name: value.tensor if isinstance(value, Parameter) else value for name, value in named.items()}
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    odd = next((name for name in state if name not in tensors or not isinstance(name, str)), None)
    require(odd is None, f"is no state dict: {str(odd)[:80]!r} is no tensor")
    arrays = {name: tensor.array() for name, tensor in tensors.items()}
    return unpacked(arrays, file_size)


def unpacked(arrays: Mapping[str, np.ndarray], file_size: int) -> dict[str, np.ndarray]:
    """Arrays `as_numbers`.

    Raises:
        Unreadable: they dwarf the file, as windows that repeat what it holds can.
    """
    require(
        sum(array.nbytes for array in arrays.values()) <= 4 * file_size,
        "is damaged: its arrays are larger than the file",
    )
    return {name: as_numbers(array) for name, array in arrays.items()}


def as_numbers(array: np.ndarray) -> np.ndarray:
    """Floats of any width and byte order as native float32; anything else as it is, in native byte order."""
    if array.dtype.names:  # bfloat16 is the upper half of a float32
        bits = array[array.dtype.names[0]].astype(np.uint32)
        return np.asarray(bits << 16).view(np.float32)
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return array.astype(np.float32, copy=False)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _unwrap(loaded: Any) -> Mapping:
    require(isinstance(loaded, dict) and loaded, "holds no state dict: a dict of named tensors is expected")
    if any(isinstance(value, Tensor | Parameter) for value in loaded.values()):
        return loaded
    inner = [loaded[key] for key in ("state_dict", "model") if isinstance(loaded.get(key), dict)]
    require(len(inner) == 1, 'holds no tensors: a state dict, alone or under "state_dict" or "model", is expected')
    return inner[0]
