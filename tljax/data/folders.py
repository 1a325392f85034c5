"""Photos in folders: class folders, train/val/test folders of class folders, a table of labels, loose files."""

import csv
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tljax.data.source import Source, file_source, printable
from tljax.errors import InputError

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_JUNK = {"thumbs.db", "desktop.ini", "__macosx", "@eadir"}
_FILE_COLUMNS = ("file", "filename", "file_name", "path", "image", "image_path")
_LABEL_COLUMNS = ("label", "class", "class_name", "category", "name")
_SPLIT_COLUMNS = ("split", "subset", "set")

_Row = tuple[str, str, str]  # key relative to the root, class, split ("" where none is given)


def folder_source(folder: str) -> Source:
    """The photos of `folder/<class>/*`, or of `folder/{train,val,test}/<class>/*` with those splits as given.

    Every file below a class folder counts, whatever it is called; hidden files and folders, and what systems
    leave behind (Thumbs.db, desktop.ini, __MACOSX), do not. Classes are in natural order, case apart.

    Raises:
        InputError: no such folder; no class folder; an empty one; a class that only val or test has.
    """
    _check_folder(folder)
    parts = _split_folders(folder)
    rows = list(_class_rows(folder, "", "")) if not parts else []
    for part, split in parts.items():
        rows += _class_rows(folder, part, split)
    if not rows:
        raise InputError(f'no class folders in "{printable(folder)}": expected DATA/<class>/*, or --labels F.csv')
    return _source(folder, _same_case(rows) if parts else rows)


def table_source(folder: str, table: str) -> Source:
    """The photos that a CSV file lists, by path relative to `folder`.

    The first line names the columns: one of file, filename, path, image; one of label, class, category, name;
    and, where the split is given, split (train, val, test). A listed file that is missing stays in the source:
    reading it fails, and the loader reports it.

    Raises:
        InputError: no such folder or table, unknown columns, a row without a label, a file with two labels,
            or none of the files there.
    """
    _check_folder(folder)
    labelled: dict[str, tuple[str, str]] = {}
    for line, key, label, split in _checked_rows(_find_table(folder, table)):
        if not key or not label:
            raise InputError(f'"{printable(table)}", line {line}: a file and its label are needed')
        if labelled.setdefault(key, (label, split)) != (label, split):
            raise InputError(f'"{printable(table)}", line {line}: "{printable(key)}" was listed with another label')
    if not any(os.path.exists(os.path.join(folder, key)) for key in labelled):
        raise InputError(
            f'none of the {len(labelled)} files that "{printable(table)}" lists is in "{printable(folder)}"'
        )
    return _source(folder, [(key, *rest) for key, rest in labelled.items()])


def loose_source(paths: Sequence[str]) -> Source:
    """The files named, and all files below the folders named, unlabelled, in the order given.

    Raises:
        InputError: a path that does not exist, a folder without files.
    """
    found: list[str] = []
    for path in paths:
        inside = [os.path.join(path, key) for key in _files_below(path)] if os.path.isdir(path) else [path]
        if not inside:
            raise InputError(f'no files in "{printable(path)}"')
        if not os.path.lexists(inside[0]):
            raise InputError(f'no file or folder "{printable(path)}"')
        found += inside
    labels = np.full(len(found), -1, np.int32)
    return file_source("photos", (), tuple(found), labels, {}, tuple(found))


def _source(folder: str, rows: Sequence[_Row]) -> Source:
    classes = sorted({row[1] for row in rows}, key=_natural)
    number = {name: i for i, name in enumerate(classes)}
    labels = np.asarray([number[row[1]] for row in rows], np.int32)
    given = np.asarray([row[2] for row in rows])
    splits = {name: np.flatnonzero(given == name) for name in ("train", "val", "test") if name in given}
    keys = tuple(row[0].replace(os.sep, "/") for row in rows)
    paths = tuple(os.path.abspath(os.path.join(folder, key)) for key in keys)
    return file_source(folder, tuple(classes), paths, labels, splits, keys)


def _check_folder(folder: str) -> None:
    if os.path.isdir(folder):
        return
    name = printable(folder)
    if os.path.exists(folder):
        raise InputError(f'"{name}" is a file: expected a folder DATA/<class>/*')
    raise InputError(f'no folder "{name}": expected a folder DATA/<class>/*, digits, textures or tfds:NAME')


