"""The RUN folder while it is written: beside its place, under another name, moved there when it is whole."""

import contextlib
import csv
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tljax.errors import InputError

CONFIG = "config.json"
STATES = "states"


def check_out(out: str | Path, *, overwrite: bool, resume: bool = False) -> Path:
    """The absolute path of the RUN to be written; touches nothing.

    Raises:
        InputError: it exists and may not be replaced; or an interrupted run is there, and neither `resume` nor
            `overwrite` says what to do with it.
    """
    path = Path(out).expanduser().absolute()
    try:
        exists, folder = path.exists() or path.is_symlink(), path.is_dir()
        interrupted = _saved_steps(_partial(path))
    except (OSError, ValueError) as error:
        raise InputError(f'cannot write "{out}": {getattr(error, "strerror", None) or error}') from None
    if exists and not folder:
        raise InputError(f'"{out}" is a file: give another --out')
    if exists and resume:
        raise InputError(f'"{out}" is there already, so nothing is left to resume: give another --out')
    if exists and not overwrite:
        raise InputError(f'"{out}" exists already: give another --out, or replace it with --overwrite')
    if exists and any(path.iterdir()) and not (path / CONFIG).is_file():
        raise InputError(
            f'"{out}" is no RUN (it has no {CONFIG}), so --overwrite does not replace it: give another --out'
        )
    if interrupted and not (resume or overwrite):
        raise InputError(
            f'an interrupted run is in "{_partial(path)}": continue it with --resume, or drop it with --overwrite'
        )
    return path


@contextlib.contextmanager
def run_folder(out: str | Path, *, overwrite: bool, resume: bool = False) -> Iterator[Path]:
    """A folder to write a RUN into; it becomes `out` at the end, and disappears if anything fails before.

    It stays, for `resume`, only if it holds the state of a training step.

    Raises:
        InputError: as `check_out`; it cannot be written.
    """
    path = check_out(out, overwrite=overwrite, resume=resume)
    partial = _partial(path)
    try:
        if not resume:
            shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f'cannot write "{out}": {reason}; give another --out') from None
    try:
        yield partial
        shutil.rmtree(partial / STATES, ignore_errors=True)
        _move(partial, path)
    except BaseException:
        if not _saved_steps(partial):
            shutil.rmtree(partial, ignore_errors=True)
        raise


def write_json(path: Path, document: Any) -> None:
    """JSON for people: indented, UTF-8; written under another name, then renamed."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8", errors="backslashreplace")
    part.replace(path)


def write_skipped(path: Path, skipped: Sequence[Any]) -> None:
    """A table of the photos that could not be read: file, reason."""
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "reason"])
        table.writerows((one.file, one.reason) for one in skipped)


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name or 'run'}.partial")


def _saved_steps(partial: Path) -> list[str]:
    states = partial / STATES
    return [entry.name for entry in states.iterdir() if entry.name.isdigit()] if states.is_dir() else []


def _move(partial: Path, path: Path) -> None:
    """Puts the finished folder in its place; what was there before goes only once the new one can come."""
    if not path.exists():
        partial.rename(path)
        return
    old = path.with_name(f"{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    path.rename(old)
    partial.rename(path)
    shutil.rmtree(old, ignore_errors=True)
