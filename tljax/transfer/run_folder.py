"""The RUN folder while it is written: in OUT.partial, from where it moves to OUT when it is whole.

OUT.partial holds `run`, the RUN to be; `states`, from which a resumed run goes on; and, for the moment in which one
RUN takes the place of another, that other one as `replaced`. So whenever the process is killed, OUT is a whole RUN
or is not there, and what is needed to go on is in OUT.partial.
"""

import contextlib
import csv
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tljax.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

CONFIG, CLASSES, LOG = "config.json", "classes.json", "metrics.jsonl"
SKIPPED, TRAINED, FIXES = "skipped.csv", "trained_on.txt", "fixes.csv"
UNKNOWN, SETS = "unknown.safetensors", "sets.safetensors"
STATES = "states"
RUN, _REPLACED = "run", "replaced"


def check_out(out: str | Path, *, overwrite: bool, resume: bool = False) -> Path:
    """The absolute path of the RUN to be written; touches nothing.

    Raises:
        InputError: it exists and may not be replaced; or an interrupted run is there, and neither `resume` nor
            `overwrite` says what to do with it; or OUT.partial is something else.
    """
    path = Path(os.path.expanduser(out)).absolute()
    partial = partial_folder(path)
    try:
        exists, folder = path.exists() or path.is_symlink(), path.is_dir()
        interrupted = _interrupted(partial)
        strange = partial.exists() and (not partial.is_dir() or _names(partial) - {RUN, STATES, _REPLACED})
    except (OSError, ValueError) as error:
        raise InputError(f'cannot write "{out}": {getattr(error, "strerror", None) or error}') from None
    if strange:
        raise InputError(f'"{partial}" is in the way, and is no interrupted run: rename it, or give another --out')
    if exists and not folder:
        raise InputError(f'"{out}" is a file: give another --out')
    if exists and not (overwrite or resume):
        raise InputError(f'"{out}" exists already: give another --out, or replace it with --overwrite')
    if exists and _names(path) and not (path / CONFIG).is_file():
        raise InputError(
            f'"{out}" is no RUN (it has no {CONFIG}), so --overwrite does not replace it: give another --out'
        )
    if interrupted and not (resume or overwrite):
        raise InputError(
            f'an interrupted run is in "{partial}": continue it with --resume, or drop it with --overwrite'
        )
    if interrupted and exists and not overwrite:
        raise InputError(f'"{out}" exists beside the interrupted "{partial}": give --overwrite too, or another --out')
    return path


@contextlib.contextmanager
def run_folder(out: str | Path, *, overwrite: bool, resume: bool = False) -> Iterator[Path]:
    """A folder to write a RUN into; it becomes `out` at the end, and disappears if anything fails before.

    It stays, for `resume`, if the state of a training step was saved in the `STATES` beside it; CONFIG and LOG
    are then found as they were left.

    Raises:
        InputError: as `check_out`; it cannot be written; another process is writing it.
    """
    path = check_out(out, overwrite=overwrite, resume=resume)
    partial = partial_folder(path)
    folder = partial / RUN
    try:
        partial.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f'cannot write "{out}": {reason}; give another --out') from None
    with _alone(partial):
        kept = {CONFIG, LOG} if resume and _interrupted(partial) else set()
        if not kept:
            shutil.rmtree(partial / STATES, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        for name in _names(folder) - kept:
            _remove(folder / name)
        try:
            yield folder
            _move(partial, path)
        except BaseException:
            if not _saved_steps(partial):
                _remove(folder)
                _remove(partial / STATES)
                with contextlib.suppress(OSError):  # an older RUN may wait there
                    partial.rmdir()
            raise


def drop_leftovers(path: Path) -> None:
    """Removes OUT.partial if a process was killed just after its RUN moved from there to `path`, in clearing up."""
    partial = partial_folder(path)
    with contextlib.suppress(InputError, OSError), _alone(partial):  # it is in use, or not there
        if not (partial / RUN).exists():
            shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for what is written by a process that is not the first of several: it is the same, and is dropped."""
    with tempfile.TemporaryDirectory(prefix="tljax-") as scratch:
        folder = Path(scratch) / RUN
        folder.mkdir()
        yield folder


def partial_folder(path: Path) -> Path:
    """Where the RUN at `path` is written."""
    return path.with_name(f"{path.name or 'run'}.partial")


def write_skipped(path: Path, skipped: Sequence[Any]) -> None:
    """A table of the photos that could not be read: file, reason."""
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "reason"])
        table.writerows((one.file, one.reason) for one in skipped)


def read_skipped(path: Path) -> set[str]:
    """The files in a table that `write_skipped` wrote; none where it is missing."""
    if not path.is_file():
        return set()
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return {row["file"] for row in csv.DictReader(file) if row.get("file")}


@contextlib.contextmanager
def _alone(partial: Path) -> Iterator[None]:
    """Holds a lock on a folder; the system lets it go whenever the process ends.

    Raises:
        InputError: another process holds it.
    """
    if fcntl is None or sys.platform == "win32":
        yield
        return
    handle = os.open(partial, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f'another process is writing "{partial}": wait for it, or give another --out') from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def _saved_steps(partial: Path) -> list[str]:
    states = partial / STATES
    return [name for name in _names(states) if name.isdigit()] if states.is_dir() else []


def _interrupted(partial: Path) -> bool:
    return bool(_saved_steps(partial)) and (partial / RUN / CONFIG).is_file()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _move(partial: Path, path: Path) -> None:
    """Puts the finished RUN in its place; what was there before goes only once the new one is there."""
    replaced = partial / _REPLACED
    if path.exists():
        _remove(replaced)
        path.rename(replaced)
    try:
        (partial / RUN).rename(path)
    except OSError:
        if replaced.exists():
            replaced.rename(path)
        raise
    shutil.rmtree(partial, ignore_errors=True)
