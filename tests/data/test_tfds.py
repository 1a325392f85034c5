"""TFDS as a source: a stand-in for the package notes the calls and answers as it does."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tljax.data.sources import open_source
from tljax.data.splits import split
from tljax.errors import InputError


class Data(list):
    dataset_info = SimpleNamespace(
        features={"image": None, "label": SimpleNamespace(names=["cat", "dog"]), "file_name": None}
    )


@pytest.fixture
def stand_in(monkeypatch):
    """Records the arguments of `data_source`; its pictures are the bytes "train 0", "train 1", ..."""
    asked = {}

    def data_source(name, **options):
        asked.update(options, name=name)
        if name == "absent":
            raise AssertionError("Dataset absent:\nnot prepared")
        parts = {
            part: Data({"image": f"{part} {i}".encode(), "label": np.int64(i % 2)} for i in range(count))
            for part, count in (("train", 6), ("test", 4))
        }
        return parts["train"] if options["split"] else parts

    module = SimpleNamespace(data_source=data_source, decode=SimpleNamespace(SkipDecoding=lambda: "skip"))
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    monkeypatch.setenv("TFDS_DATA_DIR", "/somewhere")
    return asked


def test_all_splits_become_one_source(stand_in):
    source = open_source("tfds:pets")
    assert stand_in == {
        "name": "pets",
        "split": None,
        "data_dir": "/somewhere",
        "download": False,
        "decoders": {"image": "skip"},
    }
    assert source.classes == ("cat", "dog")
    assert source.labels.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
    assert (source.files[7], source.read(7)) == ("tfds:pets/test/000001", b"test 1")
    assert {name: where.tolist() for name, where in split(source).items()} == {
        "train": [0, 1, 2, 3, 4, 5],
        "val": [6, 7, 8, 9],
    }


@pytest.mark.parametrize(
    ("name", "builder", "part"),
    [
        ("tfds:pets:train[:80%]", "pets", "train[:80%]"),
        ("tfds:pets:3.0.1", "pets:3.0.1", None),
        ("tfds:pets/small:3.0.*:train", "pets/small:3.0.*", "train"),
    ],
)
def test_versions_and_single_splits(stand_in, name, builder, part):
    source = open_source(name)
    assert (stand_in["name"], stand_in["split"]) == (builder, part)
    if part:
        assert (len(source.files), source.splits) == (6, {})


def test_classes_without_an_example_are_left_out(stand_in, monkeypatch):
    label = SimpleNamespace(names=["Abyssinian", "beagle", "Bengal"])
    monkeypatch.setattr(Data, "dataset_info", SimpleNamespace(features={"image": None, "label": label}))
    monkeypatch.setattr(Data, "__getitem__", lambda self, i: {"image": b"", "label": (2, 0, -1)[i % 3]})
    source = open_source("tfds:pets")
    assert source.classes == ("Abyssinian", "Bengal")
    assert source.labels.tolist() == [1, 0, -1, 1, 0, -1, 1, 0, -1, 1]


def test_what_is_not_prepared_says_how(stand_in):
    with pytest.raises(InputError, match="`tljax data prepare absent`") as caught:
        open_source("tfds:absent")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="names no data set"):
        open_source("tfds:")


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(InputError, match=r'pip install "tljax\[tfds\]"'):
        open_source("tfds:pets")


def test_other_features_are_refused(stand_in, monkeypatch):
    monkeypatch.setattr(Data, "dataset_info", SimpleNamespace(features={"text": None}))
    with pytest.raises(InputError, match="has the features text: expected image and label"):
        open_source("tfds:imdb")
