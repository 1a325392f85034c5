"""Folders as people have them, tables of labels, and the one line that says what is wrong with the rest."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.photos import make_photos, photo
from tljax.data.sources import image_source, open_source, photo_source
from tljax.errors import InputError


def names(source, indices=None):
    chosen = range(len(source.files)) if indices is None else indices
    return [Path(source.files[i]).name for i in chosen]


def test_class_folders(tmp_path):
    make_photos(tmp_path, {"red": 2, "Blue": 1, "class10": 1, "class9": 1})
    source = open_source(tmp_path)
    assert source.classes == ("Blue", "class9", "class10", "red")
    assert source.labels.tolist() == [0, 1, 2, 3, 3]
    assert source.labels.dtype == np.int32
    assert source.splits == {}
    assert names(source)[-2:] == ["red_000.jpg", "red_001.jpg"]
    assert os.path.isabs(source.files[0])
    assert source.keys[0] == "Blue/Blue_000.jpg"
    assert source.read(4) == (tmp_path / "red" / "red_001.jpg").read_bytes()


def test_hidden_files_and_system_litter_are_no_photos_but_everything_else_is_looked_at(tmp_path):
    make_photos(tmp_path, {"a": 1, "b": 1, ".cache": 1, "__MACOSX": 1})
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt"):
        (tmp_path / "a" / name).write_text("x")
    (tmp_path / "loose.jpg").write_text("x")
    make_photos(tmp_path / "a", {"deeper": 1, ".hidden": 1})
    source = open_source(tmp_path)
    assert source.classes == ("a", "b")
    assert source.keys == ("a/a_000.jpg", "a/deeper/deeper_000.jpg", "a/notes.txt", "b/b_000.jpg")


def test_links_are_followed_and_loops_are_not(tmp_path):
    make_photos(tmp_path / "elsewhere", {"blue": 2})
    make_photos(tmp_path / "data", {"red": 2})
    (tmp_path / "data" / "blue").symlink_to(tmp_path / "elsewhere" / "blue")
    (tmp_path / "data" / "red" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "red" / "self").symlink_to(tmp_path / "data" / "red")
    (tmp_path / "data" / "red" / "broken.jpg").symlink_to(tmp_path / "gone.jpg")
    source = open_source(tmp_path / "data")
    assert names(source) == ["blue_000.jpg", "blue_001.jpg", "broken.jpg", "red_000.jpg", "red_001.jpg"]


def test_a_pipe_or_a_device_among_the_photos_is_not_read(tmp_path):
    folder = make_photos(tmp_path, {"red": 1}) / "red"
    os.mkfifo(tmp_path / "pipe")
    (folder / "pipe.jpg").symlink_to(tmp_path / "pipe")
    (folder / "zero.jpg").symlink_to("/dev/zero")
    source = image_source([folder])
    assert names(source) == ["pipe.jpg", "red_000.jpg", "zero.jpg"]
    assert source.read(1)
    for i in (0, 2):
        with pytest.raises(OSError, match="no regular file"):
            source.read(i)


@pytest.mark.parametrize("name", ['with "quotes" and spaces', "line\nbreak", "ünï ¢ødé", "ends with dot."])
def test_odd_names(tmp_path, name):
    make_photos(tmp_path, {name: 1, "plain": 1})
    source = open_source(tmp_path)
    assert name in source.classes
    assert all(source.read(i) for i in range(2))


def test_names_that_are_no_utf8_are_read_and_can_be_printed(tmp_path):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    try:
        os.mkdir(folder)
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    Image.fromarray(photo("red", 0)).save(tmp_path / "one.png")
    os.rename(tmp_path / "one.png", folder + b"/\xff.png")
    make_photos(tmp_path, {"blue": 1})
    source = open_source(tmp_path)
    assert source.classes == ("blue", "caf\\xe9")
    assert source.files[1].endswith("caf\\xe9/\\xff.png")
    assert source.files[1].encode("utf-8")
    assert source.read(1).startswith(b"\x89PNG")


@pytest.mark.parametrize(("val", "test"), [("val", "test"), ("valid", "Test"), ("validation", "testing")])
def test_given_splits(tmp_path, val, test):
    for part, count in (("train", 3), (val, 2), (test, 1)):
        make_photos(tmp_path / part, {"cat": count, "dog": count})
    source = open_source(tmp_path)
    assert source.classes == ("cat", "dog")
    assert {name: len(where) for name, where in source.splits.items()} == {"train": 6, "val": 4, "test": 2}
    assert all(f"/{val}/" in source.files[i] for i in source.splits["val"])
    assert source.labels[source.splits["test"]].tolist() == [0, 1]


def test_given_splits_agree_on_classes_without_case(tmp_path):
    make_photos(tmp_path / "train", {"Cat": 2, "Dog": 2})
    make_photos(tmp_path / "val", {"cat": 1})
    source = open_source(tmp_path)
    assert source.classes == ("Cat", "Dog")
    assert source.labels[source.splits["val"]].tolist() == [0]
    make_photos(tmp_path / "val", {"horse": 1})
    with pytest.raises(InputError, match='"horse" is in val but not in train'):
        open_source(tmp_path)


def test_a_class_may_be_called_train(tmp_path):
    make_photos(tmp_path, {"train": 1, "bus": 1, "car": 1})
    assert open_source(tmp_path).classes == ("bus", "car", "train")


def test_table_of_labels(tmp_path):
    make_photos(tmp_path, {"photos": 4})
    table = tmp_path / "table.csv"
    table.write_text(
        "\ufeffindex,File,Class,split\n1,photos/photos_000.jpg,Tabby cat,train\n2,photos/photos_001.jpg,beagle,train\n"
        '3,"photos/photos_002.jpg",beagle,test\n\n4,photos/gone.jpg,beagle,train\n',
        encoding="utf-8",
    )
    source = open_source(tmp_path, labels_csv=table)
    assert source.classes == ("beagle", "Tabby cat")
    assert source.labels.tolist() == [1, 0, 0, 0]
    assert {name: where.tolist() for name, where in source.splits.items()} == {"train": [0, 1, 3], "test": [2]}
    assert source.read(0) == (tmp_path / "photos" / "photos_000.jpg").read_bytes()
    with pytest.raises(FileNotFoundError):
        source.read(3)


def test_table_with_semicolons_and_found_inside_the_folder(tmp_path):
    make_photos(tmp_path, {"x": 2})
    (tmp_path / "labels.csv").write_text("filename;label\nx/x_000.jpg;a\nx/x_001.jpg;b\n")
    assert open_source(tmp_path, labels_csv="labels.csv").classes == ("a", "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'file,label\n"{"a" * 200_000}",b\n', "no table of comma-separated values: field larger"),
        ("", "lists no file"),
        ("file,label\n", "lists no file"),
        ("foto,soort,x\na,b,c\n", "it has: foto, soort, x"),
        ("file,label\nx/x_000.jpg,\n", "line 2: a file and its label"),
        ("file,label\nx/x_000.jpg,a\nx/x_000.jpg,b\n", "line 3: .* another label"),
        ("file,label,split\nx/x_000.jpg,a,train\nx/x_001.jpg,a,maybe\n", 'split "maybe" is not train, val or test'),
        ("file,label\nnowhere.jpg,a\n", "none of the 1 files"),
        ("file,label\nx/x_000.jpg,a\nx/x_001.jpg,a\n", 'a single class, "a"'),
    ],
)
def test_bad_tables(tmp_path, text, message):
    make_photos(tmp_path, {"x": 2})
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        open_source(tmp_path, labels_csv="t.csv")
    assert "\n" not in str(caught.value)


def test_what_is_no_data_folder_is_named_in_one_line(tmp_path):
    (tmp_path / "file.zip").write_text("x")
    (tmp_path / "empty").mkdir()
    make_photos(tmp_path / "flat", {".": 2})
    make_photos(tmp_path / "hole", {"cat": 1})
    (tmp_path / "hole" / "dog").mkdir()
    make_photos(tmp_path / "one", {"cat": 2})
    make_photos(tmp_path / "wrapped" / "PetImages", {"cat": 2, "dog": 2})
    cases = {
        "missing": 'no folder "',
        "file.zip": "is a file: expected a folder",
        "empty": "no class folders in .* or --labels",
        "flat": "no class folders in",
        "hole": "no photos in the class folder .*dog",
        "one": 'a single class, "cat": at least 2',
        "wrapped": "did you mean .*PetImages",
    }
    for name, message in cases.items():
        with pytest.raises(InputError, match=message) as caught:
            open_source(tmp_path / name)
        assert "\n" not in str(caught.value), name
    with pytest.raises(InputError, match="no table of labels"):
        open_source(tmp_path / "one", labels_csv="gone.csv")


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r'cannot list the folder ".*": Permission denied$'):
        open_source(tmp_path)


def test_one_class_is_enough_where_one_is_asked_for(tmp_path):
    make_photos(tmp_path, {"cat": 2})
    assert open_source(tmp_path, min_classes=1).classes == ("cat",)


def test_loose_pictures(tmp_path, monkeypatch):
    make_photos(tmp_path, {"b": 2, "a": 1})
    monkeypatch.chdir(tmp_path)
    source = image_source(["b/b_001.jpg", Path(".")])
    assert source.files == ("b/b_001.jpg", "./a/a_000.jpg", "./b/b_000.jpg", "./b/b_001.jpg")
    assert source.labels.tolist() == [-1] * 4
    assert source.classes == ()


def test_loose_pictures_that_are_not_there(tmp_path):
    (tmp_path / "empty").mkdir()
    for paths, message in [
        (["gone.jpg"], "no file or folder"),
        ([tmp_path / "empty"], "no files in"),
        ([], "no picture"),
    ]:
        with pytest.raises(InputError, match=message):
            image_source(paths)


@pytest.mark.skipif("TLJAX_TYPECHECK" in os.environ, reason="the annotations refuse it before we can")
@pytest.mark.parametrize(
    ("array", "advice"),
    [
        (np.zeros((2, 8, 8, 3), np.float32), r"astype\(np.uint8\)"),
        (np.zeros((2, 8, 8, 3), np.int64), "within these"),
        (np.zeros((2, 3, 8, 8), np.uint8), r"\.transpose\(1, 2, 0\)"),
        (np.zeros((2, 8, 8), np.uint8), 'convert\\("RGB"\\)'),
        (np.zeros((2, 8, 8, 4), np.uint8), 'convert\\("RGB"\\)'),
    ],
)
def test_an_array_that_is_no_photo_is_refused_with_the_way_out(array, advice):
    with pytest.raises(InputError, match=advice):
        photo_source(list(array))
