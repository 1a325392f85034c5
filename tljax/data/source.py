"""What every data set looks like to the rest: names, labels, and a function that reads the i-th picture."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Int, Int32, UInt8

from tljax.data.images import WHITE, decode
from tljax.errors import InputError
from tljax.files import read_regular

MAX_BYTES = 1 << 29
"""A larger file is not read: no photo is that long, and a film in the folder should not fill the memory."""


@dataclass(frozen=True)
class Source:
    """A set of n pictures, read one at a time.

    Attributes:
        name: what the user called it.
        classes: names, in the order of the labels.
        files: how each picture is called in results: a path, or such as "digits/0007". Bytes of a path that
            are no UTF-8 are written as backslash escapes, so that every name can be printed and saved.
        labels: int32 (n,), an index into `classes`, -1 where unknown.
        read: index -> the bytes of a file, or uint8 (h, w, 3); raises OSError or `DecodeError`.
        splits: the split that came with the data, name ("train", "val", "test") -> indices; {} where none.
        keys: names that stay the same wherever the data lies: what `splits.split` draws by.
        notes: what was guessed or left out in finding the pictures, a line each, to be told to the user.
        white: the 16-bit grey sample that is white: 65,535, or less where all files are narrower; None where no file
            has 16 bits.
        groups: int32 (n,), photos of one number show the same picture and stay on one side of each split; -1 on their
            own. None: nobody looked.

    >>> source = tljax.data.open_source("photos")
    >>> source.classes, source.labels.tolist(), source.picture(0).shape
    (('cat', 'dog'), [0, 0, 0, 0, 1, 1, 1, 1], (32, 32, 3))
    >>> source.subset([0, 4]).labels.tolist()
    [0, 1]
    """

    name: str
    classes: tuple[str, ...]
    files: tuple[str, ...]
    labels: Int32[np.ndarray, " n"]
    read: Callable[[int], bytes | np.ndarray]
    splits: Mapping[str, np.ndarray] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    white: int | None = None
    groups: Int32[np.ndarray, " n"] | None = None

    def picture(self, i: int, *, short_side: int | None = None, white: int | None = None) -> UInt8[np.ndarray, "h w 3"]:
        """The pixels of a picture, decoded where it is a file; see `images.decode`. By default `white` is the set's.

        Raises:
            DecodeError: it is no picture.  OSError: the file cannot be read.
        """
        data = self.read(i)
        if not isinstance(data, bytes):
            return data
        return decode(data, short_side=short_side, white=white or self.white or WHITE)

    def subset(self, indices: Sequence[int] | Int[np.ndarray, " m"]) -> "Source":
        """The pictures at `indices`, in that order, as a set of its own; it brings no split.

        Raises:
            InputError: an index that is not one of this set's.
        """
        where = np.asarray(indices, np.int64).reshape(-1)
        if len(where) and not 0 <= where.min() <= where.max() < len(self.files):
            raise InputError(f"photo {where.min()}..{where.max()} of {self.name}: it has {len(self.files)}, from 0")
        files, keys = (tuple(names[i] for i in where) for names in (self.files, self.keys or self.files))
        return replace(
            self,
            files=files,
            keys=keys,
            labels=self.labels[where],
            read=lambda i: self.read(int(where[i])),
            splits={},
            groups=None if self.groups is None else self.groups[where],
        )


def fingerprint(source: Source) -> str:
    """A hash of names and labels, the same wherever the data lies; the pictures are not read.

    >>> source = tljax.data.open_source("photos")
    >>> tljax.data.fingerprint(source) == tljax.data.fingerprint(tljax.data.open_source("./photos"))
    True
    """
    names = source.keys or source.files
    digest = hashlib.blake2b(json.dumps([source.classes, names]).encode(), digest_size=16)
    for numbers in (source.labels, source.groups):
        digest.update(b"" if numbers is None else numbers.astype("<i4").tobytes())
    return digest.hexdigest()


def printable(name: str) -> str:
    """`name` with the bytes that are no UTF-8 (surrogates, in Python's file names) as backslash escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def file_source(
    name: str,
    classes: tuple[str, ...],
    paths: tuple[str, ...],
    labels: Int32[np.ndarray, " n"],
    splits: Mapping[str, np.ndarray],
    keys: tuple[str, ...],
    notes: Sequence[str] = (),
) -> Source:
    """A `Source` of files on disk; arguments as its attributes, `paths` as the system has them."""
    files = tuple(map(printable, paths))
    names = tuple(map(printable, classes))
    said = tuple(map(printable, notes))
    return Source(
        printable(name), names, files, labels, lambda i: read_regular(paths[i], most=MAX_BYTES), splits, keys, said
    )
