"""Every kind of weight file gives the arrays that went into it."""

import pickle

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from experiments.fuzz.torch_files import WRITERS, View, write_numpy, write_stream, write_zip
from tljax.errors import InputError
from tljax.weights.read import read_weights

CONTAINERS = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
KERNEL = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)


@CONTAINERS
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_floats_of_any_width_become_float32(tmp_path, write, dtype):
    values = np.array([0.5, -1.25, 3.0, np.inf]).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    read = read_weights(write(tmp_path / "w.pth", {"x": values}))["x"]
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, [0.5, -1.25, 3.0, np.inf])


@CONTAINERS
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64"])
def test_integers_stay_as_stored(tmp_path, write, dtype):
    values = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    read = read_weights(write(tmp_path / "w.pth", {"x": values}))["x"]
    assert read.dtype == values.dtype
    np.testing.assert_array_equal(read, values)


@CONTAINERS
def test_names_order_and_scalars(tmp_path, write):
    state = {"b.weight": KERNEL, "a.bias": KERNEL[0, 0], "n": np.array(7), "empty": np.zeros((0, 3), np.float32)}
    read = read_weights(write(tmp_path / "w.pth", state))
    assert list(read) == list(state)
    assert {name: array.shape for name, array in read.items()} == {n: a.shape for n, a in state.items()}
    np.testing.assert_array_equal(read["b.weight"], KERNEL)
    assert read["n"] == 7


@CONTAINERS
def test_transposed_and_shared_storages(tmp_path, write):
    storage = np.arange(24, dtype=np.float32)
    state = {"columns": View(storage, 2, (4, 5), (1, 4)), "whole": View(storage, 0, (24,), (1,))}
    read = read_weights(write(tmp_path / "w.pth", state))
    np.testing.assert_array_equal(read["columns"], [[2 + i + 4 * j for j in range(5)] for i in range(4)])
    np.testing.assert_array_equal(read["whole"], storage)


@CONTAINERS
def test_neighbouring_storages_do_not_mix(tmp_path, write):
    state = {f"layer{i}": np.full((i + 1, 3), i, np.float32) for i in range(12)}  # keys "10" and "2" sort apart
    read = read_weights(write(tmp_path / "w.pth", state))
    assert all((read[f"layer{i}"] == i).all() and read[f"layer{i}"].shape == (i + 1, 3) for i in range(12))


@pytest.mark.parametrize("byteorder", ["little", "big", None])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, ml_dtypes.bfloat16])
def test_byte_order_of_a_zip(tmp_path, byteorder, dtype):
    values = np.array([1, 2, 300]).astype(dtype)
    read = read_weights(write_zip(tmp_path / "w.pth", {"x": values}, byteorder=byteorder))["x"]
    np.testing.assert_array_equal(read, values.astype(np.float32))
    assert read.dtype.isnative


@pytest.mark.parametrize("key", ["state_dict", "model"])
@pytest.mark.parametrize("write", [write_zip, write_stream])
def test_state_dict_inside_a_checkpoint(tmp_path, write, key):
    checkpoint = {"epoch": 3, key: {"x": KERNEL}, "optimizer": {"lr": 0.1, "state": {}}}
    read = read_weights(write(tmp_path / "w.pth", checkpoint))
    assert list(read) == ["x"]
    np.testing.assert_array_equal(read["x"], KERNEL)


def test_the_name_of_a_file_does_not_matter(tmp_path):
    write_stream(tmp_path / "w.safetensors", {"x": KERNEL})
    np.testing.assert_array_equal(read_weights(tmp_path / "w.safetensors")["x"], KERNEL)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16, np.int64, np.uint8, bool])
def test_safetensors(tmp_path, dtype):
    values = np.array([[0, 1, 2], [1, 0, 4]]).astype(dtype)
    safetensors.numpy.save_file({"x": values, "s": np.array(2, np.int64)}, tmp_path / "w.safetensors")
    read = read_weights(str(tmp_path / "w.safetensors"))
    floats = values.dtype.kind == "f" or dtype is ml_dtypes.bfloat16
    assert read["x"].dtype == (np.float32 if floats else values.dtype)
    np.testing.assert_array_equal(read["x"].astype(np.float64), values.astype(np.float64))
    assert read["s"] == 2


def test_pickled_numpy_arrays(tmp_path):
    state = {"fire2/squeeze1x1/kernel": np.asfortranarray(KERNEL), "fire2/squeeze1x1/bias": KERNEL[0, 0]}
    read = read_weights(write_numpy(tmp_path / "w.pkl", state))
    assert list(read) == list(state)
    for name, array in state.items():
        np.testing.assert_array_equal(read[name], array)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pickled_numpy_arrays_of_other_protocols(tmp_path, protocol):
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"conv1": (KERNEL.astype(">f8"), KERNEL[0])}, protocol))
    read = read_weights(tmp_path / "w.pkl")
    np.testing.assert_array_equal(read["conv1/kernel"], KERNEL)
    assert read["conv1/kernel"].dtype == np.float32


def test_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_zip(tmp_path / "w.pth", {"x": KERNEL})
    assert list(read_weights("~/w.pth")) == ["x"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html>Not found</html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs pointer"),
        (b"PK\x03\x04" + bytes(100), "damaged or truncated zip"),
        (b"just some text, and more of it", "no weight file"),
        (bytes(1000), "no weight file"),
        ((8).to_bytes(8, "little") + b"{nonsens", "damaged or truncated .safetensors"),
        (b"\x80\x04}.", "holds no weights"),
        (b"\x80\x04K\x05.", "holds no weights"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, content, reason):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason) as caught:
        read_weights(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match=r'nothing\.pth" does not exist'):
        read_weights(tmp_path / "nothing.pth")
    with pytest.raises(InputError, match="is a folder"):
        read_weights(tmp_path)


@pytest.mark.parametrize("write", [write_zip, write_stream])
@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"x": KERNEL, "lr": 0.5}, "'lr' is no tensor"),
        ({"epoch": 1}, "holds no tensors"),
        ({"state_dict": {"x": KERNEL}, "model": {"x": KERNEL}}, "holds no tensors"),
        ({}, "holds no state dict"),
    ],
)
def test_what_is_no_state_dict(tmp_path, write, state, reason):
    with pytest.raises(InputError, match=reason):
        read_weights(write(tmp_path / "w.pth", state))
