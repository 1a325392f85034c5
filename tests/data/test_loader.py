"""Batches: full, in order, of one shape, with what cannot be read beside them."""

import gc
import os
import threading
import time

import numpy as np
import pytest
from PIL import Image

from tests.photos import make_photos, photo
from tljax.data.images import FORMATS, decode, preprocess
from tljax.data.loader import Skipped, batches, digests
from tljax.data.source import Source
from tljax.data.sources import open_source
from tljax.models.spec import get_spec

SPEC = get_spec("efficientnet_lite0")


def arrays(count, read=None):
    """A source of `count` arrays of 4 x 4, the i-th of the value i."""
    labels = np.arange(count, dtype=np.int32) % 3
    files = tuple(f"toy/{i}" for i in range(count))
    plain = lambda i: np.full((4, 4, 3), i, np.uint8)  # noqa: E731
    return Source("toy", ("a", "b", "c"), files, labels, read or plain, {}, files)


def test_order_shapes_and_padding():
    seen = list(batches(arrays(10), [7, 3, 9, 0, 5], SPEC, batch_size=2, threads=3))
    assert [batch.index.tolist() for batch in seen] == [[7, 3], [9, 0], [5, -1]]
    assert [batch.labels.tolist() for batch in seen] == [[1, 0], [0, 0], [2, -1]]
    assert [batch.mask.tolist() for batch in seen] == [[True, True], [True, True], [True, False]]
    for batch in seen:
        assert (batch.images.shape, batch.images.dtype) == ((2, 224, 224, 3), np.uint8)
        assert (batch.labels.dtype, batch.index.dtype, batch.mask.dtype) == (np.int32, np.int32, bool)
        assert batch.images[:, 0, 0, 0].tolist() == [max(i, 0) for i in batch.index]
        assert batch.skipped == ()


def test_a_photo_comes_out_as_decode_and_preprocess_make_it(tmp_path):
    make_photos(tmp_path, {"red": 2, "blue": 2}, size=(90, 70))
    source = open_source(tmp_path)
    (batch,) = batches(source, range(4), SPEC, batch_size=4)
    for i in range(4):
        np.testing.assert_array_equal(batch.images[i], preprocess(decode(source.read(i)), SPEC))


