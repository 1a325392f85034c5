"""Where pictures come from, by the name that a user gives: a folder, a bundled set, a TFDS data set."""

import os
from collections.abc import Sequence

from tljax.data import folders, sixteen_bit, splits, tables
from tljax.data.source import Source, printable
from tljax.errors import InputError

__all__ = ["Source", "image_source", "open_source"]


def open_source(
    data: str | os.PathLike,
    *,
    labels_csv: str | os.PathLike | None = None,
    label_regex: str | None = None,
    file_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    min_classes: int = 2,
    min_photos: int = 1,
) -> Source:
    """The labelled pictures that `data` names; its `notes` say what was guessed or left out.

    Args:
        data: a folder (see `folders.folder_source`), "digits", "textures", "tfds:NAME" or "tfds:NAME:SPLIT"; a
            folder of one of these names is given as "./digits".
        labels_csv: a table of files and labels, for a folder without class folders (see `tables.table_source`).
        label_regex: takes the classes from the names of a folder's files (see `folders.folder_source`).
        file_column, label_column, split_column: of the table, where its headers do not tell.
        min_classes: fewer are refused; 1 to evaluate on photos of a single class.
        min_photos: classes with fewer training photos are left out.
    Raises:
        InputError: nothing there, or not laid out as expected; too few classes; TFDS not installed or not
            prepared; options that do not belong together.
    """
    name = os.fspath(data)
    columns = {"file_column": file_column, "label_column": label_column, "split_column": split_column}
    bundled_or_tfds = name in ("digits", "textures") or name.startswith("tfds:")
    if label_regex is not None and (labels_csv is not None or bundled_or_tfds):
        raise InputError("--label-regex is for a folder of photos: give it without --labels")
    if labels_csv is None and (lost := next((key for key, column in columns.items() if column is not None), None)):
        raise InputError(f"--{lost.replace('_', '-')} is for a table: give it with --labels F.csv")
    if labels_csv is not None:
        source = tables.table_source(name, os.fspath(labels_csv), **columns)
    elif name in ("digits", "textures"):
        from tljax.data import bundled

        source = bundled.digits() if name == "digits" else bundled.textures()
    elif name.startswith("tfds:"):
        from tljax.data import tfds

        source = tfds.tfds_source(name)
    else:
        source = folders.folder_source(name, label_regex=label_regex, min_classes=min_classes)
    source = sixteen_bit.with_white(source)
    source = splits.without_small(source, min_photos)
    if len(source.classes) < min_classes:
        raise InputError(_too_few(name, source, min_classes))
    return source


def image_source(paths: Sequence[str | os.PathLike]) -> Source:
    """The pictures named, and those below the folders named: no labels, in the order given.

    Raises:
        InputError: a path that does not exist, a folder without files, or no path at all.
    """
    names = [os.fspath(path) for path in paths]
    if not names:
        raise InputError("no picture given: name files or folders")
    return folders.loose_source(names)


def _too_few(name: str, source: Source, wanted: int) -> str:
    if not source.classes:
        return f'"{printable(name)}" has no class left: {"; ".join(source.notes)}'
    only = ", ".join(f'"{c}"' for c in source.classes)
    inner = folders.wrapped(name)
    hint = f': did you mean "{printable(inner)}"?' if inner else f": at least {wanted} are needed"
    return f'"{printable(name)}" has a single class, {only}{hint}'