def _split_folders(folder: str) -> dict[str, str]:
    """The train/val/test folders, by name; {} where `folder` holds the classes itself."""
    parts = {name: _SPLITS[name.lower()] for name in _folders(folder) if name.lower() in _SPLITS}
    trains = [name for name, split in parts.items() if split == "train"]
    alone = len(parts) == len(_folders(folder)) or len(set(parts.values())) > 1
    nested = all(_folders(os.path.join(folder, name)) for name in trains)
    return parts if trains and alone and nested else {}


def _class_rows(folder: str, part: str, split: str) -> Iterator[_Row]:
    for name in _folders(os.path.join(folder, part)):
        inside = list(_files_below(os.path.join(folder, part, name)))
        if not inside and split in ("", "train"):
            where = printable(os.path.join(folder, part, name))
            raise InputError(f'no photos in the class folder "{where}": add some or remove the folder')
        for key in inside:
            yield os.path.join(part, name, key), name, split


def _same_case(rows: Sequence[_Row]) -> list[_Row]:
    """Class folders of val and test under the names that train has."""
    names = {row[1] for row in rows if row[2] == "train"}
    by_lower = {name.lower(): name for name in names}
    for key, name, split in rows:
        if name.lower() not in by_lower:
            raise InputError(f'class "{printable(name)}" is in {split} but not in train: "{printable(key)}"')
    return [(key, name if name in names else by_lower[name.lower()], split) for key, name, split in rows]


def _find_table(folder: str, table: str) -> str:
    for path in (table, os.path.join(folder, table)):
        if os.path.isfile(path):
            return path
    raise InputError(f'no table of labels "{printable(table)}"')


def _checked_rows(path: str) -> list[tuple[int, str, str, str]]:
    try:
        return list(_table_rows(path))
    except (csv.Error, OSError) as error:
        raise InputError(f'"{printable(path)}" is no table of comma-separated values: {error}') from error


def _table_rows(path: str) -> Iterator[tuple[int, str, str, str]]:
    with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        head = file.readline()
        file.seek(0)
        rows = csv.reader(file, delimiter=max(",;\t", key=head.count))
        header = [name.strip().lower() for name in next(rows, [])]
        columns = [_column(header, names) for names in (_FILE_COLUMNS, _LABEL_COLUMNS, _SPLIT_COLUMNS)]
        if columns[0] is None or columns[1] is None:
            raise InputError(
                f'"{printable(path)}" needs a header with a column "file" and a column "label"; '
                f"it has: {printable(', '.join(header)) or 'nothing'}"
            )
        for row in rows:
            key, label, split = (row[c].strip() if c is not None and c < len(row) else "" for c in columns)
            if any(row):
                yield rows.line_num, key, label, _split_name(split, path, rows.line_num)


def _column(header: Sequence[str], names: Sequence[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _split_name(name: str, path: str, line: int) -> str:
    if name and name.lower() not in _SPLITS:
        raise InputError(f'"{printable(path)}", line {line}: split "{printable(name)}" is not train, val or test')
    return _SPLITS.get(name.lower(), "")


def _natural(name: str) -> tuple:
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _wanted(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _JUNK


def _entries(folder: str) -> list[os.DirEntry]:
    """What `folder` holds and is wanted, in natural order."""
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if _wanted(e.name)), key=lambda e: _natural(e.name))
    except OSError as error:
        raise InputError(f'cannot list the folder "{printable(folder)}": {error.strerror}') from error


def _folders(folder: str) -> list[str]:
    return [entry.name for entry in _entries(folder) if entry.is_dir()]


def _files_below(folder: str, above: frozenset[str] | None = None) -> Iterator[str]:
    """Paths relative to `folder` of the files at any depth, sorted; a link back upwards is not followed."""
    real = Path(os.path.realpath(folder))
    above = frozenset(map(str, real.parents)) if above is None else above
    if str(real) in above:
        return
    for entry in _entries(folder):
        if entry.is_dir():
            for key in _files_below(entry.path, above | {str(real)}):
                yield os.path.join(entry.name, key)
        elif entry.is_file() or entry.is_symlink():
            yield entry.name


def wrapped(folder: str) -> str | None:
    """The folder probably meant where the only class folder of `folder` itself holds several folders."""
    names = _folders(folder) if os.path.isdir(folder) else []
    inner = os.path.join(folder, names[0]) if len(names) == 1 else ""
    return inner if inner and len(_folders(inner)) > 1 else None
