"""Keras' `.h5`: every layout gives the same arrays, and no file harms the process that reads it."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("h5py", reason='needs the extra keras: pip install "tljax[keras]"')

import h5py

from tests import keras_files
from tljax.errors import InputError
from tljax.weights import keras_child, keras_file
from tljax.weights.read import read_weights

KERNEL = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
STATE = {"b/kernel": KERNEL, "b/bias": KERNEL[0, 0], "a/gamma": KERNEL[0, 0], "a/moving_mean": KERNEL[1, 0]}


def refused(path) -> str:
    with pytest.raises(InputError) as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("write", keras_files.WRITERS.values(), ids=keras_files.WRITERS)
def test_every_layout_is_read_by_layer_and_order(tmp_path, write):
    read = read_weights(write(tmp_path / "w.h5", STATE))
    assert set(read) == {"0:b/0", "0:b/1", "1:a/0", "1:a/1"}
    for name, expected in zip(("0:b/0", "0:b/1", "1:a/0", "1:a/1"), STATE.values(), strict=True):
        np.testing.assert_array_equal(read[name], expected)
        assert read[name].dtype == np.float32


def test_floats_of_other_widths_and_byte_orders(tmp_path):
    state = {"a/kernel": KERNEL.astype(">f8"), "a/bias": KERNEL.astype("f2"), "a/n": KERNEL.astype(">i4")}
    read = read_weights(keras_files.write_second(tmp_path / "w.h5", state))
    assert [read[f"0:a/{i}"].dtype for i in range(3)] == [np.float32, np.float32, np.int32]
    assert all((array == KERNEL).all() for array in read.values())


def toy(path, fill):
    """A file with one layer "a" with one weight "w", which `fill(group)` makes."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"a"])
        group = file.create_group("a")
        group.attrs["weight_names"] = np.array([b"w"])
        fill(group)
    return path


def virtual(group):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    group.create_virtual_dataset("w", layout)


@pytest.mark.parametrize(
    ("fill", "reason"),
    [
        (lambda group: None, "there is nothing at w"),
        (lambda group: group.create_group("w"), "other than numbers"),
        (lambda group: group.create_dataset("w", data=[b"text"]), "other than numbers"),
        (lambda group: group.create_dataset("w", data=h5py.Empty("f4")), "other than numbers"),
        (lambda group: group.__setitem__("w", h5py.SoftLink("/a")), "there is nothing at w"),
        (lambda group: group.__setitem__("w", h5py.ExternalLink("other.h5", "/x")), "there is nothing at w"),
        (lambda group: group.create_dataset("w", (4,), "f4", external=[("/etc/passwd", 0, 16)]), "in other files"),
        (virtual, "in other files"),
        (lambda group: group.create_dataset("w", (2**40,), "f4", chunks=(1024,)), "larger than the file"),
        (lambda group: group.create_dataset("w", data=np.zeros(10**6, "f4"), compression="gzip"), "larger than the"),
    ],
)
def test_what_is_no_plain_array_is_refused(tmp_path, fill, reason):
    assert reason in refused(toy(tmp_path / "w.h5", fill))


def test_one_array_listed_many_times(tmp_path):
    def fill(group):
        group.create_dataset("w", data=np.zeros(10_000, "f4"))
        group.attrs["weight_names"] = np.array([b"w"] * 500)

    assert "larger than the file" in refused(toy(tmp_path / "w.h5", fill))


def test_other_hdf5_files_say_what_is_expected(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = KERNEL
    assert "without layer_names" in refused(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        file["layers/conv2d/vars/0"] = KERNEL
    assert 'model.save("model.h5")' in refused(tmp_path / "x.weights.h5")
    assert "holds no weights" in refused(keras_files.write_second(tmp_path / "none.h5", {}))


def test_truncated_and_altered_files_end_in_one_line_or_in_arrays(tmp_path):
    good = keras_files.write_second(tmp_path / "good.h5", STATE).read_bytes()
    path, random, lines = tmp_path / "F.h5", np.random.default_rng(0), []
    path.write_bytes(good[: len(good) // 2])
    assert "damaged or truncated" in refused(path)
    for _ in range(6):
        data = bytearray(good)
        for at in random.integers(8, len(good), 40):
            data[at] = random.integers(256)
        path.write_bytes(data)
        try:
            read_weights(path)
        except InputError as error:
            lines.append(str(error))
    assert len(lines) > 1
    assert not any("\n" in line for line in lines)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import time; time.sleep(60)", "there was no end to reading it"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "does not survive it"),
    ],
)
def test_a_child_that_hangs_or_dies(tmp_path, monkeypatch, script, reason):
    path = keras_files.write_second(tmp_path / "w.h5", STATE)
    (tmp_path / "child.py").write_text(script)
    monkeypatch.setattr(keras_child, "__file__", str(tmp_path / "child.py"))
    monkeypatch.setattr(keras_file, "_SECONDS", 0.5)
    assert reason in refused(path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limits")
def test_the_child_may_not_fill_the_memory():
    code = (
        "from tljax.weights import keras_child; keras_child._limit(0)\n"
        "try: bytearray(3 << 30)\n"
        "except MemoryError: print('refused')"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "refused\n"


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    path = keras_files.write_second(tmp_path / "w.h5", STATE)
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert 'pip install "tljax[keras]"' in refused(path)
