"""Tables of labels as people have them: which columns are meant, and which files by names that nearly fit."""

import os
import re
from collections.abc import Callable, Iterator, Sequence, Set

from tljax.data.folders import Row, check_folder, row_source
from tljax.data.layout import split_of
from tljax.data.named_files import finder
from tljax.data.source import Source, printable
from tljax.data.table_file import Table, header_key, read_table
from tljax.data.tree import quoted
from tljax.errors import InputError, composed, nearest

FILE_COLUMNS = (
    "file file_name files file_names path paths file_path file_paths image_path img_path image_file img_file "
    "image_name img_name image images img photo picture fname image_id img_id id name"
).split()
"""Headers of the column of files, the surest first; all but letters and digits plays no part, nor does case."""
LABEL_COLUMNS = (
    "label labels class classes class_name label_name class_label category category_name target breed species "
    "breed_name tag tags kind type variety diagnosis dx emotion cat_name name class_id label_id category_id label_idx "
    "class_idx"
).split()
"""Headers of the column of classes, the surest first."""
SPLIT_COLUMNS = (
    "split subset set data_set partition phase usage is_valid is_val is_validation is_test is_testing is_train "
    "is_training is_training_image"
).split()
"""Headers of the column of splits, the surest first: of names such as train and valid, or is_valid with yes and no."""

_TRUE, _FALSE = {"1", "1.0", "true", "yes", "t", "y"}, {"0", "0.0", "false", "no", "f", "n", ""}


def table_source(
    folder: str,
    table: str,
    *,
    file_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
) -> Source:
    """The photos that a table lists, by path relative to `folder`, or to the table.

    Values are separated by commas, semicolons, tabs, bars or spaces; the text is UTF-8, UTF-16 or cp1252. The first
    line names the columns (see `FILE_COLUMNS`, `LABEL_COLUMNS` and `SPLIT_COLUMNS`), unless it lists a photo itself;
    classes may also be one column each, of 0 and 1. A file may be written without its suffix or its folder, and with
    backslashes, if that leaves one file only. What was guessed is in the source's `notes`. A listed file that is
    missing stays in the source: reading it fails, and the loader reports it.

    Args:
        file_column, label_column, split_column: the header of a column, or its number from 1.
    Raises:
        InputError: no such folder or table, another encoding, unknown columns, a row without a label, a file with two
            labels, a name that stands for two files, or none of the files there.
    """
    check_folder(folder)
    path = find_table(folder, table)
    find = finder(folder, os.path.dirname(os.path.abspath(path)))
    given = [file_column, label_column, split_column]
    usual = {header_key(name) for name in (*FILE_COLUMNS, *LABEL_COLUMNS, *SPLIT_COLUMNS, *given) if name}
    found = read_table(path, printable(table), usual, find)
    if not found.rows:
        raise found.refuse(" lists no file")
    rows: dict[str, Row] = {}
    loose: list[tuple[str, str]] = []
    missing: list[str] = []
    for line, name, label, split in _labelled(found, given):
        keys = find(name)
        if len(keys) > 1:
            raise found.refuse(f', line {line}: "{printable(name)}" may be {quoted(keys)}: write the whole path')
        key = keys[0] if keys else name
        if not keys:
            missing.append(name)
        elif key != name:
            loose.append((name, key))
        if rows.setdefault(key, (key, label, split)) != (key, label, split):
            raise found.refuse(f', line {line}: "{printable(name)}" was listed with another label or split')
    if len(missing) == len(rows):
        first = os.path.abspath(os.path.join(folder, missing[0])) if missing else ""
        raise InputError(
            f'none of the {len(rows)} files that "{printable(table)}" lists is in "{printable(folder)}": '
            f'the first would be "{printable(first)}"'
        )
    said = [f'{len(loose)} files by names that nearly fit: "{loose[0][0]}" is "{loose[0][1]}"'] if loose else []
    gone = [f"{len(missing)} of {len(rows)} listed files are not there: {quoted(missing, 1)}"] if missing else []
    return row_source(folder, list(rows.values()), [*found.notes, *said, *gone])


def find_table(folder: str, table: str) -> str:
    """The table, which may also be named as it lies in `folder`.

    Raises:
        InputError: it is in neither place.
    """
    for path in (os.path.expanduser(table), os.path.join(os.path.expanduser(folder), table)):
        if os.path.isfile(path):
            return path
    raise InputError(f'no table of labels "{printable(table)}"')


