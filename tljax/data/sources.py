"""Where pictures come from, by the name that a user gives: a folder, a bundled set, a TFDS data set."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from tljax.data import fixes as decisions
from tljax.data import folders, sixteen_bit, splits, tables
from tljax.data.images import pixels
from tljax.data.source import Source, printable
from tljax.errors import InputError

__all__ = ["Photos", "Source", "image_source", "labelled_source", "open_source", "photo_source"]

Photo = str | os.PathLike | bytes | Image.Image | UInt8[np.ndarray, "h w 3"]
Photos = Photo | Sequence[Photo] | UInt8[np.ndarray, "b h w 3"] | Source
Labelled = Source | tuple[Photos, Sequence[int] | Int[np.ndarray, " b"]]


def open_source(
    data: str | os.PathLike,
    *,
    labels_csv: str | os.PathLike | None = None,
    label_regex: str | None = None,
    file_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    fixes: str | os.PathLike | None = None,
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
        fixes: a table of photos to drop, to relabel or to keep together (see `fixes.with_fixes`).
        min_classes: fewer are refused; 1 to evaluate on photos of a single class.
        min_photos: classes with fewer training photos are left out.
    Raises:
        InputError: nothing there, or not laid out as expected; too few classes; TFDS not installed or not
            prepared; options that do not belong together.

    >>> tljax.data.open_source("photos").classes
    ('cat', 'dog')
    """
    name = os.path.expanduser(os.fspath(data))
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
    source = source if fixes is None else decisions.with_fixes(source, os.path.expanduser(os.fspath(fixes)))
    source = splits.without_small(source, min_photos)
    if len(source.classes) < min_classes:
        raise InputError(_too_few(name, source, min_classes))
    return source


def image_source(paths: Sequence[str | os.PathLike]) -> Source:
    """The pictures named, and those below the folders named: no labels, in the order given.

    Raises:
        InputError: a path that does not exist, a folder without files, or no path at all.

    >>> len(tljax.data.image_source(["photos/cat", "photos/dog/1.png"]).files)
    5
    """
    names = [os.path.expanduser(os.fspath(path)) for path in paths]
    if not names:
        raise InputError("no picture given: name files or folders")
    return folders.loose_source(names)


def photo_source(photos: Photos) -> Source:
    """Photos in any form that people have them in, unlabelled and in the order given; a `Source` is returned as it is.

    Args:
        photos: a path, a folder, bytes of a file, a PIL image, a uint8 array (h, w, 3) or (b, h, w, 3), or a list of
            these. What is no file is called "photos[i]".
    Raises:
        InputError: no photo; a path that does not exist; an array that is not uint8 RGB, or something else altogether.

    >>> tljax.data.photo_source(photos[:2]).files
    ('photos[0]', 'photos[1]')
    """
    if isinstance(photos, Source):
        return photos
    one = isinstance(photos, str | os.PathLike | bytes | Image.Image) or getattr(photos, "ndim", 0) in (2, 3)
    files: list[str] = []
    readers: list[Any] = []
    several: Any = [photos] if one else photos
    for photo in several:
        if isinstance(photo, str | os.PathLike):
            inside = folders.loose_source([os.path.expanduser(os.fspath(photo))])
            files += inside.files
            readers += [partial(inside.read, i) for i in range(len(inside.files))]
        else:
            readers.append(partial(_pixels_or_bytes, photo, f"photos[{len(files)}]"))
            files.append(f"photos[{len(files)}]")
            if not isinstance(photo, bytes | Image.Image):
                readers[-1]()  # an array of the wrong kind is refused before any work
    if not files:
        raise InputError("no picture given: name files or folders, or give images")
    return Source("photos", (), tuple(files), np.full(len(files), -1, np.int32), lambda i: readers[i]())


def labelled_source(photos: Labelled, classes: tuple[str, ...]) -> Source:
    """A labelled `Source`, or (photos, labels) as one.

    Args:
        photos: a `Source`, or photos (see `photo_source`) and an integer for each, an index into `classes`.
    Raises:
        InputError: no photo; not one label for each photo; a label that is no class.
    """
    if isinstance(photos, Source):
        source = photos
    else:
        source, labels = photo_source(photos[0]), np.asarray(photos[1])
        if labels.shape != (len(source.files),) or not np.issubdtype(labels.dtype, np.integer):
            raise InputError(
                f"labels must be {len(source.files)} integers, one for each photo: "
                f"got {labels.dtype} of shape {labels.shape}"
            )
        source = replace(source, classes=classes, labels=labels.astype(np.int32))
    wrong = np.flatnonzero((source.labels < 0) | (source.labels >= len(classes)))
    if len(wrong):
        raise InputError(
            f'"{source.files[wrong[0]]}" has label {source.labels[wrong[0]]}: there are {len(classes)} classes, '
            "counted from 0"
        )
    return source


def _pixels_or_bytes(photo: Any, name: str) -> bytes | UInt8[np.ndarray, "h w 3"]:
    if isinstance(photo, bytes):
        return photo
    if isinstance(photo, Image.Image):
        return pixels(photo)
    if not hasattr(photo, "__array__"):
        raise InputError(f"{name} is a {type(photo).__name__}: give a path, bytes, a PIL image or a uint8 array")
    array = np.asarray(photo)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != 3 or 0 in array.shape:
        raise InputError(
            f"{name} is {array.dtype} of shape {array.shape}: expected uint8 RGB (h, w, 3), 0 to 255{_advice(array)}"
        )
    return array


def _advice(array: np.ndarray) -> str:
    if np.issubdtype(array.dtype, np.floating):
        return (
            "; images that are float32 in [0, 1] and of the network's own size go straight to net.apply, "
            "others become photos by (255 * x).round().astype(np.uint8)"
        )
    if np.issubdtype(array.dtype, np.integer) and array.dtype != np.uint8:
        return "; where its values are within these, .astype(np.uint8)"
    if array.ndim == 3 and array.shape[0] in (1, 3):
        return "; the channels come last: .transpose(1, 2, 0)"
    if array.ndim == 2 or array.shape[-1:] in ((1,), (4,)):
        return '; PIL.Image.fromarray(x).convert("RGB") makes that of grey or with transparency'
    return ""


def _too_few(name: str, source: Source, wanted: int) -> str:
    if not source.classes:
        return f'"{printable(name)}" has no class left: {"; ".join(source.notes)}'
    only = ", ".join(f'"{c}"' for c in source.classes)
    inner = folders.wrapped(name)
    hint = f': did you mean "{printable(inner)}"?' if inner else f": at least {wanted} are needed"
    return f'"{printable(name)}" has a single class, {only}{hint}'
