"""What a person decided about photos: to drop them, to give them another label, or to keep copies together."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tljax.data.source import Source, printable
from tljax.data.table_file import Table, header_key, read_table
from tljax.errors import InputError, match_name

DROP, RELABEL, TOGETHER = "drop", "relabel", "together"
COLUMNS = ("file", "action", "label", "group")


def with_fixes(source: Source, path: str) -> Source:
    """A source without the photos that a table drops, others under its labels, and with its groups of copies.

    Args:
        path: a table with the columns file (as in `source.files` or `source.keys`, or a path that ends so), action
            ("drop", "relabel" or "together"), label (the class, to relabel) and group (of photos kept together), as the
            page of `tljax check` saves it.
    Raises:
        InputError: no such table, or one without these columns; a file, an action or a class that is not there; a photo
            that is dropped and relabelled, or relabelled twice.
    """
    table = read_table(path, path, set(COLUMNS), lambda cell: [])
    column = {name: table.keys.index(header_key(name)) for name in COLUMNS if header_key(name) in table.keys}
    if missing := [name for name in ("file", "action") if name not in column]:
        raise table.refuse(f' has no column "{missing[0]}": `tljax check DATA --out DIR` makes a page that saves one')
    labels, groups = source.labels.copy(), np.full(len(source.files), -1, np.int32)
    places, done, numbers = _places(source), {}, {}
    for line, row in table.rows:
        cell = {name: row[place] for name, place in column.items()}
        where = _place(cell["file"], places, table, line)
        action = cell["action"].casefold()
        if action == TOGETHER:
            groups[where] = numbers.setdefault(cell.get("group", ""), len(numbers))
            continue
        label = _label(action, cell, source, table, line)
        if done.setdefault(where, (action, label)) != (action, label):
            raise table.refuse(f', line {line}: "{printable(cell["file"])}" is decided twice, and not alike')
        labels[where] = label
    counts = Counter(action for action, _ in done.values())
    together = int((groups >= 0).sum())
    note = (
        f'by "{printable(path)}", photos dropped: {counts[DROP]}, relabelled: {counts[RELABEL]}, kept on one side of '
        f"the split, as copies: {together} in groups: {len(numbers)}"
    )
    return replace(source, labels=labels, groups=groups if together else None, notes=(*source.notes, note))


def _places(source: Source) -> dict[str, int]:
    """The place of each photo, by what it is called in results and relative to the data."""
    names = {name: i for i, name in enumerate(source.keys or source.files)}
    return names | {name: i for i, name in enumerate(source.files)}


def _place(file: str, places: Mapping[str, int], table: Table, line: int) -> int:
    """The photo that a table names, by a path that ends as the photo's does."""
    parts = file.replace("\\", "/").split("/")
    for name in (file, *("/".join(parts[start:]) for start in range(len(parts)))):
        if name in places:
            return places[name]
    raise table.refuse(f', line {line}: no photo "{printable(file)}" in the data')


def _label(action: str, cell: Mapping[str, str], source: Source, table: Table, line: int) -> int:
    """The label that a photo gets, -1 where it is dropped."""
    if action == DROP:
        return -1
    if action != RELABEL:
        raise table.refuse(f', line {line}: action "{printable(action)}": expected drop, relabel or together')
    try:
        return match_name(cell.get("label", ""), source.classes)
    except InputError as error:
        raise table.refuse(f", line {line}: {error}") from None
