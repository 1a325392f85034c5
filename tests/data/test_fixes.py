"""Decisions about photos: followed to the letter, or refused with the line that cannot be."""

import numpy as np
import pytest

from tests.photos import make_photos
from tljax.data.sources import open_source
from tljax.data.splits import split
from tljax.errors import InputError

HEAD = "file,action,label,group\n"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return make_photos(tmp_path_factory.mktemp("data") / "photos", {"cat": 10, "dog": 10}, size=16, suffix=".png")


@pytest.fixture
def fixed(photos, tmp_path):
    def opened(rows, head=HEAD):
        (tmp_path / "fixes.csv").write_text(head + rows)
        return open_source(photos, fixes=tmp_path / "fixes.csv")

    return opened


def test_photos_are_dropped_and_relabelled(fixed, photos):
    source = fixed(f"cat/cat_003.png,drop,,\n{photos}/dog/dog_000.png,relabel,CAT,\n")
    before = open_source(photos)
    changed = np.flatnonzero(source.labels != before.labels)
    assert {source.keys[i]: int(source.labels[i]) for i in changed} == {"cat/cat_003.png": -1, "dog/dog_000.png": 0}
    assert "photos dropped: 1, relabelled: 1" in source.notes[-1]
    assert source.groups is None
    assert 3 not in np.concatenate([*split(source).values()])


def test_a_place_that_moved_does_not_matter(fixed):
    assert (fixed("/elsewhere/photos/cat/cat_003.png,drop,,\n").labels < 0).sum() == 1
    assert (fixed("C:\\photos\\cat\\cat_003.png,drop,,\n").labels < 0).sum() == 1


@pytest.mark.parametrize("seed", range(6))
def test_copies_stay_on_one_side_of_each_split(fixed, seed):
    names = [f"{kind}/{kind}_00{i}.png,together,,{i // 3}\n" for kind in ("cat", "dog") for i in range(9)]
    source = fixed("".join(names))
    assert "18 in groups: 3" in source.notes[-1]
    parts = split(source, val_fraction=0.4, seed=seed)
    sides = [{*source.groups[where].tolist()} - {-1} for where in parts.values()]
    assert sides[0] & sides[1] == set()
    assert sorted(np.concatenate([*parts.values()])) == list(range(20))
    assert source.subset([0, 19]).groups.tolist() == [0, -1]


def test_of_a_given_split_what_is_measured_stays(tmp_path):
    for part, count in (("train", 6), ("val", 2)):
        make_photos(tmp_path / "data" / part, {"cat": count, "dog": count}, size=16, suffix=".png")
    (tmp_path / "f.csv").write_text(HEAD + "train/cat/cat_001.png,together,,a\nval/cat/cat_000.png,together,,a\n")
    whole, source = (open_source(tmp_path / "data", fixes=fixes) for fixes in (None, tmp_path / "f.csv"))
    assert np.array_equal(split(source)["val"], split(whole)["val"])
    (lost,) = np.setdiff1d(split(whole)["train"], split(source)["train"])
    assert source.keys[lost] == "train/cat/cat_001.png"


@pytest.mark.parametrize(
    ("rows", "head", "said"),
    [
        ("cat/none.png,drop,,\n", HEAD, 'line 2: no photo "cat/none.png" in the data'),
        ("cat/cat_000.png,burn,,\n", HEAD, 'line 2: action "burn": expected drop, relabel or together'),
        ("cat/cat_000.png,relabel,cta,\n", HEAD, 'line 2: no class named "cta": did you mean "cat"'),
        ("cat/cat_000.png,drop,,\ncat/cat_000.png,relabel,dog,\n", HEAD, "line 3: .* is decided twice"),
        ("cat/cat_000.png,copy\n", "file,kind\n", 'has no column "action"'),
    ],
)
def test_bad_decisions(fixed, rows, head, said):
    with pytest.raises(InputError, match=said):
        fixed(rows, head)


def test_a_table_that_is_not_there(photos):
    with pytest.raises(InputError, match=r'cannot read the table "none.csv"'):
        open_source(photos, fixes="none.csv")
