"""Progress of long loops, on stderr: a bar on a terminal, now and then a plain line elsewhere, or nothing."""

import functools
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from functools import partial
from typing import IO, Any, TypeVar, cast

Track = Callable[..., Iterable]
Function = TypeVar("Function", bound=Callable)


def untracked(items: Iterable, description: str = "", total: int | None = None) -> Iterable:
    """The items, untouched: a `Track` that shows nothing."""
    return items


def shows_progress(function: Function) -> Function:
    """The function, whose argument `track` may also be True: for progress on stderr, as the commands show it."""

    @functools.wraps(function)
    def wrapped(*args: Any, track: Track | bool = untracked, **options: Any) -> Any:
        if track is not True:
            return function(*args, track=track or untracked, **options)
        with tracking() as shown:
            return function(*args, track=shown, **options)

    return cast(Function, wrapped)


def say(track: Track, *lines: str) -> None:
    """Writes lines to stderr, where progress is shown at all."""
    if track is not untracked:
        for line in lines:
            print(line, file=sys.stderr, flush=True)


@contextmanager
def tracking(*, quiet: bool = False, stream: IO[str] | None = None, every: float = 5.0) -> Iterator[Track]:
    """Gives a `track(items, description, total=None)` whose display is gone when the block ends, also by an error.

    On a terminal it draws a bar for each loop that runs; elsewhere it writes a line at most `every` seconds while a
    loop runs, and one when it is done.

    Args:
        quiet: show nothing.
        stream: where to; by default stderr.
    """
    shown_on = sys.stderr if stream is None else stream
    if quiet:
        yield untracked
    elif not shown_on.isatty():
        yield partial(_lines, shown_on, every)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(file=shown_on), transient=True) as progress:
            yield partial(_bars, progress)


def _bars(progress: Any, items: Iterable, description: str, total: int | None = None) -> Iterator:
    start = time.monotonic()
    task = progress.add_task(description, total=_length(items, total))
    done = 0
    try:
        for done, item in enumerate(items, 1):
            yield item
            progress.update(task, completed=done)
    finally:
        progress.remove_task(task)
    progress.console.print(_summary(description, done, None, start), markup=False, highlight=False)


def _lines(stream: IO[str], every: float, items: Iterable, description: str, total: int | None = None) -> Iterator:
    start = written = time.monotonic()
    total = _length(items, total)
    done = 0
    for done, item in enumerate(items, 1):
        yield item
        if time.monotonic() - written >= every:
            written = time.monotonic()
            print(_summary(description, done, total, start), file=stream, flush=True)
    print(_summary(description, done, None, start), file=stream, flush=True)


def _summary(description: str, done: int, total: int | None, start: float) -> str:
    count = f"{done:,}" if total is None else f"{done:,}/{total:,}"
    return f"{description}: {count} in {time.monotonic() - start:.1f} s"


def _length(items: Iterable, total: int | None) -> int | None:
    return len(items) if total is None and isinstance(items, Sized) else total
