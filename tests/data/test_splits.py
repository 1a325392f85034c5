"""The draw depends on the seed and the names, and on nothing else."""

import shutil

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.photos import make_photos
from tljax.data.loader import digests
from tljax.data.source import Source
from tljax.data.sources import open_source
from tljax.data.splits import duplicates, split, without_small
from tljax.errors import InputError


def toy(counts, splits=None):
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    keys = tuple(f"{label}/{i}.jpg" for label, count in enumerate(counts) for i in range(count))
    classes = tuple(f"class {i}" for i in range(len(counts)))
    return Source("toy", classes, keys, labels, lambda i: b"", splits or {}, keys)


def drawn(source, **options):
    return {name: {source.keys[i] for i in where} for name, where in split(source, **options).items()}


def test_stratified_and_complete():
    source = toy([50, 10, 3, 2])
    parts = split(source, val_fraction=0.2)
    assert np.bincount(source.labels[parts["val"]]).tolist() == [10, 2, 1, 1]
    assert np.bincount(source.labels[parts["train"]]).tolist() == [40, 8, 2, 1]
    assert sorted([*parts["train"], *parts["val"]]) == list(range(65))


def test_every_class_keeps_a_training_photo_whatever_the_fraction():
    source = toy([2, 5])
    parts = split(source, val_fraction=0.99)
    assert np.bincount(source.labels[parts["train"]]).tolist() == [1, 1]


def test_seeds_differ_and_repeat():
    source = toy([40, 40])
    assert drawn(source, seed=1) == drawn(source, seed=1)
    assert drawn(source, seed=1) != drawn(source, seed=2)


def test_order_of_files_and_other_classes_play_no_part():
    source = toy([20, 30])
    order = np.random.default_rng(0).permutation(50)
    shuffled = Source(
        "toy",
        source.classes,
        tuple(source.files[i] for i in order),
        source.labels[order],
        source.read,
        {},
        tuple(source.keys[i] for i in order),
    )
    assert drawn(shuffled) == drawn(source)
    more = toy([20, 30, 5])
    assert {key for key in drawn(more)["val"] if key[0] != "2"} == drawn(source)["val"]


def test_the_place_of_the_data_plays_no_part(tmp_path):
    make_photos(tmp_path / "here", {"red": 12, "blue": 12}, size=8)
    shutil.copytree(tmp_path / "here", tmp_path / "over" / "there")
    here, there = open_source(tmp_path / "here"), open_source(tmp_path / "over" / "there")
    assert drawn(here) == drawn(there)
    assert here.files != there.files


def test_given_splits_win():
    given = {"train": np.array([0, 1, 4]), "val": np.array([2, 5]), "test": np.array([3])}
    parts = split(toy([4, 2], given))
    assert {name: where.tolist() for name, where in parts.items()} == {name: w.tolist() for name, w in given.items()}


def test_test_photos_validate_where_nothing_else_does():
    parts = split(toy([4, 2], {"train": np.array([0, 1, 4]), "test": np.array([2, 3, 5])}))
    assert {name: where.tolist() for name, where in parts.items()} == {"train": [0, 1, 4], "val": [2, 3, 5]}


def test_train_alone_is_drawn_from():
    parts = split(toy([6, 6], {"train": np.array([0, 1, 2, 6, 7, 8])}))
    assert sorted([*parts["train"], *parts["val"]]) == [0, 1, 2, 6, 7, 8]
    assert len(parts["val"]) == 2


def test_photos_to_skip_and_unlabelled_ones_are_in_no_part():
    source = toy([5, 5])
    source.labels[9] = -1
    parts = split(source, skip={0, 1})
    assert sorted([*parts["train"], *parts["val"]]) == [2, 3, 4, 5, 6, 7, 8]
    with pytest.raises(InputError, match='"class 0" has a single photo'):
        split(source, skip=range(4))
    with pytest.raises(InputError, match='"class 0" has no photo'):
        split(source, skip=range(5))


