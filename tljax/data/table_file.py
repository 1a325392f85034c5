"""A file of rows and columns, whatever its encoding, its separator, and whether its first line names the columns."""

import csv
import io
from collections.abc import Callable, Collection
from dataclasses import dataclass

from tljax.data.source import printable
from tljax.errors import InputError, composed

_LOOKED_AT = 100  # rows from which columns are told


@dataclass(frozen=True)
class Table:
    """What a table says: its name, its columns (none where it has no header), and its rows with their line numbers."""

    name: str
    header: list[str]
    rows: list[tuple[int, list[str]]]
    notes: list[str]

    def cells(self, c: int) -> list[str]:
        """The first cells of a column."""
        return [row[c] for _, row in self.rows[:_LOOKED_AT]]

    def called(self, c: int) -> str:
        """How a column is called in a message."""
        return f'"{printable(self.header[c])}"' if self.header else f"column {c + 1}"

    def refuse(self, what: str) -> InputError:
        """The error about this table."""
        return InputError(f'"{printable(self.name)}"{what}')


def read_table(path: str, name: str, usual: Collection[str], known: Callable[[str], bool]) -> Table:
    """A table in UTF-8, UTF-16 or cp1252, separated by commas, semicolons, tabs, bars or spaces.

    Args:
        name: what messages call it.
        usual: headers, as `header_key` writes them; a first line with any of them is one of headers.
        known: whether a cell names a file: a first line with such a one is no header.
    Raises:
        InputError: it cannot be read, or is in another encoding, or is no table.
    """
    text, notes = _text(path)
    lines = text.removeprefix(text.splitlines()[0] + "\n" if text.lower().startswith("sep=") else "")
    head = next(iter(lines.splitlines()), "")
    delimiter = max(",;\t|", key=head.count)
    try:
        if delimiter in head or " " not in head.strip():
            reader = csv.reader(io.StringIO(lines, newline=""), delimiter=delimiter)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
        else:
            rows = [(i, line.split()) for i, line in enumerate(lines.splitlines(), 1) if line.strip()]
    except csv.Error as error:
        raise InputError(f'"{name}" is no table of comma-separated values: {error}') from error
    first = rows[0][1] if rows else []
    titled = not set(usual).isdisjoint(map(header_key, first))
    headless = any(known(cell) for cell in first if "." in cell or not titled)
    header = [] if headless else first
    width = max((len(row) for _, row in rows), default=0)
    rows = [(line, row + [""] * (width - len(row))) for line, row in (rows if headless else rows[1:])]
    rows = [(line, row) for line, row in rows if not row[0].startswith("#") or known(row[0])]
    header = header + [""] * (width - len(header)) if header else []
    return Table(name, header, rows, [*notes, "the table has no header"] if headless else [*notes])


def header_key(name: str) -> str:
    """A header but for case, spaces and hyphens."""
    return composed(name).strip().casefold().lstrip("#").replace(" ", "_").replace("-", "_")


def _text(path: str) -> tuple[str, list[str]]:
    """What a table says, and how it was decoded if that was a guess."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise InputError(f'cannot read the table "{printable(path)}": {error.strerror}') from error
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    wide = "utf-16" if marked else {b"\0": "utf-16-be"}.get(data[:1], "utf-16-le" if data[1:2] == b"\0" else "")
    for encoding in [wide] if wide else ["utf-8-sig", "cp1252"]:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        odd = next((line for line in text.splitlines() if not line.isascii()), "")[:60]
        return text, [f'read as cp1252, as it is no UTF-8: "{odd}"'] if encoding == "cp1252" else []
    raise InputError(f'"{printable(path)}" is neither UTF-8 nor {wide or "cp1252"}: save it as UTF-8')
