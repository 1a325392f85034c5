"""Tables of labels as people have them: which columns are meant, and which files by names that nearly fit."""

import os
from collections.abc import Callable, Iterator, Sequence

from tljax.data.folders import Row, check_folder, row_source
from tljax.data.layout import split_of
from tljax.data.source import Source, printable
from tljax.data.table_file import Table, header_key, read_table
from tljax.data.tree import may_be_photo, quoted, read_tree
from tljax.errors import InputError, composed, nearest

FILE_COLUMNS = (
    "file filename file_name files filenames path paths filepath file_path filepaths image_path img_path image_file "
    "img_file image_name img_name image images img photo picture fname image_id img_id imageid id name"
).split()
"""Headers of the column of files, the surest first; case, spaces and hyphens play no part."""
LABEL_COLUMNS = (
    "label labels class classes class_name classname label_name category category_name target breed species breed_name "
    "tag kind type variety diagnosis dx emotion cat_name name class_id label_id category_id classid label_idx class_idx"
).split()
"""Headers of the column of classes, the surest first."""
SPLIT_COLUMNS = (
    "split subset set data_set dataset partition phase usage is_valid is_val is_validation is_test is_testing is_train "
    "is_training is_training_image"
).split()
"""Headers of the column of splits, the surest first: of names such as train and valid, or is_valid with yes and no."""

_SURE = {"split", "subset", "set"}
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
    find = _finder(folder, os.path.dirname(os.path.abspath(path)))
    given = [file_column, label_column, split_column]
    usual = {*FILE_COLUMNS, *LABEL_COLUMNS, *SPLIT_COLUMNS, *(header_key(name) for name in given if name)}
    found = read_table(path, printable(table), usual, lambda cell: bool(find(cell)))
    rows: dict[str, Row] = {}
    loose: list[tuple[str, str]] = []
    missing: list[str] = []
    for line, name, label, split in _labelled(found, given, find):
        keys = find(name)
        if len(keys) > 1:
            raise found.refuse(f', line {line}: "{printable(name)}" may be {quoted(keys)}: write the whole path')
        key = keys[0] if keys else name
        if not keys:
            missing.append(name)
        elif key != name:
            loose.append((name, key))
        if rows.setdefault(key, (key, label, split)) != (key, label, split):
            raise found.refuse(f', line {line}: "{printable(name)}" was listed with another label')
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


def _finder(folder: str, beside: str) -> Callable[[str], list[str]]:
    """From a name in a table to the files in `folder` that it may stand for, as keys."""
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
        near = {key: _shared(parts[:-1], _loose(key).split(os.sep)[:-1]) for key in files.get(parts[-1], ())}
        return [key for key, shared in near.items() if shared == max(near.values())]

    return find


def _shared(parts: Sequence[str], others: Sequence[str]) -> int:
    """How many of the last parts of two paths are the same."""
    same = [a == b for a, b in zip(reversed(parts), reversed(others), strict=False)]
    return (*same, False).index(False)


def _loose(name: str) -> str:
    """A path but for case, Unicode form, and the encoding of names that are no UTF-8."""
    return composed(os.fsencode(name).decode("cp1252", "replace") if not name.isprintable() else name).casefold()


def _labelled(
    table: Table, given: Sequence[str | None], find: Callable[[str], list[str]]
) -> Iterator[tuple[int, str, str, str]]:
    """(line, file, class, split) of each row."""
    width = len(table.rows[0][1]) if table.rows else len(table.header)
    chosen = [None if name is None else _given(table, name, width) for name in given]
    file = _file_column(table, find, width) if chosen[0] is None else chosen[0]
    split, to_split = _split_column(table, chosen[2], width, {file, chosen[1]})
    rest = [c for c in range(width) if c not in (file, split)]
    label = _named(table, LABEL_COLUMNS, rest) if chosen[1] is None else chosen[1]
    hot = _one_hot(table, rest) if label is None else []
    if label is None and not hot and len(rest) == 1 and file is not None and table.rows:
        label = rest[0]
    if file is None or (label is None and not hot):
        raise table.refuse(_unclear(table, width))
    classes = f"one of {len(hot)} columns of 0 and 1" if label is None else table.called(label)
    table.notes.append(
        f"columns: files {table.called(file)}, classes {classes}"
        + (f", splits {table.called(split)}" if split is not None else "")
    )
    unlabelled = 0
    for line, row in table.rows:
        part = to_split(row[split], line) if split is not None else ""
        name = _hot_label(table, line, row, hot) if label is None else composed(row[label])
        if row[file] and not name and part == "test":
            unlabelled += 1
        elif not row[file] or not name:
            raise table.refuse(f", line {line}: a file and its label are needed")
        else:
            yield line, row[file], name, part
    if unlabelled:
        table.notes.append(f"{unlabelled} test photos without a label are not used")


