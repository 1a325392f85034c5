"""Files made to do harm, and files that were cut or altered: refused in one line, nothing executed."""

import os
import pickle
import struct
import time
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from experiments.fuzz.torch_files import MAGIC, WRITERS, View, dumps, write_numpy, write_stream, write_tar, write_zip
from tljax.errors import InputError
from tljax.weights.read import read_weights

CONTAINERS = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
ARRAY = np.arange(12, dtype=np.float32).reshape(3, 4)
LARGE = 2**62


class Call:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def refused(path) -> str:
    with pytest.raises(InputError) as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@CONTAINERS
def test_call_of_os_system_in_a_container(tmp_path, write):
    marker = tmp_path / "executed"
    path = write(tmp_path / "F.pth", {"x": ARRAY, "y": Call(os.system, f"touch {marker}")})
    assert refused(path).startswith(f'refused: "{path}" wants to call posix.system')
    assert not marker.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_call_of_os_system_in_a_bare_pickle(tmp_path, protocol):
    marker = tmp_path / "executed"
    path = tmp_path / "F.pth"
    path.write_bytes(pickle.dumps({"conv1": [Call(os.system, f"touch {marker}"), ARRAY]}, protocol))
    message = refused(path)
    assert "wants to call posix.system" in message or protocol == 0
    assert not marker.exists()


@pytest.mark.parametrize("call", [b"cos\nsystem\n", b"\x80\x04\x8c\x02os\x8c\x06system\x93", b"(ios\nsystem\n"])
def test_every_way_to_name_a_global(tmp_path, call):
    path = tmp_path / "F.pth"
    path.write_bytes(call + b"\x8c\x04true\x85R.")
    assert "wants to call os.system" in refused(path)


@pytest.mark.parametrize("part", range(4))
def test_call_in_any_pickle_of_a_stream(tmp_path, part):
    marker = tmp_path / "executed"
    values = [MAGIC, 1001, {}, {}]
    pickles = [dumps(value) for value in values]
    pickles[part] = dumps(Call(os.system, f"touch {marker}"))
    path = tmp_path / "F.pth"
    path.write_bytes(b"".join(pickles) + (dumps(MAGIC) if part == 0 else b""))
    assert "wants to call posix.system" in refused(path)
    assert not marker.exists()


@pytest.mark.parametrize("function", [eval, getattr, __import__, np.load, np.fromfile])
def test_other_globals(tmp_path, function):
    path = write_zip(tmp_path / "F.pth", {"x": ARRAY, "y": Call(function, "1")})
    assert "refused" in refused(path)


def test_state_of_a_function_cannot_be_set(tmp_path):
    path = tmp_path / "F.pth"
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n"
    body = b"\x80\x02" + rebuild + b"}X\x0c\x00\x00\x00__defaults__)sb."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", body)
    assert "sets the state of plain data" in refused(path)


def test_arrays_of_objects_are_refused(tmp_path):
    path = tmp_path / "F.pkl"
    path.write_bytes(pickle.dumps({"conv1": [np.array([1, "a", None], object), ARRAY]}, 3))
    assert "other than numbers" in refused(path)
    path.write_bytes(pickle.dumps({"conv1": [np.zeros(2, [("a", "f4")]), ARRAY]}, 3))
    assert "other than numbers" in refused(path)


@CONTAINERS
@pytest.mark.parametrize(
    "view",
    [
        View(ARRAY.ravel(), 0, (13,), (1,)),
        View(ARRAY.ravel(), 12, (1,), (1,)),
        View(ARRAY.ravel(), 0, (3, 4), (5, 1)),
        View(ARRAY.ravel(), -1, (2,), (1,)),
        View(ARRAY.ravel(), 0, (2,), (-1,)),
        View(ARRAY.ravel(), 0, (-2, -2), (1, 1)),
        View(ARRAY.ravel(), LARGE, (1,), (1,)),
        View(ARRAY.ravel(), 0, (2, LARGE), (0, 0)),
        View(ARRAY.ravel(), 0, (1000, 1000), (0, 0)),
        View(ARRAY.ravel(), 0, (0, LARGE, LARGE), (1, 1, 1)),
    ],
)
def test_windows_outside_their_storage(tmp_path, write, view):
    assert "damaged" in refused(write(tmp_path / "F.pth", {"ok": ARRAY, "x": view}))


