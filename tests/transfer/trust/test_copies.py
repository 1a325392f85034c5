"""Copies: each way of making one is found, nothing else is, and groups are whole."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

import tljax
from experiments.fuzz.photos import photo
from tljax.transfer.trust.alignment import detail_correlation
from tljax.transfer.trust.copies import Copies, find_duplicates


def jpeg(picture, quality=90):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def scene(seed, size=(160, 200)):
    """A picture with structure at all scales, as photographs have it."""
    random = np.random.default_rng(seed)
    pixels = sum(
        np.asarray(Image.fromarray(random.uniform(0, 1, (n, n, 3)).astype(np.float32)[..., c]).resize(size[::-1]))[
            ..., None
        ]
        * np.eye(3)[c]
        * n**-0.6
        for n in (3, 6, 12, 24, 48)
        for c in range(3)
    )
    return Image.fromarray(np.uint8(255 * (pixels - pixels.min()) / np.ptp(pixels)))


def cropped(picture, share):
    width, height = picture.size
    box = (round(share * width), 0, width, height - round(share * height))
    return picture.crop(box)


WAYS = {
    "recompressed": lambda picture: jpeg(picture, 30),
    "resized": lambda picture: jpeg(picture.resize((picture.width // 2, picture.height // 2))),
    "mirrored": lambda picture: jpeg(ImageOps.mirror(picture)),
    "cropped": lambda picture: jpeg(cropped(picture, 0.05)),
    "brighter": lambda picture: jpeg(ImageEnhance.Brightness(picture).enhance(1.2)),
    "grey": lambda picture: jpeg(picture.convert("L")),
}


@pytest.fixture(scope="module")
def scenes():
    return [scene(seed) for seed in range(12)]


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_is_found_however_it_was_made(scenes, way):
    made = [WAYS[way](picture) for picture in scenes[:6]]
    found = find_duplicates([jpeg(picture) for picture in scenes] + made)
    assert [group.index for group in found] == [(i, 12 + i) for i in range(6)]
    assert all(0.7 <= min(group.similarity) <= max(group.similarity) < 1 for group in found)


def test_all_copies_of_a_picture_are_one_group_and_the_largest_comes_first(scenes):
    small, *others = (way(scenes[0]) for way in WAYS.values())
    double = jpeg(scenes[0].resize((400, 320)))
    files = [jpeg(scenes[1]), small, *others, double, jpeg(scenes[2])]
    (group,) = find_duplicates(files)
    assert group.index[0] == len(files) - 2
    assert sorted(group.index) == list(range(1, len(files) - 1))


def test_equal_files_are_copies_even_where_there_is_nothing_to_compare():
    plain = np.full((80, 80, 3), 9, np.uint8)
    tiny = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    found = find_duplicates([plain, tiny, plain + np.uint8(1), tiny, plain])
    assert found == [Copies((0, 4), (1.0, 1.0)), Copies((1, 3), (1.0, 1.0))]


def test_pictures_of_one_make_are_no_copies(scenes):
    assert find_duplicates([photo("red", number, 96) for number in range(20)]) == []
    assert find_duplicates(scenes) == []
    assert find_duplicates(scenes[:1]) == []


def test_what_cannot_be_read_is_in_no_group(tmp_path, scenes):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"no picture")
        (tmp_path / f"c{name}").write_bytes(jpeg(scenes[0]))
    assert [group.index for group in tljax.transfer.find_duplicates(tmp_path)] == [(2, 3)]


def test_pictures_are_compared_where_they_overlap():
    random = np.random.default_rng(1)
    whole = np.asarray(scene(3, (80, 80)).convert("L"))
    left, right = whole[:64, :64][None], whole[5:69, 3:67][None]
    assert float(detail_correlation(left, left)[0]) == pytest.approx(1, abs=1e-4)
    assert float(detail_correlation(left, right)[0]) > 0.95
    noise = random.integers(0, 256, (1, 64, 64)).astype(np.uint8)
    assert abs(float(detail_correlation(left, noise)[0])) < 0.2