def test_a_class_with_one_photo_is_named():
    with pytest.raises(InputError, match='class "class 1" has a single photo: at least 2'):
        split(toy([5, 1, 5]))
    with pytest.raises(InputError, match=r'classes "class 1", "class 3" have a single photo: .* --min-photos 2'):
        split(toy([5, 1, 5, 1]))
    with pytest.raises(InputError, match=r'"class 11", and 8 more have'):
        split(toy([1] * 20))
    with pytest.raises(InputError, match='"class 1" has no photo in train'):
        split(toy([2, 2], {"train": np.array([0]), "val": np.array([1, 2])}))


@pytest.mark.parametrize("fraction", [1, -0.1, 1.5, float("nan")])
def test_fractions_out_of_range(fraction):
    with pytest.raises(InputError, match="val_fraction"):
        split(toy([5, 5]), val_fraction=fraction)


def test_duplicates_across_the_split(tmp_path):
    make_photos(tmp_path, {"red": 6, "blue": 6}, size=8)
    source = open_source(tmp_path)
    parts = split(source)
    train, val = int(parts["train"][0]), int(parts["val"][1])
    shutil.copy(source.files[train], source.files[val])
    shutil.copy(source.files[train], source.files[parts["train"][1]])
    hashes = dict(enumerate(digests(source, range(12))))
    assert duplicates(source, hashes, parts) == [(source.files[train], source.files[val])]
    assert duplicates(source, dict.fromkeys(range(12), ""), parts) == []


@given(st.lists(st.integers(1, 6), min_size=2, max_size=6), st.integers(1, 4))
@example([1, 1, 1, 5], 2)
def test_small_classes_are_left_out_and_named(counts, least):
    source = without_small(toy(counts), least)
    kept = [n for n in counts if n >= least]
    assert np.bincount(source.labels[source.labels >= 0], minlength=len(kept)).tolist() == kept
    assert source.classes == tuple(f"class {i}" for i, n in enumerate(counts) if n >= least)
    assert len(source.notes) == (len(kept) < len(counts))
    assert all(f'"class {i}" ({n})' in source.notes[0] for i, n in enumerate(counts) if n < least)
    with pytest.raises(InputError, match="--min-photos must be at least 1"):
        without_small(source, 0)


def test_small_classes_are_counted_in_train():
    source = without_small(toy([4, 4], {"train": np.array([0, 1, 4]), "val": np.array([2, 3, 5, 6, 7])}), 2)
    assert (source.classes, source.labels.tolist()) == (("class 0",), [0] * 4 + [-1] * 4)


@given(st.lists(st.integers(1, 5), min_size=2, max_size=5))
def test_without_validation_all_photos_train(counts):
    parts = split(toy(counts), val_fraction=0)
    assert {name: where.tolist() for name, where in parts.items()} == {"train": list(range(sum(counts)))}


def test_without_validation_a_given_split_still_counts():
    source = toy([4, 2], {"train": np.array([0, 1, 4]), "test": np.array([2, 3, 5])})
    assert split(source, val_fraction=0)["val"].tolist() == [2, 3, 5]


@given(st.lists(st.integers(2, 4), min_size=2, max_size=4), st.data())
@example([2, 2], None)
def test_the_reason_of_a_class_that_cannot_be_read_is_told(counts, data):
    source = toy(counts)
    lost = (
        list(range(len(counts))) if data is None else data.draw(st.lists(st.integers(0, len(counts) - 1), min_size=1))
    )
    skip = {int(i): f"damaged by {source.labels[i]}" for i in np.flatnonzero(np.isin(source.labels, lost))}
    with pytest.raises(InputError) as caught:
        split(source, skip=skip)
    for label in set(lost):
        assert f'"class {label}"' in str(caught.value)
        assert f'"{label}/0.jpg": damaged by {label}' in str(caught.value)