@CONTAINERS
def test_many_windows_on_one_storage(tmp_path, write):
    storage = np.zeros(10_000, np.float32)
    state = {f"x{i}": View(storage, 0, (10_000,), (1,)) for i in range(500)}
    assert "larger than the file" in refused(write(tmp_path / "F.pth", state))


def test_memory_bombs_in_a_pickle(tmp_path):
    path = tmp_path / "F.pth"
    start = time.perf_counter()
    for bomb in (
        b"\x80\x02Nr\xff\xff\xff\xff.",  # a memo index of four thousand million
        b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc.",  # bytes of a length that the file does not have
        b"\x80\x02\x8b" + struct.pack("<I", 2**31 - 1) + b"abc.",  # an integer of that kind
        b"\x80\x02)" + b"q\x00h\x00\x86" * 60 + b"}NNs.",  # nested pairs that take for ever to hash
        b"\x80\x02}" + b")" + b"2\x86" * 60 + b"Ns.",  # the same as a key
        b"\x80\x02" + b")0" * 10_000_000 + b".",  # work without end
    ):
        path.write_bytes(bomb)
        assert refused(path)
    assert time.perf_counter() - start < 5


def test_storages_larger_than_the_file(tmp_path):
    data = write_stream(tmp_path / "w.pth", {"x": ARRAY}).read_bytes()
    path = tmp_path / "F.pth"
    for size in (2**40, -1, 13, 11):
        at = data.rindex(struct.pack("<q", 12))
        path.write_bytes(data[:at] + struct.pack("<q", size) + data[at + 8 :])
        assert refused(path)


def test_compressed_zip(tmp_path):
    write_zip(tmp_path / "w.pth", {"x": np.zeros(1_000_000, np.float32)})
    with zipfile.ZipFile(tmp_path / "w.pth") as old, zipfile.ZipFile(tmp_path / "F.pth", "w", 8) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert "compressed" in refused(tmp_path / "F.pth")


def test_zip_with_a_flipped_bit(tmp_path):
    path = write_zip(tmp_path / "F.pth", {"x": ARRAY})
    data = bytearray(path.read_bytes())
    data[data.index(ARRAY.tobytes()) + 5] ^= 1
    path.write_bytes(data)
    assert "CRC" in refused(path)


@pytest.fixture(scope="module")
def good_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    state = {"a.weight": ARRAY, "a.bias": ARRAY[0], "n": np.array(3)}
    safetensors.numpy.save_file(state, folder / "w.safetensors")
    return {
        "zip": write_zip(folder / "zip.pth", state).read_bytes(),
        "stream": write_stream(folder / "stream.pth", state).read_bytes(),
        "tar": write_tar(folder / "tar.pth", state).read_bytes(),
        "numpy": write_numpy(folder / "w.pkl", {"c/kernel": ARRAY, "c/bias": ARRAY[0]}).read_bytes(),
        "safetensors": (folder / "w.safetensors").read_bytes(),
    }


KINDS = pytest.mark.parametrize("kind", ["zip", "stream", "tar", "numpy", "safetensors"])


@KINDS
def test_truncated_at_any_point(tmp_path, good_files, kind):
    data = good_files[kind]
    path = tmp_path / "F.pth"
    end = len(data.rstrip(b"\0")) if kind == "tar" else len(data)  # a tar may lack its empty end
    for length in range(0, end, max(1, end // 150)):
        path.write_bytes(data[:length])
        assert refused(path)


@KINDS
def test_mutations_give_arrays_or_one_line(tmp_path, good_files, kind):
    random = np.random.default_rng(0)
    path = tmp_path / "F.pth"
    lines = []
    for _ in range(400):
        data = bytearray(good_files[kind])
        for _ in range(random.integers(1, 6)):
            at = int(random.integers(len(data)))
            data[at : at + int(random.integers(0, 3))] = random.bytes(int(random.integers(0, 4)))
        path.write_bytes(data)
        try:
            assert all(isinstance(array, np.ndarray) for array in read_weights(path).values())
        except InputError as error:
            lines.append(str(error))
    assert len(lines) > 50
    assert not any("\n" in line for line in lines)
