"""Poor photos, each made on purpose, and photographs that are none."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

import tljax
from tests.transfer.trust.test_copies import scene
from tljax.transfer.trust.poor_photos import find_poor_photos


@pytest.fixture(scope="module")
def sharp():
    random = np.random.default_rng(0)
    base = np.asarray(scene(1, (200, 240)), np.int32) + random.integers(-40, 41, (200, 240, 3))
    return Image.fromarray(np.uint8(np.clip(base, 0, 255)))


def kinds(*pictures):
    return [(one.index, one.kind) for one in find_poor_photos(list(pictures))]


def test_a_good_photo_is_not_named(sharp):
    assert kinds(sharp) == []


def test_each_fault_is_named(sharp):
    dark, bright = ImageEnhance.Brightness(sharp).enhance(0.1), Image.fromarray(np.asarray(sharp) // 8 + np.uint8(224))
    faults = {
        "dark": dark,
        "bright": bright,
        "blurred": sharp.filter(ImageFilter.GaussianBlur(5)),
        "uniform": Image.new("RGB", (200, 200), (120, 120, 120)),
        "odd_shape": sharp.resize((640, 200)).crop((0, 0, 640, 200)),
        "tiny": sharp.resize((40, 40)),
    }
    for kind, picture in faults.items():
        assert (3, kind) in kinds(sharp, sharp, sharp, picture), kind
        assert all(one.score >= 1 for one in find_poor_photos([sharp, sharp, sharp, picture]))


def test_where_all_are_tiny_none_is(sharp):
    assert kinds(*[sharp.resize((20, 20))] * 3) == []


def test_files_that_cannot_be_read_are_named_and_others_are_no_photos(tmp_path, sharp):
    sharp.save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(b"nothing")
    (tmp_path / "notes.txt").write_text("hello")
    (found,) = tljax.transfer.find_poor_photos(tmp_path)
    assert (found.index, found.kind) == (1, "unreadable")
    assert "not a picture" in found.detail
