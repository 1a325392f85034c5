"""What torch 0.1 to 0.3 and Python 2 wrote, put together by hand."""

import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.fuzz.torch_files import (
    MAGIC,
    STORAGE,
    TENSOR,
    Global,
    StorageReference,
    Storages,
    dumps,
    pack_tar,
    raw,
)
from tljax.weights.read import read_weights

ARRAY = np.arange(12, dtype=np.float32).reshape(3, 4)


class Reduced(NamedTuple):
    """Pickles as a call of a global, with a state."""

    function: Global
    arguments: tuple
    state: Any = None

    def __reduce_ex__(self, protocol):
        return self[:2] if self.state is None else self[:]


def write(path: Path, state: Any, identify=Storages.stream_id) -> Path:
    parts = [dumps(MAGIC), dumps(1001), dumps({}), dumps(state, identify), dumps(["0"])]
    path.write_bytes(b"".join(parts) + struct.pack("<q", ARRAY.size) + raw(ARRAY))
    return path


def tensor(shape=(3, 4), strides=(4, 1)) -> Reduced:
    return Reduced(Global("torch._utils", "_rebuild_tensor"), (StorageReference(ARRAY.ravel(), "0"), 0, shape, strides))


def test_rebuild_tensor(tmp_path):
    np.testing.assert_array_equal(read_weights(write(tmp_path / "w", OrderedDict(x=tensor())))["x"], ARRAY)


def test_parameters_of_torch_0_1(tmp_path):
    kind = Global("torch.nn.parameter", "Parameter")
    state = {
        "by_state": Reduced(kind, (), (tensor(), None, OrderedDict(), True, False)),
        "by_call": Reduced(kind, (tensor(),), (True, False, OrderedDict())),
        "rebuilt": Reduced(Global("torch._utils", "_rebuild_parameter"), (tensor(), True, OrderedDict())),
    }
    read = read_weights(write(tmp_path / "w", OrderedDict(state)))
    assert list(read) == list(state)
    assert all((array == ARRAY).all() for array in read.values())


def test_ordered_dict_of_python_2(tmp_path):
    state = Reduced(Global("collections", "OrderedDict"), ([["b", tensor()], ["a", tensor((2,), (5,))]],))
    read = read_weights(write(tmp_path / "w", state))
    assert list(read) == ["b", "a"]
    np.testing.assert_array_equal(read["a"], [0, 5])


def test_views_of_a_storage_in_a_stream(tmp_path):
    def identify(value):
        view = ("view", 4, 8)
        return ("storage", STORAGE["Float"], "0", "cpu", 12, view) if isinstance(value, StorageReference) else None

    read = read_weights(write(tmp_path / "w", OrderedDict(x=tensor((2, 4))), identify))
    np.testing.assert_array_equal(read["x"], ARRAY[1:])


def test_views_of_a_storage_in_a_tar(tmp_path):
    storages = dumps(1) + dumps((7, "cpu", STORAGE["Float"])) + struct.pack("<q", 12) + raw(ARRAY)
    storages += dumps([(8, 7, 2, 10), (9, 8, 2, 8)])  # the second is a view of the first
    tensors = dumps(1) + dumps((1, 9, TENSOR["Float"])) + struct.pack("<i4x5q", 2, 2, 4, 4, 1, 0)

    state = b"\x80\x02}X\x01\x00\x00\x00xX\x01\x00\x00\x001Qs."  # {"x": the object with the persistent id "1"}
    path = pack_tar(tmp_path / "w", {"sys_info": dumps({}), "pickle": state, "storages": storages, "tensors": tensors})
    np.testing.assert_array_equal(read_weights(path)["x"], ARRAY[1:])