def test_trouble_is_listed_with_its_reason_and_takes_no_row(tmp_path):
    make_photos(tmp_path, {"red": 4, "blue": 4})
    red = tmp_path / "red"
    good = (red / "red_000.jpg").read_bytes()
    (red / "empty.jpg").write_bytes(b"")
    (red / "short.jpg").write_bytes(good[: len(good) // 2])
    (red / "text.jpg").write_text("no picture at all, just words")
    Image.fromarray(photo("red", 9)).save(red / "gif_inside.jpg", "GIF")
    Image.fromarray(photo("red", 9)).save(red / "bmp_inside.jpg", "BMP")
    (red / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    source = open_source(tmp_path)
    seen = list(batches(source, range(len(source.files)), SPEC, batch_size=5))
    skipped = [entry for batch in seen for entry in batch.skipped]
    assert {(os.path.basename(s.file), s.reason, s.label) for s in skipped} == {
        ("empty.jpg", "empty file", 1),
        ("short.jpg", "truncated JPEG", 1),
        ("text.jpg", f"not a picture in a format that is read: {', '.join(FORMATS)}", 1),
        ("gone.jpg", "no such file", 1),
    }
    assert [int(batch.mask.sum()) for batch in seen] == [5, 5, 0]  # the last reports text.jpg
    read = [source.files[i] for batch in seen for i in batch.index[batch.mask]]
    assert sorted([*read, *(entry.file for entry in skipped)]) == sorted(source.files)


def test_a_file_without_permission():
    def read(i):
        raise PermissionError(13, "Permission denied", "some/path")

    (batch,) = batches(arrays(1, read), [0], SPEC, batch_size=1)
    assert batch.skipped == (Skipped("toy/0", "cannot be read: Permission denied", 0),)


def test_only_trouble_still_reports_it():
    def read(i):
        raise OSError("the disk is on fire")

    seen = list(batches(arrays(3, read), range(3), SPEC, batch_size=2))
    assert sum(batch.mask.sum() for batch in seen) == 0
    assert seen[-1].skipped[0] == Skipped("toy/0", "cannot be read: the disk is on fire", 0)
    assert len(seen[-1].skipped) == 3


def test_trouble_after_the_last_full_batch_is_reported():
    def read(i):
        return b"" if i == 2 else np.zeros((2, 2, 3), np.uint8)

    seen = list(batches(arrays(3, read), range(3), SPEC, batch_size=2))
    assert [batch.mask.tolist() for batch in seen] == [[True, True], [False, False]]
    assert seen[1].skipped == (Skipped("toy/2", "empty file", 2),)


def test_no_picture_no_batch():
    assert list(batches(arrays(3), [], SPEC, batch_size=2)) == []


def test_shards_side_by_side_are_the_batches_of_one_process():
    seen = [
        [batch.index.tolist() for batch in batches(arrays(9), range(9), SPEC, batch_size=2, shard=(p, 3))]
        for p in range(3)
    ]
    assert seen == [[[0, 1], [6, 7]], [[2, 3], [8, -1]], [[4, 5]]]


def test_reading_runs_ahead_but_not_far():
    started = []

    def read(i):
        started.append(i)
        return np.zeros((2, 2, 3), np.uint8)

    stream = batches(arrays(200, read), range(200), SPEC, batch_size=4, threads=2)
    next(stream)
    deadline = time.monotonic() + 10
    while len(started) < 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert 10 <= len(started) <= 4 + 8 + 1


def test_several_threads_read_and_none_is_left_behind():
    before, names = threading.active_count(), set()
    gate = threading.Barrier(2, timeout=20)

    def read(i):
        names.add(threading.current_thread().name)
        if i < 2:
            gate.wait()
        return np.zeros((2, 2, 3), np.uint8)

    stream = batches(arrays(50, read), range(50), SPEC, batch_size=2, threads=2)
    next(stream)
    del stream
    gc.collect()
    assert len(names) == 2
    assert threading.active_count() == before


def test_an_error_that_is_no_trouble_of_the_photo_is_raised():
    def read(i):
        raise KeyError("a mistake in the program")

    with pytest.raises(KeyError, match="a mistake"):
        next(batches(arrays(3, read), range(3), SPEC, batch_size=2))


def test_digests_tell_contents_apart_and_nothing_else(tmp_path):
    make_photos(tmp_path, {"a": 2, "b": 1}, size=8)
    (tmp_path / "b" / "copy.jpg").write_bytes((tmp_path / "a" / "a_000.jpg").read_bytes())
    (tmp_path / "b" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    source = open_source(tmp_path)
    by_name = dict(zip([os.path.basename(f) for f in source.files], digests(source, range(5)), strict=True))
    assert by_name["copy.jpg"] == by_name["a_000.jpg"]
    assert by_name["gone.jpg"] == ""
    assert len(set(by_name.values())) == 4
    assert digests(source, [3, 0]) == [digests(source, [3])[0], digests(source, [0])[0]]


def test_digests_of_arrays_see_the_shape():
    shapes = [(2, 6, 3), (6, 2, 3), (2, 6, 3)]
    one, other, same = digests(arrays(3, lambda i: np.zeros(shapes[i], np.uint8)), range(3))
    assert one == same != other


def test_real_photographs(sample_data):
    source = open_source(sample_data / "pets37")
    assert len(source.classes) == 37
    seen = list(batches(source, range(len(source.files)), SPEC, batch_size=64))
    assert [entry for batch in seen for entry in batch.skipped] == []
    labels = np.concatenate([batch.labels[batch.mask] for batch in seen])
    assert np.bincount(labels).tolist() == [10] * 37
    means = np.concatenate([batch.images[batch.mask].mean((1, 2, 3)) for batch in seen])
    assert 20 < means.min() < means.max() < 235
