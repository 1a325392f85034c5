"""What is said of a data set before any work."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.photos import make_photos
from tljax.data.source import Source
from tljax.data.sources import open_source
from tljax.data.splits import photos_by_name, split
from tljax.data.summary import class_counts, long_photos
from tljax.errors import InputError
from tljax.models.spec import get_spec

SPEC = get_spec("resnet18")


@given(st.lists(st.integers(2, 9), min_size=2, max_size=15))
def test_the_first_dozen_classes_are_counted(counts):
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    keys = tuple(map(str, range(len(labels))))
    source = Source("toy", tuple(f"c{i}" for i in range(len(counts))), keys, labels, lambda i: b"", {}, keys)
    line = class_counts(source, split(source))
    assert line.startswith(f"{len(counts)} classes (train + val): c0 ")
    assert line.endswith(f"and {len(counts) - 12} more") == (len(counts) > 12)
    assert ("c12 " in line, "c11 " in line) == (False, len(counts) >= 12)
    assert class_counts(source, split(source, val_fraction=0)).split(": ")[1].startswith(f"c0 {counts[0]}")


def test_files_that_by_their_names_are_no_photos_are_not_counted(tmp_path):
    data = make_photos(tmp_path / "data", {"red": 5, "blue": 5})
    (data / "red" / "notes.txt").write_text("no photo")
    source = open_source(data)
    assert len(source.files) == 11
    shares = {name: photos_by_name(source, share) for name, share in split(source, val_fraction=0).items()}
    assert class_counts(source, shares).endswith("blue 5, red 5")
    assert open_source(make_photos(tmp_path / "green", {"a": 6, "b": 6}), min_photos=6).notes == ()
    (tmp_path / "green" / "a" / "a_000.jpg").rename(tmp_path / "green" / "a" / "a.json")
    with pytest.raises(InputError, match="single class"):
        open_source(tmp_path / "green", min_photos=6)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".ppm", ".tif"])
def test_long_photos_are_hinted_at(tmp_path, suffix):
    make_photos(tmp_path / "some", {"red": 3, "blue": 5}, size=(16, 24), suffix=suffix)
    make_photos(tmp_path / "some", {"green": 3}, size=(16, 48), suffix=suffix)
    source = open_source(tmp_path / "some")
    (tmp_path / "some" / "red" / f"red_000{suffix}").write_bytes(b"broken")
    assert "3 of 10 photos" in long_photos(source, SPEC)
    assert "--crop-mode" in long_photos(source, SPEC)
    assert long_photos(source, replace(SPEC, crop_mode="squash")) is None
    make_photos(tmp_path / "few", {"red": 9, "blue": 9}, size=(24, 16), suffix=suffix)
    assert long_photos(open_source(tmp_path / "few"), SPEC) is None


def test_arrays_have_sides_too():
    assert long_photos(open_source("digits"), SPEC) is None
