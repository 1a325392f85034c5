"""Tables of labels as people have them: headers, encodings, separators, and names that nearly fit."""

import csv
import io
import re
import string
import unicodedata
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tljax.data.sources import open_source
from tljax.data.tables import FILE_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS
from tljax.errors import InputError

FILES = ["img/a.jpg", "img/b.jpg", "img/c.JPG", "d.png"]
CLASSES = ["cat", "dog", "cat", "château"]


def opened(table, files=FILES, **options):
    """The source of a table (text or bytes) in a folder of files whose content is not looked at."""
    with TemporaryDirectory() as root:
        for file in files:
            path = Path(root) / "data" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        (Path(root) / "labels.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
        return open_source(Path(root) / "data", labels_csv=Path(root) / "labels.csv", **options)


def refused(table, **options):
    with pytest.raises(InputError) as caught:
        opened(table, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def written(rows, delimiter=","):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue()


def labels(source):
    return {key: source.classes[label] for key, label in zip(source.keys, source.labels, strict=True)}


EXPECTED = dict(zip(FILES, CLASSES, strict=True))


def camel(name):
    first, *words = name.split("_")
    return first + "".join(map(str.title, words))


def plain(text):
    return re.sub(r"[\W_]+", "", text).lower()


@given(
    file=st.sampled_from(FILE_COLUMNS),
    label=st.sampled_from(LABEL_COLUMNS),
    case=st.sampled_from(
        [
            *(str, str.title, str.upper, lambda name: name.replace("_", " "), lambda name: f" {name}"),
            *(camel, lambda name: name.replace("_", "."), lambda name: f"{name}:"),
        ]
    ),
    delimiter=st.sampled_from(",;\t|"),
    swapped=st.booleans(),
    extra=st.booleans(),
)
@example("id", "breed", str, ",", False, False)
@example("image_id", "label", str, ",", False, True)
@example("fname", "label", str, ",", False, False)
@example("filepaths", "labels", str, ",", False, True)
@example("name", "label", str, ",", False, False)
@example("file", "name", str, ",", True, False)
@example("image_path", "class_name", camel, ",", True, True)
def test_usual_headers(file, label, case, delimiter, swapped, extra):
    assume(file != label)
    rows = [(case(file), case(label)), *zip(FILES, CLASSES, strict=True)]
    rows = [(*row, "no. 3") if i else (*row, "width") for i, row in enumerate(rows)] if extra else rows
    source = opened(written([row[::-1] if swapped else row for row in rows], delimiter))
    assert labels(source) == EXPECTED
    assert any(plain(file) in plain(note) for note in source.notes)
    assert extra == any('not used "' in note for note in source.notes)


@given(
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.text("aéÜß €", min_size=1).map(str.strip).filter(bool), min_size=4, max_size=4),
)
@example("cp1252", "\n", ["château", "b", "c", "d"])
@example("utf-16", "\r\n", ["château", "b", "c", "d"])
def test_encodings(encoding, ending, names):
    assume(len({*names}) > 1)
    text = ending.join(["file,label", *(f"{file},{name}" for file, name in zip(FILES, names, strict=True))])
    source = opened(text.encode(encoding))
    assert list(labels(source).values()) == names
    guessed = any("cp1252" in note for note in source.notes)
    assert guessed == (encoding == "cp1252" and not "".join(names).isascii())


@given(
    st.sampled_from(["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]),
    st.text("猫犬가Яж", min_size=1),
    st.text("猫犬가Яж", min_size=1),
)
@example("utf-16-le", "文件", "标签")
@example("utf-16-be", "文件", "标签")
def test_encodings_of_other_scripts(encoding, file, label):
    rows = [(f"{file}1", f"{label}2"), *zip(FILES, "abab", strict=True)]
    assert list(labels(opened(written(rows).encode(encoding))).values()) == list("abab")


def test_what_is_in_no_known_encoding_is_refused_by_name():
    assert "neither UTF-8 nor cp1252" in refused(b"file,label\nd.png,ch\x81teau\nimg/a.jpg,b\n")
    assert "neither UTF-8 nor utf-16" in refused(b"\xff\xfe" + "file,label\n".encode("utf-16-le") + b"\x00\xd8")


@given(
    delimiter=st.sampled_from(",;\t|"),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    said=st.sampled_from(["", "sep={}"]),
    above=st.lists(st.sampled_from(["", "# by me", "# file list, by me", "My photos", "Pets; 2024"]), max_size=2),
    spaced=st.booleans(),
    header=st.sampled_from([("file", "label"), ("file", "label, remarks; kind"), ("foto", "soort"), None]),
    after=st.integers(0, 2),
)
@example(",", "\r\n", "utf-8", "sep={}", [], False, ("file", "label"), 0)
@example(";", "\r\n", "utf-16", "sep={}", [], False, ("file", "label"), 0)
@example(";", "\n", "utf-8", "", [], False, ("file", "label, remarks; kind"), 0)
@example(",", "\n", "utf-8", "", [], True, ("file", "label"), 0)
@example(",", "\n", "utf-8", "", ["My photos"], False, ("file", "label"), 2)
@example(",", "\n", "utf-8", "", ["# by me"], False, ("file", "label"), 0)
@example(",", "\n", "utf-8", "", [], False, None, 2)
def test_separators_titles_remarks_and_empty_columns(delimiter, ending, encoding, said, above, spaced, header, after):
    assume(not any(delimiter in line for line in above))
    names = ["cat", "dog, black; old", "cat", "d|o g"]
    rows = [*([header] if header else []), *zip(FILES, names, strict=True)]
    quoted = [[f'"{cell}"' if re.search(r"[,;\t|]", cell) else cell for cell in row] for row in rows]
    lines = [(delimiter + " " * spaced).join([*row, *[""] * after]) for row in quoted]
    text = ending.join([*([said.format(delimiter)] if said else []), *above, *lines, ""])
    source = opened(text.encode(encoding))
    assert list(labels(source).values()) == names
    assert sum("as a title" in note for note in source.notes) == sum(
        line[:1] in ("M", "P") and line != "" for line in above
    )


@pytest.mark.parametrize("names", [["#1", "b", "#1", "b"], ["# 2", "#", "# 2", "#"]])
def test_classes_may_begin_like_a_remark(names):
    rows = [("label", "file"), *zip(names, FILES, strict=True)]
    assert list(labels(opened(written(rows))).values()) == names


def test_a_row_longer_than_the_header_is_refused():
    assert "line 3: more cells than the header names" in refused("file,label\nd.png,a\nimg/a.jpg,b, black\n")


@given(st.sampled_from(["", "Unnamed: 0", "unnamed_0.1"]), st.booleans())
def test_a_column_of_numbers_that_pandas_wrote_is_no_class(index, usual):
    rows = [(index, *(("file", "label") if usual else ("foto", "soort")))]
    rows += [(i, *row) for i, row in enumerate(zip(FILES, CLASSES, strict=True))]
    assert labels(opened(written(rows))) == EXPECTED


@given(st.permutations(["1.jpg", "2.jpg", "3.jpg", "4.jpg"]), st.booleans(), st.booleans())
@example(["1.jpg", "2.jpg", "3.jpg", "4.jpg"], True, False)
def test_numbers_of_classes_are_no_names_of_files(files, swapped, header):
    rows = [*([("foto", "soort")] if header else []), *zip(files, "1212", strict=True)]
    source = opened(written([row[::-1] if swapped else row for row in rows]), files=files)
    assert labels(source) == dict(zip(files, "1212", strict=True))


def loosely(file, way):
    return {
        "as it is": file,
        "backslashes": file.replace("/", "\\"),
        "dot": f"./{file}",
        "no suffix": file.rpartition(".")[0],
        "no folder": file.rpartition("/")[2],
        "another folder": f"train/{file}",
        "neither": file.rpartition("/")[2].rpartition(".")[0],
        "lower case": file.lower(),
        "another suffix": f"{file.rpartition('.')[0]}.dcm",
        "Windows": f"C:\\My Photos\\{file}".replace("/", "\\"),
    }[way]


WAYS = ["as it is", "backslashes", "dot", "no suffix", "no folder", "another folder", "neither", "lower case"]
WAYS += ["another suffix", "Windows"]


@given(st.lists(st.sampled_from(WAYS), min_size=4, max_size=4), st.booleans())
@example(["neither"] * 4, True)
@example(["backslashes"] * 4, False)
@example(["as it is", "as it is", "as it is", "dot"], False)
def test_names_that_nearly_fit(ways, header):
    rows = [(loosely(file, way), name) for file, name, way in zip(FILES, CLASSES, ways, strict=True)]
    source = opened(written([*([("id", "breed")] if header else []), *rows]))
    assert labels(source) == EXPECTED
    near = any(loosely(file, way) != file for file, way in zip(FILES, ways, strict=True))
    assert near == any("nearly fit" in note for note in source.notes)
    assert header != ("the table has no header" in source.notes)


@given(st.sampled_from(["NFC", "NFD"]), st.sampled_from(["NFC", "NFD"]))
def test_file_names_in_either_normal_form(disk, table):
    files = [unicodedata.normalize(disk, name) for name in ("é.jpg", "à.jpg")]
    rows = [(unicodedata.normalize(table, name), label) for name, label in zip(files, "ab", strict=True)]
    source = opened(written([("file", "label"), *rows]), files=files)
    assert source.classes == ("a", "b")
    assert all(Path(file).name in files for file in source.files)


def test_a_name_that_fits_two_files_is_refused_but_the_nearer_one_wins():
    files = ["x/1.jpg", "y/1.jpg", "y/2.jpg"]
    assert '"x/1.jpg", "y/1.jpg"' in refused("file,label\n1,a\n2,b\n", files=files)
    source = opened("file,label\nphotos/y/1.jpg,a\nphotos/y/2.jpg,b\n", files=files)
    assert source.keys == ("y/1.jpg", "y/2.jpg")


@given(
    column=st.sampled_from(SPLIT_COLUMNS),
    words=st.sampled_from(
        [
            *(("train", "valid"), ("Training", "Test"), ("TRAIN", "dev"), ("1", "0"), ("True", "False")),
            *(("Training", "PublicTest"), ("train_a", "hold-out"), ("yes", "no")),
        ]
    ),
    case=st.sampled_from([str, camel, str.upper]),
)
@example("is_valid", ("True", "False"), str)
@example("is_valid", ("1", "0"), camel)
@example("split", ("train", "valid"), str)
@example("usage", ("Training", "PublicTest"), str.title)
@example("is_training_image", ("1", "0"), str)
def test_columns_of_splits_are_honoured(column, words, case):
    flagged = column.startswith("is_")
    assume(flagged == (words[0].lower() in ("1", "true", "yes")))
    cells = [words[0], words[0], words[1], words[1]]
    rows = [("file", "label", case(column)), *zip(FILES, ["a", "b", "a", "b"], cells, strict=True)]
    source = opened(written(rows))
    trained = cells[0] if not flagged or "train" in column else words[1]
    assert [cell == trained for cell in cells] == [i in source.splits["train"] for i in range(4)]
    assert len(source.splits) == 2
    assert any(f'splits "{case(column)}"' in note for note in source.notes)


@given(st.sampled_from(SPLIT_COLUMNS), st.lists(st.sampled_from(["a", "b", "7", "", "solid"]), min_size=4, max_size=4))
@example("split", ["7", "7", "a", "a"])
@example("set", ["a", "b", "a", "b"])
def test_a_column_called_like_splits_that_holds_none_is_not_used(column, cells):
    assume(not column.startswith("is_") and any(cells))
    rows = [("file", "label", column), *zip(FILES, "abab", cells, strict=True)]
    source = opened(written(rows))
    assert source.splits == {}
    assert any(f'not used "{column}"' in note for note in source.notes)


def test_a_split_column_that_cannot_be_used_is_said_or_refused():
    rows = [("file", "label", "phase"), *zip(FILES, "abab", ["solid", "gas", "gas", "solid"], strict=True)]
    source = opened(written(rows))
    assert source.splits == {}
    rows[1] = ("d.png", "a", "train")
    assert 'split "gas" is not train, val or test' in refused(written(rows))
    rows[1] = ("d.png", "a", "solid")
    assert 'split "solid" is not train, val or test' in refused(written(rows), split_column="phase")
    rows = [("file", "label", "fold"), *zip(FILES, "abab", ["train", "train", "val", "val"], strict=True)]
    assert len(opened(written(rows), split_column="Fold").splits) == 2


def test_columns_by_name_and_by_number():
    rows = [("what", "it", "where"), *zip("1234", CLASSES, FILES, strict=True)]
    assert labels(opened(written(rows), file_column="where", label_column="it")) == EXPECTED
    assert labels(opened(written(rows), label_column="2")) == EXPECTED
    assert labels(opened(written(rows[1:]), label_column="2")) == EXPECTED
    assert 'no column "wher": did you mean "where"' in refused(written(rows), file_column="wher")
    assert "name them by number" in refused(written(rows[1:]))
    with pytest.raises(InputError, match="--label-column is for a table"):
        open_source("digits", label_column="x")


@given(st.permutations(range(3)), st.sampled_from([("0", "1"), ("0.0", "1.0"), ("FALSE", "TRUE"), ("no", "yes")]))
@example([0, 1, 2], ("False", "True"))
def test_one_column_for_each_class(order, digits):
    names = ["healthy", "rust", "scab"]
    hot = [[digits[i == j] for j in range(3)] for i in [*order, order[0]]]
    source = opened(written([("image_id", *names), *([file, *row] for file, row in zip(FILES, hot, strict=True))]))
    assert list(labels(source).values()) == [names[i] for i in [*order, order[0]]]
    assert any("3 columns of 0 and 1" in note for note in source.notes)
    both = written([("id", *names), (FILES[0], 1, 1, 0), (FILES[1], 0, 0, 1)])
    assert "line 2: 2 of the 3 columns of classes are 1" in refused(both)


def test_one_column_for_each_class_where_the_last_class_comes_late():
    files = [f"{i}.jpg" for i in range(150)]
    rows = [(file, int(i < 120), int(i >= 120)) for i, file in enumerate(files)]
    assert np.bincount(opened(written([("id", "cat", "dog"), *rows]), files=files).labels).tolist() == [120, 30]


def test_a_header_of_several_remarks_is_none():
    """As in the list of Oxford-IIIT Pet, whose first line has five words above four columns."""
    text = "#Image CLASS-ID SPECIES BREED ID\n#ID: 1:37 Class ids\n#SPECIES: 1:Cat 2:Dog\na 1 1 1\nb 2 2 1\n"
    assert "has 4 columns and no header: name them by number" in refused(text)
    assert list(labels(opened(text, label_column="2")).values()) == ["1", "2"]


def test_space_separated_lists_and_comments():
    text = "#image class breed\nimg/a 1\nimg/b 2\n# the end\nimg/c 1\n"
    assert list(labels(opened(text.replace(" class breed", " class"))).values()) == ["1", "2", "1"]
    assert opened("img/a 1 7\nimg/b 2 7\n", label_column="2").classes == ("1", "2")


def test_wrong_paths_name_the_first_that_was_tried():
    said = refused("file,label\nphotos/x.jpg,a\nphotos/y.jpg,b\n")
    assert "none of the 2 files" in said
    assert 'the first would be "' in said
    assert said.endswith('data/photos/x.jpg"')
    source = opened("file,label\nd.png,a\nphotos/y.jpg,b\n")
    assert any('1 of 2 listed files are not there: "photos/y.jpg"' in note for note in source.notes)


def test_unlabelled_test_photos_are_not_used():
    source = opened("file,label,split\nd.png,a,train\nimg/a.jpg,b,train\nimg/b.jpg,,test\n")
    assert len(source.files) == 2
    assert "1 test photos without a label are not used" in source.notes


CELLS = st.one_of(
    st.sampled_from([*FILES, *FILE_COLUMNS[:4], "label", "split", "train", "0", "1", "", "a", "#", "is_valid"]),
    st.text(string.printable, max_size=4),
)


@given(st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=5), st.sampled_from(",; \t"))
@example([["sep="]], ",")
@example([["#"]], " ")
def test_any_table_gives_labels_or_is_refused(rows, delimiter):
    try:
        source = opened(written(rows, delimiter))
    except InputError:
        return
    assert len(source.classes) > 1
    assert np.bincount(source.labels).min() > 0


@given(st.binary(max_size=60))
@example(b"\xff\xfe\x00")
@example(b"\x00\x00\x00\x00")
@example(b"sep=")
def test_any_bytes_are_a_table_or_are_refused(data):
    for start in (b"", b"file,label\nd.png,a\n"):
        try:
            source = opened(start + data)
        except InputError:
            continue
        assert len(source.files) == len(source.labels) > 0
