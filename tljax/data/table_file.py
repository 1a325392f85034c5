"""A file of rows and columns, whatever its encoding, its separator, and whether its first line names the columns."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

from tljax.data.source import printable
from tljax.errors import InputError, composed

_LOOKED_AT = 100  # rows from which the separator and the columns are told
_MARKS = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}

Find = Callable[[str], Sequence[str]]
Row = tuple[int, list[str]]  # its line, its cells


@dataclass(frozen=True)
class Table:
    """What a table says.

    Attributes:
        name: what messages call it.
        header: the name of each column; empty where there is none.
        rows: each as long as the table is wide.
        hits: of each column, how many files its first cells name.
        notes: what was guessed or left out.
    """

    name: str
    header: list[str]
    rows: list[Row]
    hits: list[int]
    notes: list[str]

    @cached_property
    def keys(self) -> list[str]:
        """The header as `header_key` writes it."""
        return list(map(header_key, self.header))

    def cells(self, c: int) -> list[str]:
        """The first cells of a column."""
        return [row[c] for _, row in self.rows[:_LOOKED_AT]]

    def called(self, c: int) -> str:
        """How a column is called in a message."""
        return f'"{printable(self.header[c])}"' if self.header else f"column {c + 1}"

    def refuse(self, what: str) -> InputError:
        """The error about this table."""
        return InputError(f'"{printable(self.name)}"{what}')


def read_table(path: str, name: str, usual: Set[str], find: Find) -> Table:
    """A table in UTF-8, UTF-16, UTF-32 or cp1252, separated by commas, semicolons, tabs, bars or spaces.

    Titles above the columns' names, lines that begin with "#", and empty columns at the end are left out.

    Args:
        name: what messages call it.
        usual: headers, as `header_key` writes them.
        find: the files that a cell may name: a first line with one is no header, unless it is called as usual.
    Raises:
        InputError: it cannot be read, or is in another encoding, or is no table; a row is longer than the header.
    """
    text, notes = _text(path)
    try:
        rows = _without_remarks(_split(text), usual, find, notes)
    except csv.Error as error:
        raise InputError(f'"{name}" is no table of comma-separated values: {error}') from error
    width = max((i + 1 for _, row in rows for i, cell in enumerate(row) if cell), default=0)
    rows = [(line, [*row[:width], *[""] * (width - len(row))]) for line, row in rows]
    seen = [[find(row[c]) for _, row in rows[:_LOOKED_AT]] for c in range(width)]
    hits = [len({keys[0] for keys in column if keys}) for column in seen]
    files = hits.index(max(hits)) if rows else 0
    if not rows or (seen[files][0] and header_key(rows[0][1][files]) not in usual):
        return Table(name, [], rows, hits, [*notes, "the table has no header"])
    table = Table(name, rows[0][1], rows[1:], hits, notes)
    named = max(i + 1 for i, cell in enumerate(table.header) if cell)
    for line, row in table.rows:
        if any(row[named:]):
            raise table.refuse(f", line {line}: more cells than the header names; quote those that hold a separator")
    return table


def header_key(name: str) -> str:
    """The letters and digits of a header, without case: "Image-File", "image_file" and "imageFile" are one."""
    return re.sub(r"[\W_]+", "", composed(name)).casefold()


def _split(text: str) -> list[Row]:
    """The rows that are not empty, by the separator that gives most rows the same number of cells."""
    told = re.match(r"sep=(.)(?=[\r\n])", text, re.IGNORECASE)  # as Excel writes it
    text = text[told.end() :] if told else text

    def split(text: str, delimiter: str) -> list[Row]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
        return [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]

    def fit(delimiter: str) -> tuple[int, int]:
        (width, rows), *_ = Counter(len(row) for _, row in split(head, delimiter)).most_common(1) or [(0, 0)]
        return rows if width > 1 else 0, width

    head = "".join(text.splitlines(keepends=True)[:_LOOKED_AT])
    best = told[1] if told else max(",;\t|", key=fit)
    return split(text, best if told or fit(best)[0] else " ")


def _without_remarks(rows: list[Row], usual: Set[str], find: Find, notes: list[str]) -> list[Row]:
    """The rows without remarks, and without titles above the header, which are noted."""

    def remark(row: list[str]) -> bool:
        return row[0].startswith("#") and not any(map(find, row))

    head = [row for _, row in rows[:2]]
    named = bool(head) and not usual.isdisjoint(map(header_key, head[0])) and not any(map(remark, head[1:]))
    rows = [(line, row) for i, (line, row) in enumerate(rows) if (i == 0 and named) or not remark(row)]
    wide = any(sum(map(bool, row)) > 1 for _, row in rows)
    while wide and sum(map(bool, rows[0][1])) < 2 and not any(map(find, rows[0][1])):
        notes.append(f'left out, as a title: "{printable(" ".join(rows.pop(0)[1]).strip())}"')
    return rows


def _text(path: str) -> tuple[str, list[str]]:
    """What a table says, and how it was decoded if that was a guess."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise InputError(f'cannot read the table "{printable(path)}": {error.strerror}') from error
    wide = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "")
    if not wide and b"\0" in data:
        wide = "utf-16-le" if data[1::2].count(0) >= data[::2].count(0) else "utf-16-be"
    for encoding in [wide] if wide else ["utf-8-sig", "cp1252"]:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        odd = next((line for line in text.splitlines() if not line.isascii()), "")[:60]
        return text, [f'read as cp1252, as it is no UTF-8: "{odd}"'] if encoding == "cp1252" else []
    raise InputError(f'"{printable(path)}" is neither UTF-8 nor {wide or "cp1252"}: save it as CSV in UTF-8')
