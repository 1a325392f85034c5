"""Which file a name in a table stands for, where it was written on another system or without some of its parts."""

import os
from collections.abc import Callable, Sequence

from tljax.data.tree import may_be_photo, read_tree
from tljax.errors import composed


def finder(folder: str, beside: str) -> Callable[[str], list[str]]:
    """From a name in a table to the files in `folder` that it may stand for, as keys.

    A name fits as it is, with backslashes, relative to `beside`, or else by its last part, perhaps without its suffix
    or with another one; of several files those win whose folders agree with it furthest upwards.
    """
    files: dict[str, list[str]] = {}
    for key in filter(may_be_photo, read_tree(folder)[0].files()):
        name = _loose(os.path.basename(key))
        for known in {name, os.path.splitext(name)[0]}:
            files.setdefault(known, []).append(key)

    def find(name: str) -> list[str]:
        if not name or "\0" in name:
            return []
        plain = os.path.normpath(name.replace("\\", "/"))
        for key in (os.path.normpath(name), plain):
            if os.path.isfile(os.path.join(folder, key)):
                return [key]
        if os.path.isfile(os.path.join(beside, plain)):
            return [os.path.relpath(os.path.join(beside, plain), folder)]
        parts = _loose(plain).split("/")
        stem, suffix = os.path.splitext(parts[-1])
        keys = files.get(parts[-1]) or (files.get(stem, []) if suffix[1:].isalpha() else [])
        near = {key: _shared(parts[:-1], _loose(key).split(os.sep)[:-1]) for key in keys}
        return [key for key, shared in near.items() if shared == max(near.values())]

    return find


def _shared(parts: Sequence[str], others: Sequence[str]) -> int:
    """How many of the last parts of two paths are the same."""
    same = [a == b for a, b in zip(reversed(parts), reversed(others), strict=False)]
    return (*same, False).index(False)


def _loose(name: str) -> str:
    """A path but for case, Unicode form, and the encoding of names that are no UTF-8."""
    return composed(os.fsencode(name).decode("cp1252", "replace") if not name.isprintable() else name).casefold()
