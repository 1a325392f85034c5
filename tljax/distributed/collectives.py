"""What processes tell each other: each has a part of the rows, or process 0 has something that all need.

All processes call these in the same order, and get the same. With one process nothing is sent.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from tljax.distributed import join
from tljax.errors import InputError

Tree = Any

_BLOCK = 1 << 22


def alone() -> bool:
    """Whether there is but one process."""
    return join.processes()[1] == 1


def share(count: int) -> slice:
    """Which of `count` rows are this process's: every n-th."""
    process, processes = join.processes()
    return slice(process, count, processes)


def check_same(**facts: str) -> None:
    """What must be equal everywhere: the photos, the weights, the options.

    Raises:
        InputError: in the processes where something is not as in process 0; names it.
    """
    expected = from_first(lambda: facts)
    for name, value in facts.items():
        if value != expected[name]:
            raise InputError(
                f"process {join.processes()[0]} has other {name} than process 0: give all of them the same"
            )


def gather_rows(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Arrays of (rows, ...) with the rows of all processes, one process after the other; each may have any number."""
    if alone():
        return arrays
    return tuple(
        np.frombuffer(bytearray().join(_gather(array.tobytes())), array.dtype).reshape(-1, *array.shape[1:])
        for array in arrays
    )


def gather_lists(document: Sequence[Any]) -> list[Any]:
    """Lists that JSON can hold, end to end in the order of the processes."""
    if alone():
        return list(document)
    return [item for part in _gather(json.dumps(document).encode()) for item in json.loads(part)]


def from_first(function: Callable[[], Any]) -> Any:
    """What `function`, called in process 0 alone, returns; JSON must be able to hold it."""
    if alone():
        return function()
    return json.loads(_send(json.dumps(function()).encode() if join.first() else b""))


def file_from_first(path: Path) -> None:
    """Makes a file what it is in process 0; an absent one stays absent there, and is empty elsewhere."""
    if alone():
        return
    content = _send(path.read_bytes() if join.first() and path.exists() else b"")
    if not join.first():
        path.write_bytes(content)


def arrays_from_first(tree: Tree) -> Tree:
    """A tree of NumPy arrays as it is in process 0; elsewhere only shapes and dtypes count."""
    if alone():
        return tree
    leaves, structure = jax.tree.flatten(tree)
    content = _send(b"".join(leaf.tobytes() for leaf in leaves))
    ends = np.cumsum([leaf.nbytes for leaf in leaves])
    found = [
        np.frombuffer(content[end - leaf.nbytes : end], leaf.dtype).reshape(leaf.shape)
        for leaf, end in zip(leaves, ends, strict=True)
    ]
    return jax.tree.unflatten(structure, found)


def _gather(content: bytes) -> list[bytes]:
    """The bytes of each process."""
    join.meet("exchange")  # those that still read photos: a collective would give up after a while
    lengths = [int.from_bytes(row.tobytes()) for row in multihost_utils.process_allgather(_length(content))]
    parts = [bytearray() for _ in lengths]
    for block in _blocks(content, max(lengths)):
        for part, row in zip(parts, multihost_utils.process_allgather(block), strict=True):
            part += row.tobytes()
    return [bytes(part[:length]) for part, length in zip(parts, lengths, strict=True)]


def _send(content: bytes) -> bytes:
    """The bytes of process 0."""
    join.meet("exchange")  # those that still read photos: a collective would give up after a while
    length = int.from_bytes(multihost_utils.broadcast_one_to_all(_length(content)).tobytes())
    parts = [multihost_utils.broadcast_one_to_all(block).tobytes() for block in _blocks(content, length)]
    return b"".join(parts)[:length]


def _blocks(content: bytes, length: int) -> Iterator[np.ndarray]:
    """`length` bytes, the first of `content`, in arrays of one of few sizes: each size is a program to compile."""
    size = min(_BLOCK, 1 << max(length - 1, 0).bit_length())
    for start in range(0, length, size):
        yield np.frombuffer(content[start : start + size].ljust(size, b"\0"), np.uint8)


def _length(content: bytes) -> np.ndarray:
    """As eight bytes, since JAX's integers have 32 bits by default."""
    return np.frombuffer(len(content).to_bytes(8), np.uint8)