def _labelled(table: Table, given: Sequence[str | None]) -> Iterator[tuple[int, str, str, str]]:
    """(line, file, class, split) of each row."""
    file, label, split = (None if name is None else _given(table, name) for name in given)
    file = _file_column(table) if file is None else file
    split, split_of_cell = _split_column(table, split, {file, label})
    index = {c for c, key in enumerate(table.keys) if re.fullmatch(r"(unnamed\d*)?", key)}  # as pandas writes it
    rest = [c for c in range(len(table.hits)) if c not in {file, split, *index}]
    label = _named(table, LABEL_COLUMNS, rest) if label is None else label
    hot = _one_hot(table, rest) if label is None else []
    if label is None and not hot and len(rest) == 1:
        label = rest[0]
    if file is None or (label is None and not hot):
        raise table.refuse(_unclear(table))
    table.notes.append(_columns(table, file, label, split, hot))
    unlabelled = 0
    for line, row in table.rows:
        part = split_of_cell(row[split], line) if split is not None else ""
        name = _hot_label(table, line, row, hot) if label is None else composed(" ".join(row[label].splitlines()))
        if row[file] and name:
            yield line, row[file], name, part
        elif row[file] and part == "test":
            unlabelled += 1
        else:
            raise table.refuse(f", line {line}: a file and its label are needed")
    if unlabelled:
        table.notes.append(f"{unlabelled} test photos without a label are not used")


def _columns(table: Table, file: int, label: int | None, split: int | None, hot: Sequence[int]) -> str:
    """Which columns mean what, for a note."""
    used = {file, label, split, *hot}
    others = [table.header[c] for c, name in enumerate(table.header) if name and c not in used]
    return (
        f"columns: files {table.called(file)}, classes "
        + (f"one of {len(hot)} columns of 0 and 1" if label is None else table.called(label))
        + (f", splits {table.called(split)}" if split is not None else "")
        + (f"; not used {quoted(others)}" if others else "")
    )


def _unclear(table: Table) -> str:
    if not table.header:
        width = len(table.hits)
        return f" has {width} columns and no header: name them by number, such as --file-column 1 --label-column 2"
    return (
        f' needs a header with a column "file" and a column "label"; it has: {_listed(table)}; or name them with '
        "--file-column and --label-column"
    )


def _listed(table: Table) -> str:
    return printable(", ".join(name for name in table.header if name))[:300] or f"{len(table.hits)} columns"


def _given(table: Table, name: str) -> int:
    """The column of a header, or of a number from 1."""
    if header_key(name) in table.keys:
        return table.keys.index(header_key(name))
    if name.isdecimal() and 1 <= int(name) <= len(table.hits):
        return int(name) - 1
    guess = nearest(name, table.header, n=1)
    hint = f'did you mean "{printable(guess[0])}"' if guess else f"it has: {_listed(table)}"
    raise table.refuse(f' has no column "{printable(name)}": {hint}')


def _named(table: Table, names: Sequence[str], columns: Sequence[int]) -> int | None:
    return next((c for name in names for c in columns if table.keys[c : c + 1] == [header_key(name)]), None)


def _file_column(table: Table) -> int | None:
    """Of the columns called so, or else of all, the one in which most files are found."""
    columns = range(len(table.hits))
    named = [c for name in FILE_COLUMNS for c in columns if table.keys[c : c + 1] == [header_key(name)]]
    best = max(named or columns, key=table.hits.__getitem__)
    return best if named or table.hits[best] else None


def _split_column(
    table: Table, given: int | None, taken: Set[int | None]
) -> tuple[int | None, Callable[[str, int], str]]:
    """The column of splits, and what reads its cells; one in which nothing is a split counts if it was given only."""
    free = [c for c in range(len(table.hits)) if c not in taken]
    c = _named(table, SPLIT_COLUMNS, free) if given is None else given
    if c is None and not table.header:
        c = next((c for c in free if all(split_of(cell) for cell in table.cells(c))), None)
    key = table.keys[c] if c is not None and table.header else ""
    flag = split_of(key.removeprefix("is")) if key.startswith("is") else None

    def split(cell: str) -> str | None:
        plain = cell.casefold()
        if flag and plain in _TRUE | _FALSE:
            other = "test" if flag[0] == "train" else "train"
            return flag[0] if plain in _TRUE else other
        found = split_of(cell) if cell else ("", "")
        return found[0] if found else None

    def read(cell: str, line: int) -> str:
        found = split(cell)
        if found is None:
            raise table.refuse(f', line {line}: split "{printable(cell)}" is not train, val or test')
        return found

    if given is None and c is not None and not any(split(cell) for cell in table.cells(c)):
        return None, read
    return c, read


def _one_hot(table: Table, columns: Sequence[int]) -> list[int]:
    """The columns of 0 and 1, or of true and false, where there are several and each has a name."""
    cells = {c: {row[c].casefold() for _, row in table.rows} for c in columns if table.header}
    hot = [c for c, said in cells.items() if said <= _TRUE | _FALSE and said != {""}]
    return hot if len(hot) > 1 else []


def _hot_label(table: Table, line: int, row: Sequence[str], hot: Sequence[int]) -> str:
    ones = [c for c in hot if row[c].casefold() in _TRUE]
    if len(ones) != 1:
        raise table.refuse(
            f", line {line}: {len(ones)} of the {len(hot)} columns of classes are 1, expected one; or name a column "
            "with --label-column"
        )
    return composed(table.header[ones[0]])
