"""Cats vs Dogs as its zip archive unpacks, with the files that are broken in it."""

import io

import pytest
from PIL import Image

from tests.photos import make_photos, photo
from tljax.data.loader import batches
from tljax.data.sources import open_source
from tljax.errors import InputError
from tljax.models.spec import get_spec


@pytest.fixture
def unpacked(tmp_path):
    """The two text files beside PetImages; an empty photo, a truncated one, a BMP and a GIF called .jpg, Thumbs.db."""
    (tmp_path / "readme[1].txt").write_text("Kaggle")
    (tmp_path / "MSR-LA - 3467.docx").write_bytes(b"PK\x03\x04")
    pets = make_photos(tmp_path / "PetImages", {"Cat": 3, "Dog": 3})
    encoded = io.BytesIO()
    Image.fromarray(photo("Dog", 9)).save(encoded, "JPEG")
    (pets / "Cat" / "666.jpg").write_bytes(b"")
    (pets / "Dog" / "11702.jpg").write_bytes(encoded.getvalue()[:700])
    Image.fromarray(photo("Cat", 7)).save(pets / "Cat" / "10404.jpg", "BMP")
    Image.fromarray(photo("Dog", 7)).save(pets / "Dog" / "4367.jpg", "GIF")
    for name in ("Cat", "Dog"):
        (pets / name / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" * 100)
    return tmp_path


def test_the_folder_is_used_as_it_is(unpacked):
    source = open_source(unpacked / "PetImages")
    assert source.classes == ("Cat", "Dog")
    assert source.labels.tolist() == [0] * 5 + [1] * 5
    spec = get_spec("efficientnet_lite0")
    found = list(batches(source, range(len(source.files)), spec, batch_size=4))
    assert sum(int(batch.mask.sum()) for batch in found) == 8
    skipped = {skip.file.rsplit("/", 1)[-1]: skip.reason for batch in found for skip in batch.skipped}
    assert skipped == {"666.jpg": "empty file", "11702.jpg": "truncated JPEG"}


def test_the_folder_above_it_names_the_right_one(unpacked):
    with pytest.raises(InputError, match=r'single class, "PetImages": did you mean ".*PetImages"\?'):
        open_source(unpacked)
