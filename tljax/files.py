"""Files that are written whole or not at all, and read only where reading them ends; the cache and where it lies."""

import contextlib
import json
import os
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import platformdirs

from tljax.errors import InputError, refuse

_MOST_COMPILED = 1 << 30  # bytes; an ideal image takes 1.5 MB

PAGE = "report.html"
"""Every folder of results holds this page; a folder that does not is never replaced."""


def cache_dir() -> Path:
    """Where downloads and other things that can be made again are kept: TLJAX_CACHE, or the user's cache folder.

    >>> import os
    >>> os.environ["TLJAX_CACHE"] = "elsewhere"
    >>> tljax.weights.cache_dir().name
    'elsewhere'
    """
    return Path(os.environ.get("TLJAX_CACHE") or platformdirs.user_cache_dir("tljax"))


def keep_compiled() -> None:
    """Keeps what XLA compiles in the cache folder, or in $JAX_COMPILATION_CACHE_DIR: a second run starts quickly.

    In the cache folder 1 GiB at most: what was used longest ago goes first. JAX's own bound needs another package, and
    stumbles over what was kept without it.
    """
    import jax

    if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore[reportAttributeAccessIssue]: at run time it is
        folder = cache_dir() / "compiled"
        _keep_latest(folder, _MOST_COMPILED)
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # many small ones add up
    _tell_of_compiling()


def _keep_latest(folder: Path, most: int) -> None:
    """Drops the files of a folder that were used longest ago, so that the others take `most` bytes at most."""
    kept = 0
    with contextlib.suppress(OSError):  # there is no such folder yet, or another process drops the same
        states = [(entry.stat(), entry.path) for entry in os.scandir(folder)]
        for state, path in sorted(states, key=lambda one: -max(one[0].st_atime, one[0].st_mtime)):
            kept += state.st_size
            if kept > most:
                os.unlink(path)


@cache
def _tell_of_compiling() -> None:
    """Has process 0 write a line to stderr, once, when something is compiled for more than a second."""
    import jax

    told = threading.Event()
    waiting: list[threading.Timer] = []

    def tell() -> None:
        if not told.is_set() and jax.process_index() == 0:
            told.set()
            where = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]: at run time it is
            print(f'compiling, which is kept in "{where}" for the next time', file=sys.stderr, flush=True)

    def begins(event: str, **_: Any) -> None:
        if event == "/jax/compilation_cache/compile_requests_use_cache" and not told.is_set():
            timer = threading.Timer(1.0, tell)
            timer.daemon = True
            timer.start()
            waiting.append(timer)

    def ends(event: str, duration_secs: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration" and waiting:
            waiting.pop().cancel()

    jax.monitoring.register_event_listener(begins)
    jax.monitoring.register_event_duration_secs_listener(ends)


@contextlib.contextmanager
def replacing(path: str | os.PathLike, *, folder: bool = False) -> Iterator[Path]:
    """Gives a temporary name beside `path`; what was written there becomes `path` when the block ends well.

    Works for a file and for a folder, which is created with `folder`, or else by the block. On an error nothing is left
    behind, and an existing `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name[:40]}-") as scratch:
        part = Path(scratch) / path.name
        if folder:
            part.mkdir()
        yield part
        if path.is_dir() and part.is_dir():
            os.replace(path, Path(scratch) / "replaced")
        os.replace(part, path)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes UTF-8, whole or not at all; what UTF-8 cannot say, of a file's odd name, is written with a backslash."""
    with replacing(path) as part:
        part.write_text(text, "utf-8", errors="backslashreplace", newline="\n")


def write_json(path: str | os.PathLike, document: Any) -> None:
    """Writes JSON for people, indented, as `write_text` does."""
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def check_out(path: str | os.PathLike, *, overwrite: bool, suffix: str = "", marker: str = PAGE) -> Path:
    """Refuses, before any work, an output that exists or cannot be written.

    Args:
        overwrite: an existing file or folder may be replaced.
        suffix: what the name of a file must end with, "" for anything.
        marker: the file without which a folder is something else, and is never replaced.

    Raises:
        InputError: it exists and may not be replaced, it is a folder of something else, it has another suffix, or its
            folder is not writable or full.
    """
    path = Path(os.path.expanduser(path))
    foreign = overwrite and path.is_dir() and any(path.iterdir()) and not (path / marker).is_file()
    refuse(
        {
            f'"{path}" should end with {suffix}': suffix and path.suffix.lower() != suffix,
            f'"{path}" exists: pass --overwrite to replace it, or another name': path.exists() and not overwrite,
            f'"{path}" is a folder: name a {suffix} file': suffix and path.is_dir(),
            f'"{path}" has no {marker}, so it was not written by tljax and is not replaced: give another name': foreign,
        }
    )
    try:
        made = [folder for folder in path.parents if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
        for folder in made:
            folder.rmdir()
    except OSError as error:
        raise InputError(f'cannot write "{path}": {error.strerror or error}') from None
    return path


def read_regular(path: str | os.PathLike, *, most: int) -> bytes:
    """The content of a file that somebody else may have put there: no device and no pipe, which may never end.

    Raises:
        OSError: it is missing, no regular file, or larger than `most` bytes.
    """
    waits_for_none = getattr(os, "O_NONBLOCK", 0)  # Windows has neither it nor such pipes
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | waits_for_none)) as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise OSError("it is no regular file")
        if state.st_size > most:
            raise OSError(f"larger than {most >> 20} MiB")
        return file.read()
