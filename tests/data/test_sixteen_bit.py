"""The white of 16-bit photos is that of their data set."""

import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from tests.photos import make_photos, photo
from tljax.data.loader import batches
from tljax.data.sources import open_source
from tljax.errors import InputError
from tljax.models.spec import get_spec


def write(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(samples.astype(np.uint16)).save(path)


def seen(source):
    (batch,) = batches(source, range(len(source.files)), get_spec("resnet18"), batch_size=len(source.files))
    return batch.images


@given(
    st.lists(st.integers(1, 65_535), min_size=2, max_size=5),
    st.sampled_from([".png", ".tif", ".pgm"]),
    st.integers(0, 2),
)
@example([4000, 30], ".png", 0)
@example([255, 255], ".tif", 1)
@example([256, 1], ".png", 0)
def test_the_brightest_of_all_decides(tops, suffix, others):
    with TemporaryDirectory() as root:
        for i, top in enumerate(tops):
            write(Path(root) / f"class {i}" / f"x{suffix}", np.array([[0, top]]))
        make_photos(Path(root), {"eight": others, "also eight": others}, size=8, suffix=".png") if others else None
        source = open_source(root)
    bits = next(bits for bits in (8, 10, 12, 14, 16) if max(tops) < 2**bits)
    assert source.white == 2**bits - 1
    assert any(f"{max(tops):,}" in note for note in source.notes) == (bits < 16)


def test_a_narrow_range_is_seen_as_the_same_photo_in_eight_bits(tmp_path):
    for i in range(4):
        image = photo("red", i)[..., 0].astype(np.uint32)
        dark = image // 8 if i == 3 else image
        write(tmp_path / "twelve" / f"c{i % 2}" / f"{i}.png", (dark * 4095 + 127) // 255)
        (tmp_path / "eight" / f"c{i % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(dark.astype(np.uint8)).save(tmp_path / "eight" / f"c{i % 2}" / f"{i}.png")
    twelve, eight = (seen(open_source(tmp_path / name)) for name in ("twelve", "eight"))
    assert np.abs(twelve.astype(int) - eight).max() <= 1


def test_no_photo_of_sixteen_bits_is_no_news(tmp_path):
    source = open_source(make_photos(tmp_path, {"a": 2, "b": 2}, suffix=".png"))
    assert (source.white, source.notes) == (None, ())


@pytest.mark.parametrize("broken", [b"", b"\x89PNG\r\n\x1a\n" + bytes(16) + b"\x10\0", b"II*\0"])
def test_broken_files_do_not_matter(tmp_path, broken):
    make_photos(tmp_path, {"a": 2, "b": 2})
    for suffix in ("png", "tif"):
        (tmp_path / "a" / f"x.{suffix}").write_bytes(broken)
    assert open_source(tmp_path).white is None


def deep_png(samples):
    """A PNG of 16-bit RGB samples (h, w, 3), which Pillow does not write."""

    def chunk(kind, body):
        return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)

    height, width = samples.shape[:2]
    rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    body = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes())
    header = width.to_bytes(4) + height.to_bytes(4) + bytes([16, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("top", "fine"), [(4095, False), (16_383, False), (40_000, True), (65_535, True)])
def test_colours_of_sixteen_bits_that_are_nearly_black_are_refused(tmp_path, top, fine):
    make_photos(tmp_path, {"a": 1, "b": 1})
    for i in (1, 2):
        (tmp_path / "a" / f"deep {i}.png").write_bytes(deep_png(np.linspace(300, top // i, 48).reshape(4, 4, 3)))
    if fine:
        assert open_source(tmp_path).white is None
        return
    with pytest.raises(InputError, match=r"deep 1\.png.* nearly black: save them with 8 bits"):
        open_source(tmp_path)
