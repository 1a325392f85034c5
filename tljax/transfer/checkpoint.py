"""Trees of arrays on disk: the only module that imports Orbax."""

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from orbax.checkpoint import v1 as ocp

from tljax.errors import InputError

Tree = Any

logging.getLogger("absl").setLevel(logging.CRITICAL)  # what goes wrong is raised as well


def save(path: Path, tree: Tree) -> None:
    """Writes a tree of arrays to the new folder `path`; it appears whole or not at all.

    Several processes call it together, with the same NumPy arrays and a `path` on a disk that all of them see.

    Raises:
        OSError: the folder cannot be written.
    """
    with _written(path):
        ocp.save(str(Path(path).resolve()), tree)


def restore(path: Path, abstract: Tree) -> Tree:
    """The tree that `save` wrote.

    Args:
        abstract: arrays or `jax.ShapeDtypeStruct`s: the structure and shapes that are expected, and the dtypes
            that the result has.
    Raises:
        InputError: no checkpoint there, a damaged one, or one of another structure or shape.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f'no checkpoint at "{path}": the folder is missing')
    odd = next((inside for inside in sorted(path.rglob("*")) if not (inside.is_file() or inside.is_dir())), None)
    if odd is not None:  # a pipe or a device, of which the reading may never end
        raise InputError(f'cannot read the checkpoint "{path}": "{odd.name}" is no regular file')
    with _readable(path):
        return ocp.load(str(path.resolve()), _placed(abstract))


class Checkpoints:
    """The states of a run under way, by step, in one folder; a state that was cut off in writing is no state.

    A state is any tree with a `step`. It is copied on the device at once and written behind the steps that follow,
    so that neither the device nor the loop waits; a context manager, which ends when all is on disk. Several processes
    write and read a state together, on a disk that all of them see.

    Args:
        folder: made where it is missing.
        keep: how many of the latest stay.
        best: says which step stays as well, None for none; asked at each saving.
    """

    def __init__(self, folder: Path, *, keep: int = 2, best: Callable[[], int | None] = lambda: None):
        policies = ocp.training.preservation_policies
        policy = policies.AnyPreservationPolicy([policies.LatestN(keep), _Named(best)])
        self._folder = Path(folder).resolve()
        self._checkpointer = ocp.training.Checkpointer(
            str(self._folder),
            preservation_policy=policy,  # pyright: ignore[reportArgumentType]: Orbax' own policies miss its protocol
            cleanup_tmp_directories=True,
        )
        self._taken: Tree | None = None
        self._writing: Any = None

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def take(self, state: Tree) -> None:
        """Copies a state, whose own buffers may be given away from now on; `write` puts it on disk."""
        self.write()
        self._taken = jax.tree.map(jnp.copy, state)

    def write(self) -> None:
        """Begins to write what was taken: once the device has got the next step, it does not wait for this.

        Raises:
            OSError: the state before could not be written.
        """
        state, self._taken = self._taken, None
        if state is None or int(state.step) == self.latest():
            return
        with _written(self._folder):
            self._writing = self._checkpointer.save_async(int(state.step), state, force=True, overwrite=True)

    def latest(self) -> int | None:
        """The last step that was saved; None where there is none."""
        latest = self._checkpointer.latest
        return None if latest is None else int(latest.step)

    def restore(self, abstract: Tree, step: int | None = None) -> Tree:
        """The state of a step, or the latest, of the structure of `abstract`.

        Raises:
            InputError: it does not fit `abstract`, or cannot be read.
        """
        if self._writing is not None:
            with _written(self._folder):
                self._writing.result()
        with _readable(self._folder):
            return self._checkpointer.load(step, _placed(abstract))

    def close(self) -> None:
        """Waits until what is being written is on disk, and frees the threads behind it; raises as `write`."""
        with _written(self._folder):
            self._checkpointer.close()


@dataclass(frozen=True)
class _Named:
    """A policy of Orbax: the step that a function names stays."""

    name: Callable[[], int | None]

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        step = self.name()
        return [one.step == step for one in checkpoints]


def _placed(abstract: Tree) -> Tree:
    """The abstract tree with a sharding on each leaf: without one, Orbax gives tuples back as lists."""
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def leaf(value):
        sharding = getattr(value, "sharding", None) or here
        return jax.ShapeDtypeStruct(value.shape, value.dtype, sharding=sharding)

    return jax.tree.map(leaf, abstract)


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    """A full disk is an OSError: the library beneath Orbax puts the system's code into the text of a ValueError."""
    try:
        yield
    except ValueError as error:
        code = re.search(r"os_error_code='(\d+)'", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from error


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever goes wrong inside a foreign folder becomes one line; Orbax has no common class of error."""
    try:
        yield
    except Exception as error:
        reason = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise InputError(f'cannot read the checkpoint "{path}": {reason[0][:200]}') from error