def _unclear(table: Table, width: int) -> str:
    if table.rows and not table.header:
        return f" has {width} columns and no header: name them by number, such as --file-column 1 --label-column 2"
    return (
        ' needs a header with a column "file" and a column "label"; it has: '
        f"{printable(', '.join(table.header)) or 'nothing'}; or name them with --file-column and --label-column"
    )


def _given(table: Table, name: str, width: int) -> int:
    header = [header_key(one) for one in table.header]
    if header_key(name) in header:
        return header.index(header_key(name))
    if name.isdigit() and 1 <= int(name) <= width:
        return int(name) - 1
    guess = nearest(name, table.header, n=1)
    hint = (
        f'did you mean "{printable(guess[0])}"'
        if guess
        else f"it has: {printable(', '.join(table.header)) or f'{width} columns'}"
    )
    raise table.refuse(f' has no column "{printable(name)}": {hint}')


def _named(table: Table, names: Sequence[str], columns: Sequence[int]) -> int | None:
    header = [header_key(one) for one in table.header]
    return next((c for name in names for c in columns if header[c : c + 1] == [name]), None)


def _file_column(table: Table, find: Callable[[str], list[str]], width: int) -> int | None:
    """Of the columns called so, or else of all, the one in which most files are found."""
    header = [header_key(one) for one in table.header]
    named = [c for name in FILE_COLUMNS for c in range(width) if header[c : c + 1] == [name]]
    hits = {c: sum(bool(find(cell)) for cell in table.cells(c)) for c in named or range(width)}
    best = max(hits, key=hits.__getitem__, default=None)
    return best if named or (best is not None and hits[best]) else None


def _split_column(
    table: Table, given: int | None, width: int, taken: set[int | None]
) -> tuple[int | None, Callable[[str, int], str]]:
    """The column of splits, and what reads its cells."""
    free = [c for c in range(width) if c not in taken]
    c = _named(table, SPLIT_COLUMNS, free) if given is None else given
    if c is None and not table.header:
        c = next((c for c in free if all(_split(cell) for cell in table.cells(c))), None)
    flag = header_key(table.header[c]).removeprefix("is_") if c is not None and table.header else ""
    flagged = table.header and c is not None and header_key(table.header[c]).startswith("is_")
    kinds = split_of(flag) if flagged else None
    yes, no = (kinds[0], "test" if kinds[0] == "train" else "train") if kinds else ("", "")

    def read(cell: str, line: int) -> str:
        plain = cell.casefold()
        if kinds and plain in _TRUE | _FALSE:
            return yes if plain in _TRUE else no
        split = _split(cell)
        if split is None:
            raise table.refuse(f', line {line}: split "{printable(cell)}" is not train, val or test')
        return split

    sure = given is not None or (c is not None and table.header and header_key(table.header[c]) in _SURE)
    if c is not None and not sure:
        try:
            for line, row in table.rows:
                read(row[c], line)
        except InputError as error:
            table.notes.append(f"{table.called(c)} is not used as a split: {error}")
            c = None
    return c, read


def _split(cell: str) -> str | None:
    found = split_of(cell) if cell else ("", "")
    return found[0] if found and not found[1] else None


def _one_hot(table: Table, columns: Sequence[int]) -> list[int]:
    """The columns of 0 and 1, where there are several and each has a name."""
    hot = [c for c in columns if table.header and set(table.cells(c)) <= {"0", "1", "0.0", "1.0"}]
    return hot if len(hot) > 1 and table.rows else []


def _hot_label(table: Table, line: int, row: Sequence[str], hot: Sequence[int]) -> str:
    ones = [c for c in hot if row[c] in ("1", "1.0")]
    if len(ones) != 1:
        raise table.refuse(f", line {line}: {len(ones)} of the {len(hot)} columns of classes are 1, expected one")
    return composed(table.header[ones[0]])
