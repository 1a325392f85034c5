import multiprocessing
import sqlite3
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest

from tljax.transfer.feature_cache import FeatureCache

DIM = 6


def vector(seed):
    return np.random.default_rng(seed).normal(size=DIM).astype(np.float32)


@pytest.fixture
def path(tmp_path):
    """A cache file that holds "a", "b" and "c"."""
    path = tmp_path / "deep" / "model.sqlite"
    with FeatureCache(path, DIM) as cache:
        cache.put({name: vector(i) for i, name in enumerate("abc")})
    return path


def read(path, digests=("a", "b", "c")):
    with FeatureCache(path, DIM) as cache:
        return cache.get(digests)


def change(path, statement, *values):
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement, values)
    connection.close()


def test_what_was_put_comes_back_bit_for_bit(path):
    found = read(path, ["b", "unknown", "a", "a"])
    assert set(found) == {"a", "b"}
    np.testing.assert_array_equal(found["b"], vector(1))
    assert found["b"].dtype == np.float32


def test_a_later_value_replaces_an_earlier_one(path):
    with FeatureCache(path, DIM) as cache:
        cache.put({"a": vector(7)})
    np.testing.assert_array_equal(read(path)["a"], vector(7))


def test_without_a_path_nothing_is_kept():
    with FeatureCache(None, DIM) as cache:
        cache.put({"a": vector(0)})
        assert cache.get(["a"]) == {}


@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("UPDATE features SET value = ? WHERE digest = 'a'", vector(9).tobytes()),
        ("UPDATE features SET value = ? WHERE digest = 'a'", b"short"),
        ("UPDATE features SET value = ? WHERE digest = 'a'", "text"),
        ("UPDATE features SET value = ? WHERE digest = 'a'", None),
        ("UPDATE features SET checksum = ? WHERE digest = 'a'", b"0" * 16),
        # a whole row under another photo's name
        ("UPDATE features SET (value, checksum) = (SELECT value, checksum FROM features WHERE digest = ?) "
         "WHERE digest = 'a'", "b"),
    ],
)  # fmt: skip
def test_a_damaged_row_counts_as_absent(path, statement, value):
    change(path, statement, value)
    assert set(read(path)) == {"b", "c"}


def test_vectors_of_another_length_count_as_absent(path):
    with FeatureCache(path, DIM + 1) as cache:
        assert cache.get(["a"]) == {}


@pytest.mark.parametrize("content", [b"", b"this is no database" * 100])
def test_a_file_that_is_no_database_is_moved_aside(path, content):
    path.write_bytes(content)
    assert read(path) == {}
    with FeatureCache(path, DIM) as cache:
        cache.put({"a": vector(0)})
    np.testing.assert_array_equal(read(path)["a"], vector(0))
    if content:
        assert path.with_name(path.name + ".damaged").read_bytes() == content


@pytest.mark.parametrize("seed", range(8))
def test_overwritten_bytes_never_give_a_wrong_vector(path, seed):
    with FeatureCache(path, DIM) as cache:
        cache.put({f"{i}": vector(i) for i in range(300)})
    generator = np.random.default_rng(seed)
    content = bytearray(path.read_bytes())
    for _ in range(4):
        start = generator.integers(0, len(content))
        content[start : start + 400] = generator.bytes(min(400, len(content) - start))
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with FeatureCache(path, DIM) as cache:
            found = cache.get(f"{i}" for i in range(300))
            cache.put({"new": vector(1)})
    assert all(np.array_equal(value, vector(int(name))) for name, value in found.items())


def test_a_truncated_file_never_gives_a_wrong_vector(path):
    with FeatureCache(path, DIM) as cache:
        cache.put({f"{i}": vector(i) for i in range(300)})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = read(path, [f"{i}" for i in range(300)])
    assert all(np.array_equal(value, vector(int(name))) for name, value in found.items())


def test_a_folder_that_cannot_be_made_warns_once_and_the_work_goes_on(tmp_path):
    (tmp_path / "file").write_text("")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with FeatureCache(tmp_path / "file" / "model.sqlite", DIM) as cache:
            cache.put({"a": vector(0)})
            cache.put({"b": vector(1)})
            assert cache.get(["a"]) == {}
    assert len(caught) == 1
    assert "not cached" in str(caught[0].message)


def test_a_full_disk_warns_once_and_keeps_what_there_was(path):
    with FeatureCache(path, DIM) as cache, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pages = cache._connection.execute("PRAGMA page_count").fetchone()[0]
        cache._connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite then says what it says on a full disk
        for start in range(0, 2000, 500):
            cache.put({f"{i}": vector(i) for i in range(start, start + 500)})
        assert cache.get(["a"]) == {}
    assert len(caught) == 1
    assert "full" in str(caught[0].message)
    assert set(read(path)) == {"a", "b", "c"}


def test_a_process_killed_while_writing_leaves_whole_batches(path):
    program = f"""
        import os, pathlib
        import numpy as np
        from tljax.transfer.feature_cache import FeatureCache
        cache = FeatureCache(pathlib.Path({str(path)!r}), {DIM}).__enter__()
        cache.put({{"whole": np.ones({DIM}, np.float32)}})
        cache._connection.execute("DELETE FROM features")
        os._exit(9)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(program)]).returncode == 9
    assert set(read(path, ["a", "b", "c", "whole"])) == {"a", "b", "c", "whole"}


def _write(path, first):
    with FeatureCache(path, DIM) as cache:
        for start in range(first, first + 200, 20):
            cache.put({f"{i}": vector(i) for i in range(start, start + 20)})


def test_processes_may_write_at_once(path):
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_write, args=(path, first)) for first in (0, 100, 200)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    found = read(path, [f"{i}" for i in range(400)])
    assert len(found) == 400
    assert all(np.array_equal(value, vector(int(name))) for name, value in found.items())
