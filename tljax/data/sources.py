"""Where pictures come from, by the name that a user gives: a folder, a bundled set, a TFDS data set."""

import os
from collections.abc import Sequence

from tljax.data import folders
from tljax.data.source import Source, printable
from tljax.errors import InputError

__all__ = ["Source", "image_source", "open_source"]


def open_source(
    data: str | os.PathLike, *, labels_csv: str | os.PathLike | None = None, min_classes: int = 2
) -> Source:
    """The labelled pictures that `data` names.

    Args:
        data: a folder (see `folders.folder_source`), "digits", "textures", "tfds:NAME" or "tfds:NAME:SPLIT"; a
            folder of one of these names is given as "./digits".
        labels_csv: a table of files and labels, for a folder without class folders.
        min_classes: fewer are refused; 1 to evaluate on photos of a single class.
    Raises:
        InputError: nothing there, or not laid out as expected; too few classes; TFDS not installed or not
            prepared.
    """
    name = os.fspath(data)
    if labels_csv is not None:
        source = folders.table_source(name, os.fspath(labels_csv))
    elif name in ("digits", "textures"):
        from tljax.data import bundled

        source = bundled.digits() if name == "digits" else bundled.textures()
    elif name.startswith("tfds:"):
        from tljax.data import tfds

        source = tfds.tfds_source(name)
    else:
        source = folders.folder_source(name)
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
    only = ", ".join(f'"{c}"' for c in source.classes)
    inner = folders.wrapped(name)
    hint = f': did you mean "{printable(inner)}"?' if inner else f": at least {wanted} are needed"
    return f'"{printable(name)}" has a single class, {only}{hint}'
