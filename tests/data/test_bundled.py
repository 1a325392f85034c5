"""The two sets that need no download."""

import numpy as np
import pytest

from tljax.data import bundled
from tljax.data.sources import open_source
from tljax.data.splits import split
from tljax.errors import InputError


def test_digits():
    source = open_source("digits")
    assert source.classes == tuple("0123456789")
    assert (len(source.files), source.files[7]) == (1797, "digits/0007")
    assert source.labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    image = source.read(0)
    assert (image.shape, image.dtype, image.min(), image.max()) == ((8, 8, 3), np.uint8, 0, 239)
    assert image[0, 3].tolist() == [207] * 3  # 13 of 16
    assert source.splits == {}


@pytest.fixture(scope="module")
def textures():
    return open_source("textures")


def test_textures(textures):
    assert len(textures.classes) == 14
    train, test = textures.splits["train"], textures.splits["test"]
    assert np.bincount(textures.labels[train]).tolist() == [30] * 14
    assert np.bincount(textures.labels[test]).tolist() == [15] * 14
    assert sorted([*train, *test]) == list(range(len(textures.files)))
    assert all("/train/" in textures.files[i] for i in train)
    crops = [textures.read(i) for i in range(len(textures.files))]
    assert {(crop.shape, crop.dtype.name) for crop in crops} == {((96, 96, 3), "uint8")}
    assert min(crop.std() for crop in crops) > 1
    assert set(split(textures)) == {"train", "val"}


def test_textures_are_the_same_every_time(textures):
    again = bundled.textures()
    assert all(np.array_equal(again.read(i), textures.read(i)) for i in range(len(textures.files)))


def test_train_and_test_crops_share_no_pixel(monkeypatch):
    """On photographs whose pixels tell their column, what train may crop lies left of what test may crop."""
    columns = np.broadcast_to((np.arange(512) // 2)[None, :, None], (300, 512, 3)).astype(np.uint8)
    monkeypatch.setattr(bundled, "_photograph", lambda file: columns)
    monkeypatch.setattr(bundled, "_crop", lambda region, rng: region)
    source = bundled.textures()
    train, test = ([source.read(i) for i in source.splits[part]] for part in ("train", "test"))
    assert max(region.max() for region in train) < min(region.min() for region in test)


def test_missing_photographs_are_named(monkeypatch):
    monkeypatch.setattr(bundled, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"scikit-image's photograph brick\.png"):
        open_source("textures")
