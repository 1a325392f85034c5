"""Photos in folders: class folders, train/val/test folders of class folders, labels in file names, loose files."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from tljax.data.layout import class_folders, find_splits, split_of, without_annotations, without_masks
from tljax.data.source import Source, file_source, printable
from tljax.data.tree import Folder, may_be_photo, natural, quoted, read_tree
from tljax.errors import InputError, composed, find_name, nearest

Row = tuple[str, str, str]  # key relative to DATA, class, split ("" where none is given)
_MASKS = "not used, as masks of the photos beside them: {}"
_BY_NAME = r'names such as Abyssinian_12.jpg with --label-regex "^(.+)_\d+\.jpg$"'


def folder_source(folder: str, *, label_regex: str | None = None, min_classes: int = 2) -> Source:
    """The photos of `folder/<class>/*`, or of `folder/{train,val,test}/<class>/*` with those splits as given.

    Splits are known by the usual forms of their names (training_set, valid, seg_test, images/train; see
    `layout.split_of`). Every file below a class folder counts, whatever it is called; hidden files and folders, what
    systems leave behind (Thumbs.db, desktop.ini, __MACOSX), folders that tljax wrote, and folders of annotations do
    not. Classes are in natural order, case apart, their names in the normal form NFC. What was guessed or left out is
    in the source's `notes`.

    Args:
        label_regex: takes the class from each file's name instead, or from its path relative to `folder` if the
            expression has a "/": the named group, or the first one. Files that it does not match are left out.
        min_classes: with 1, empty class folders are left out.
    Raises:
        InputError: no such folder; no class folder; an empty one; folders that are no classes (they look like splits,
            or hold equally named folders, or are photos and their masks); a class that only val has; a bad expression.
    """
    check_folder(folder)
    tree, own = read_tree(folder)
    notes = [f"left out, as tljax wrote it: {quoted(own)}"] if own else []
    by_name = label_regex is not None
    rows, said = _named_rows(tree, label_regex) if by_name else _class_rows(folder, tree, min_classes)
    if not rows:
        raise InputError(
            f'no class folders in "{printable(folder)}": expected DATA/<class>/*, or --labels F.csv, or {_BY_NAME}'
        )
    return row_source(folder, rows, [*notes, *said])


def loose_source(paths: Sequence[str]) -> Source:
    """The files named, and all files below the folders named, unlabelled, in the order given.

    Raises:
        InputError: a path that does not exist, a folder without files.
    """
    found: list[str] = []
    for path in paths:
        inside = [os.path.join(path, key) for key in read_tree(path)[0].files()] if os.path.isdir(path) else [path]
        if not inside:
            raise InputError(f'no files in "{printable(path)}"')
        if not os.path.lexists(inside[0]):
            raise InputError(f'no file or folder "{printable(path)}"')
        found += inside
    labels = np.full(len(found), -1, np.int32)
    return file_source("photos", (), tuple(found), labels, {}, tuple(found))


def row_source(folder: str, rows: Sequence[Row], notes: Sequence[str]) -> Source:
    """The source of files in `folder` with their classes and splits."""
    classes = sorted({row[1] for row in rows}, key=natural)
    number = {name: i for i, name in enumerate(classes)}
    alike = Counter(map(str.casefold, classes))
    twins = [name for name in classes if alike[name.casefold()] > 1]
    notes = [*notes, f"kept apart, though they differ in case only: {quoted(twins)}"] if twins else notes
    labels = np.asarray([number[row[1]] for row in rows], np.int32)
    given = np.asarray([row[2] for row in rows])
    splits = {name: np.flatnonzero(given == name) for name in ("train", "val", "test") if name in given}
    keys = tuple(row[0].replace(os.sep, "/") for row in rows)
    paths = tuple(os.path.abspath(os.path.join(folder, key)) for key in keys)
    return file_source(folder, tuple(classes), paths, labels, splits, keys, notes)


def check_folder(folder: str) -> None:
    """Refuses what is no folder.

    Raises:
        InputError: `folder` is not there, or a file.
    """
    if os.path.isdir(folder):
        return
    name = printable(folder)
    if os.path.exists(folder):
        raise InputError(f'"{name}" is a file: expected a folder DATA/<class>/*')
    raise InputError(f'no folder "{name}": expected a folder DATA/<class>/*, digits, textures or tfds:NAME')


def wrapped(folder: str) -> str | None:
    """The folder probably meant where `folder` wraps the one that holds several folders."""
    inner = read_tree(folder)[0] if os.path.isdir(folder) else Folder("")
    while len(inner.folders) == 1:
        inner = inner.folders[0]
    return os.path.join(folder, inner.path) if inner.path and inner.folders else None


def _class_rows(folder: str, tree: Folder, min_classes: int) -> tuple[list[Row], list[str]]:
    parts, notes = find_splits(tree)
    while not parts and len(tree.folders) == 1 and split_of(tree.folders[0].name) and tree.folders[0].folders:
        tree = tree.folders[0]
        notes = [f"the classes are the folders in {quoted([tree.path])}"]
    rows: list[Row] = []
    masks: list[str] = []
    for split, where in parts or [("", tree)]:
        needed = split in ("", "train")
        classes, said = class_folders(where, least=min_classes if needed else 0)
        notes += said
        empty = [one.path for one in classes if next(one.files(), None) is None]
        if empty and needed and min_classes > 1:
            name = printable(os.path.join(folder, empty[0]))
            raise InputError(f'no photos in the class folder "{name}": add some or remove the folder')
        notes += [f"left out, as they are empty: {quoted(empty)}"] if empty and needed else []
        notes += [f'"{where.path}" is not used: it holds no class folders'] if split and not classes else []
        names = [composed(one.name) for one in classes]
        twins = [one.path for one, name in zip(classes, names, strict=True) if names.count(name) > 1]
        notes += [f"one class, as their names differ in Unicode form only: {quoted(twins)}"] if twins else []
        for one, name in zip(classes, names, strict=True):
            photos, beside = without_masks(list(one.files()))
            masks += beside
            rows += [(key, name, split) for key in photos]
    notes += [_MASKS.format(quoted(masks))] if masks else []
    return _same_names(rows, notes) if parts else (rows, notes)


def _same_names(rows: list[Row], notes: list[str]) -> tuple[list[Row], list[str]]:
    """Classes of val and test under the names that train has; photos without any of them are left out."""
    trained = sorted({row[1] for row in rows if row[2] == "train"})
    same: dict[tuple[str, str], str | None] = {}
    for _, name, split in rows:
        if (split, name) not in same:
            found = find_name(name, trained)
            same[split, name] = None if found is None else trained[found]
    for split in ("val", "test"):
        names = [name for of, name in same if of == split]
        unknown = [name for name in names if same[split, name] is None]
        if unknown and unknown == names and (split == "test" or len(names) == 1):
            notes = [*notes, f"{split} is not used: train has no class {quoted(unknown)}"]
        elif unknown:
            key = next(key for key, name, of in rows if (of, name) == (split, unknown[0]))
            guess = nearest(unknown[0], trained, n=1)
            hint = f'; did you mean "{printable(guess[0])}"?' if guess else ""
            raise InputError(
                f'class "{printable(unknown[0])}" is in {split} but not in train: "{printable(key)}"{hint}'
            )
    return [(key, known, split) for key, name, split in rows if (known := same[split, name]) is not None], notes


def _named_rows(tree: Folder, label_regex: str) -> tuple[list[Row], list[str]]:
    """The photos whose names an expression matches, with the class that it finds."""
    try:
        pattern = re.compile(composed(label_regex))
    except re.error as error:
        raise InputError(f'--label-regex "{label_regex}" is no regular expression: {error}') from None
    if not pattern.groups:
        raise InputError(f'--label-regex "{label_regex}" has no group: put what is the class into (...)')
    group = min(pattern.groupindex.values(), default=1)
    notes: list[str] = []
    photos, masks = without_masks(list(_photos(tree, notes)))
    notes += [_MASKS.format(quoted(masks))] if masks else []
    names = [key.replace(os.sep, "/") if "/" in label_regex else os.path.basename(key) for key in photos]
    keys = [(key, pattern.search(composed(name))) for key, name in zip(photos, names, strict=True)]
    rows = [(key, found[group], _split_above(key)) for key, found in keys if found and found[group]]
    missed = [key for key, found in keys if not (found and found[group])]
    if not rows:
        first = f', such as "{printable(missed[0])}"' if missed else ""
        raise InputError(f'--label-regex "{label_regex}" matches none of {len(keys)} files{first}; {_BY_NAME}')
    notes += [f"left out, as --label-regex does not match: {quoted(missed)}"] if missed else []
    given = {row[2] for row in rows}
    if "train" not in given or len(given) < 2:
        return [(key, label, "") for key, label, _ in rows], notes
    count = ", ".join(f"{sum(row[2] == name for row in rows)} in {name or 'none'}" for name in sorted(given))
    return rows, [*notes, f"splits by the names of folders: {count}"]


def _photos(folder: Folder, notes: list[str]) -> Iterator[str]:
    """The files that may be photos, without folders of annotations, which are noted."""
    kept, beside = without_annotations(folder.folders)
    if beside:
        notes.append(f"not used, as annotations: {quoted([one.path for one in beside])}")
    for entry in folder.entries:
        if not isinstance(entry, Folder):
            yield from [os.path.join(folder.path, entry)] if may_be_photo(entry) else []
        elif entry in kept:
            yield from _photos(entry, notes)


def _split_above(key: str) -> str:
    """The split that the folders above a file name, "" where none does."""
    found = (split_of(name) for name in os.path.dirname(key).split(os.sep))
    return next((split[0] for split in found if split), "")
