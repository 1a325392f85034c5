"""torch's `.pth` files without torch: the zip, the pickle stream and the tar that it has written over the years."""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tljax.weights.pickles import Unreadable, only_unreadable, require, unpickle
from tljax.weights.tensors import DTYPES, Parameter, Storage, Tensor, slice_storage, state_dict

MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


@only_unreadable()
def read_zip(path: Path) -> dict[str, np.ndarray]:
    """The named arrays of a `.pth` of torch 1.6 and later: a zip of `data.pkl` and one record per storage.

    Raises:
        Unreadable: a damaged, compressed or foreign archive; a pickle that is no state dict of tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(archive, path.stat().st_size)
    except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise Unreadable(f"is a damaged or truncated zip archive: {' '.join(str(error).split())[:80]}") from None


def _read_archive(archive: zipfile.ZipFile, file_size: int) -> dict[str, np.ndarray]:
    records = {info.filename: info for info in archive.infolist()}
    main = next((name for name in records if name.count("/") == 1 and name.endswith("/data.pkl")), "")
    require(main, "is a zip archive without data.pkl: no torch file")
    folder = main.removesuffix("data.pkl")
    require(folder + "constants.pkl" not in records, "is a TorchScript program; save the model's state_dict() instead")
    left = file_size

    def record(name: str) -> bytes:
        nonlocal left
        require(folder + name in records, f"is damaged: its record {name[:80]!r} is missing")
        info = records[folder + name]
        require(
            info.compress_type == zipfile.ZIP_STORED and info.file_size == info.compress_size,
            "has compressed records, which torch never writes",
        )
        left -= info.file_size
        require(left >= 0, "is damaged: its records are larger than the file")
        return archive.read(info)

    order = ">" if folder + "byteorder" in records and record("byteorder") == b"big" else "<"
    storages: dict[str, Storage] = {}

    def persistent(identifier: Any) -> Storage:
        kind, dtype, key, _location, size = identifier
        require(kind == "storage" and isinstance(dtype, np.dtype) and isinstance(key, str))
        if key not in storages:
            raw = record(f"data/{key}")
            require(type(size) is int and size * dtype.itemsize == len(raw))
            storages[key] = Storage(dtype, size, np.frombuffer(raw, dtype.newbyteorder(order)))
        return storages[key]

    loaded = unpickle(io.BytesIO(record("data.pkl")), _GLOBALS, persistent=persistent)
    return state_dict(loaded, file_size)


@only_unreadable()
def read_stream(data: bytes) -> dict[str, np.ndarray]:
    """The named arrays of a `.pth` of torch 0.1.10 to 1.5: four pickles, a list of keys, the storages in turn.

    Raises:
        Unreadable: a truncated or damaged file; a pickle that is no state dict of tensors.
    """
    stream = io.BytesIO(data)
    require(unpickle(stream, {}) == MAGIC and unpickle(stream, {}) == _PROTOCOL)
    unpickle(stream, {})  # sizes of the writer's C types; storages are little-endian whatever it says
    roots: dict[str, Storage] = {}
    views: dict[str, Storage] = {}

    def persistent(identifier: Any) -> Storage:
        kind, dtype, key, _location, size, view = identifier
        require(kind == "storage" and isinstance(dtype, np.dtype) and isinstance(key, str))
        root = roots.setdefault(key, Storage(dtype, size))
        if view is None:
            return root
        view_key, offset, view_size = view
        require(isinstance(view_key, str))
        return views.setdefault(view_key, _window(root, offset, view_size))

    loaded = unpickle(stream, _GLOBALS, persistent=persistent)
    for key in unpickle(stream, {}):
        require(isinstance(key, str) and key in roots)
        _read_storage(stream, data, roots[key])
    return state_dict(loaded, len(data))


@only_unreadable()
def read_tar(data: bytes) -> dict[str, np.ndarray]:
    """The named arrays of a `.pth` older than torch 0.1.10: a tar of `storages`, `tensors` and `pickle`.

    Raises:
        Unreadable: a truncated or damaged file; a pickle that is no state dict of tensors.
    """
    members = _tar_members(data)
    require(
        {"storages", "tensors", "pickle"} <= set(members),
        "is a tar archive without storages, tensors and pickle: no torch file",
    )
    objects = _tar_storages(members["storages"])
    objects |= _tar_tensors(members["tensors"], objects)

    def persistent(identifier: Any) -> Any:
        require(isinstance(identifier, str | int))
        return objects[int(identifier)]

    loaded = unpickle(io.BytesIO(members["pickle"]), _GLOBALS, persistent=persistent)
    return state_dict(loaded, len(data))


def _tar_members(data: bytes) -> dict[str, bytes]:
    members, position = {}, 0
    while (header := data[position : position + 512]).strip(b"\0"):
        try:
            size = int(header[124:136].strip(b"\0 "), 8)
        except ValueError:
            raise Unreadable("is a damaged tar archive") from None
        position += 512
        require(0 <= size <= len(data) - position, "is a truncated tar archive")
        if header[156:157] in b"0\0":
            name = header[:100].split(b"\0")[0].decode("latin-1").removeprefix("./")
            members[name] = data[position : position + size]
        position += -(-size // 512) * 512
    return members


def _tar_storages(data: bytes) -> dict[int, Any]:
    stream, storages = io.BytesIO(data), {}
    for _ in range(_count(unpickle(stream, {}), data)):
        key, _location, dtype = unpickle(stream, _GLOBALS)
        require(isinstance(dtype, np.dtype) and type(key) is int)
        storages[key] = _read_storage(stream, data, Storage(dtype, -1))
    for key, root, offset, size in unpickle(stream, {}):
        require(type(key) is int and type(root) is int)
        storages[key] = _window(storages[root], offset, size)
    return storages


def _tar_tensors(data: bytes, storages: dict[int, Storage]) -> dict[int, Tensor]:
    stream, tensors = io.BytesIO(data), {}
    for _ in range(_count(unpickle(stream, {}), data)):
        key, storage, _kind = unpickle(stream, _GLOBALS)
        require(type(key) is int and type(storage) is int)
        (rank,) = struct.unpack("<i4x", stream.read(8))
        require(0 <= rank <= 32)
        *numbers, offset = struct.unpack(f"<{2 * rank + 1}q", stream.read(16 * rank + 8))
        tensors[key] = Tensor(storages[storage], offset, tuple(numbers[:rank]), tuple(numbers[rank:]))
    return tensors


def _read_storage(stream: io.BytesIO, data: bytes, storage: Storage) -> Storage:
    """Fills a storage from the stream: its size as 8 bytes, then the elements. A size of -1 is yet unknown."""
    (size,) = struct.unpack("<q", stream.read(8))
    require(storage.size in (-1, size))
    storage.size = size
    storage.data = slice_storage(memoryview(data), stream.tell(), size, storage.dtype)
    stream.seek(size * storage.dtype.itemsize, os.SEEK_CUR)
    return storage


def _window(root: Storage, offset: Any, size: Any) -> Storage:
    require(isinstance(root, Storage) and type(offset) is int and offset >= 0 and type(size) is int)
    return Storage(root.dtype, size, base=root.base or root, offset=root.offset + offset)


def _count(value: Any, data: bytes) -> int:
    require(type(value) is int and 0 <= value <= len(data))
    return value


def _ordered(items: Iterable = ()) -> dict:
    """An OrderedDict; Python 2 gives its items as a list of pairs."""
    result = {}
    for key, value in items:
        require(isinstance(key, str))
        result[key] = value
    return result


def _tensor(storage: Any, offset: int, shape: tuple, strides: tuple, *_autograd: Any) -> Tensor:
    require(isinstance(storage, Storage) and isinstance(shape, tuple) and isinstance(strides, tuple))
    return Tensor(storage, offset, shape, strides)


def _parameter(tensor: Any = None, *_autograd: Any) -> Parameter:
    require(tensor is None or isinstance(tensor, Tensor))
    return Parameter(tensor)


_GLOBALS: dict[str, Any] = {
    "collections.OrderedDict": _ordered,
    "torch._utils._rebuild_tensor": _tensor,  # before 0.4; torchvision's vgg16-397923af.pth has it
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.nn.parameter.Parameter": _parameter,  # torch 0.1
    **{f"torch.{name}Storage": dtype for name, dtype in DTYPES.items()},
    **{f"torch.{name}Tensor": dtype for name, dtype in DTYPES.items()},
}
