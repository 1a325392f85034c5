"""What a folder of photos holds, read once: names only, so that a layout is judged without touching the disk again."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tljax.data.source import printable
from tljax.errors import InputError
from tljax.files import PAGE

NO_PHOTOS = frozenset(
    ".xml .json .jsonl .txt .csv .tsv .mat .npy .npz .pkl .parquet .md .rst .pdf .doc .docx .xls .xlsx .yaml .yml "
    ".toml .ini .cfg .html .htm .css .py .ipynb .log .xmp .aae .zip .tar .gz .h5 .pt .pth .onnx .db".split()
)
"""Files with these suffixes lie beside photos and are none."""

_JUNK = {"thumbs.db", "desktop.ini", "__macosx", "@eadir"}
_RUN = {"config.json", "classes.json"}
_WRITTEN = b'<meta name="generator" content="tljax">'


@dataclass(frozen=True, eq=False)
class Folder:
    """A folder below DATA.

    Attributes:
        path: relative to DATA, "" for DATA itself.
        entries: the names of files, and the folders, in natural order.
    """

    path: str
    entries: tuple["str | Folder", ...] = ()

    @property
    def name(self) -> str:
        """The last part of its path."""
        return os.path.basename(self.path)

    @property
    def folders(self) -> "list[Folder]":
        """The folders directly inside."""
        return [entry for entry in self.entries if isinstance(entry, Folder)]

    def files(self) -> Iterator[str]:
        """The paths, relative to DATA, of the files at any depth."""
        for entry in self.entries:
            if isinstance(entry, Folder):
                yield from entry.files()
            else:
                yield os.path.join(self.path, entry)

    def has_photos(self) -> bool:
        """Whether there is any file that may be a photo."""
        return any(may_be_photo(key) for key in self.files())


def read_tree(folder: str) -> tuple[Folder, tuple[str, ...]]:
    """What `folder` holds, and the paths of the folders in it that tljax wrote, which are left out.

    Hidden files and folders, and what systems leave behind (Thumbs.db, desktop.ini, __MACOSX), are not there; links
    are followed, but not back upwards.

    Raises:
        InputError: a folder that cannot be listed.
    """
    own: list[str] = []
    real = Path(os.path.realpath(folder))
    return _read(folder, "", frozenset(map(str, real.parents)), own), tuple(own)


def may_be_photo(key: str) -> bool:
    """Whether a file's name leaves it open that it is a photo."""
    return os.path.splitext(key)[1].lower() not in NO_PHOTOS


def natural(name: str) -> tuple:
    """The key of the natural order, case apart: "class9" before "class10"."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def quoted(names: Sequence[str], most: int = 4) -> str:
    """Names for a message: the first few in quotation marks, and how many more."""
    shown = ", ".join(f'"{printable(name)}"' for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _read(folder: str, path: str, above: frozenset[str], own: list[str]) -> Folder:
    real = os.path.realpath(folder)
    entries: list[str | Folder] = []
    for entry in [] if real in above else _entries(folder):
        key = os.path.join(path, entry.name)
        if not entry.is_dir():
            entries += [entry.name] if entry.is_file() or entry.is_symlink() else []
        elif _written(entry.path):
            own.append(key)
        else:
            entries.append(_read(entry.path, key, above | {real}, own))
    return Folder(path, tuple(entries))


def _entries(folder: str) -> list[os.DirEntry]:
    """What `folder` holds and is wanted, in natural order."""
    try:
        with os.scandir(folder) as entries:
            wanted = (e for e in entries if not e.name.startswith(".") and e.name.lower() not in _JUNK)
            return sorted(wanted, key=lambda entry: natural(entry.name))
    except OSError as error:
        raise InputError(f'cannot list the folder "{printable(folder)}": {error.strerror}') from error


def _written(folder: str) -> bool:
    """Whether tljax wrote `folder`: a RUN, whole or interrupted, or results with their page."""
    if folder.endswith(".partial") and os.path.isfile(os.path.join(folder, "run", "config.json")):
        return True
    if all(os.path.isfile(os.path.join(folder, name)) for name in _RUN):
        return True
    try:
        with open(os.path.join(folder, PAGE), "rb") as page:
            return _WRITTEN in page.read(2000)
    except OSError:
        return False
