"""Ordered batches of static shape, read and decoded by threads ahead of whoever takes them."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import SupportsIndex, TypeVar

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8

from tljax.data.images import DecodeError, preprocess
from tljax.data.source import Source
from tljax.data.sources import Photos, photo_source
from tljax.errors import InputError
from tljax.models.spec import ModelSpec

T = TypeVar("T")


@dataclass(frozen=True)
class Skipped:
    """A picture that could not be read: how it is called, why in one line, and its label (-1 unknown)."""

    file: str
    reason: str
    label: int


@dataclass(frozen=True)
class Batch:
    """`batch_size` pictures, ready for a network (which wants them as float32, divided by 255).

    Attributes:
        images: uint8 (b, s, s, 3), 0 where padded.
        labels: int32 (b,), -1 where unknown or padded.
        index: int32 (b,), into the source; -1 where padded.
        mask: bool (b,), False where padded; padding is found at the end of the last batch only.
        skipped: pictures met on the way to this batch that could not be read; they take no row.
    """

    images: UInt8[np.ndarray, "b s s 3"]
    labels: Int32[np.ndarray, " b"]
    index: Int32[np.ndarray, " b"]
    mask: Bool[np.ndarray, " b"]
    skipped: tuple[Skipped, ...]


def batches(
    source: Source,
    indices: Iterable[SupportsIndex],
    spec: ModelSpec,
    *,
    batch_size: int,
    threads: int | None = None,
    shard: tuple[int, int] = (0, 1),
) -> Iterator[Batch]:
    """The pictures at `indices`, in that order, as a network sees them.

    At most two batches of pictures are decoded ahead, so memory does not grow with the number of pictures.
    A last batch without any row occurs only to report pictures skipped after the last full one.

    Args:
        threads: how many decode; None for one for each core, at most 8.
        shard: (i, n): of every n * batch_size indices, this process takes the i-th batch_size. Side by side, the
            batches of n processes are those of one with n times the batch size, as long as no picture is skipped.
    """
    process, processes = shard
    mine = [int(i) for n, i in enumerate(indices) if n // batch_size % processes == process]
    rows: list[tuple[int, np.ndarray]] = []
    skipped: list[Skipped] = []
    results = in_order(lambda i: _seen(source, spec, i), mine, threads, ahead=2 * batch_size)
    for i, result in zip(mine, results, strict=True):
        if isinstance(result, str):
            skipped.append(Skipped(source.files[i], result, int(source.labels[i])))
            continue
        rows.append((i, result))
        if len(rows) == batch_size:
            yield _batch(source, rows, skipped, batch_size, spec.input_size)
            rows, skipped = [], []
    if rows or skipped:
        yield _batch(source, rows, skipped, batch_size, spec.input_size)


def load_images(photos: Photos, spec: ModelSpec) -> Float32[np.ndarray, "b s s 3"]:
    """Photos as the commands show them to a network: upright, resized, cropped, in [0, 1].

    Args:
        photos: a path, a folder, bytes of a file, a PIL image, a uint8 array (h, w, 3) or (b, h, w, 3), or a list.
        spec: of the network, `net.spec`; says how large, and how they are resized and cropped.
    Returns:
        (b, s, s, 3) float32, s = `spec.input_size`: what `net.apply` takes.
    Raises:
        InputError: no photo, or one that cannot be read (names the first, and why).

    >>> shown = tljax.load_images(["photos/cat/0.png", photos[1]], net.spec)
    >>> shown.shape, shown.dtype.name
    ((2, 32, 32, 3), 'float32')
    """
    source = photo_source(photos)
    (batch,) = batches(source, range(len(source.files)), spec, batch_size=len(source.files))
    check_readable(batch.skipped)
    return batch.images.astype(np.float32) / 255


def check_readable(skipped: Sequence[Skipped], way_out: str = "") -> None:
    """Refuses photos that could not be read.

    Args:
        way_out: what else can be done; ends the message.
    Raises:
        InputError: there is one; names the first, and why it cannot be read.
    """
    if skipped:
        more = f" (and {len(skipped) - 1} more)" if len(skipped) > 1 else ""
        raise InputError(f'"{skipped[0].file}" cannot be read: {skipped[0].reason}{more}{way_out}')


def digests(source: Source, indices: Iterable[SupportsIndex], *, threads: int | None = None) -> list[str]:
    """The content hash of each picture: of a file's bytes, or of an array's shape and values.

    Returns:
        hexadecimal BLAKE2b of 128 bits, in the order of `indices`; "" where a file cannot be read.
    """
    return list(in_order(lambda i: _digest(source, i), [int(i) for i in indices], threads, ahead=64))


def _seen(source: Source, spec: ModelSpec, i: int) -> np.ndarray | str:
    """What the network sees of a picture, or why it cannot be read."""
    return or_reason(lambda: preprocess(source.picture(i, short_side=spec.resize_size, white=spec.white), spec))


def or_reason(look: Callable[[], T]) -> T | str:
    """What `look` gives of a picture, or why that cannot be read."""
    try:
        return look()
    except DecodeError as error:
        return str(error)
    except FileNotFoundError:
        return "no such file"
    except (OSError, MemoryError) as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or error or type(error).__name__}"


def digest(data: bytes | np.ndarray) -> str:
    """The content hash of a file's bytes, or of an array's shape and values: hexadecimal BLAKE2b of 128 bits."""
    if isinstance(data, bytes):
        return hashlib.blake2b(data, digest_size=16).hexdigest()
    shape = repr((data.shape, data.dtype.str)).encode()
    return hashlib.blake2b(shape + np.ascontiguousarray(data).tobytes(), digest_size=16).hexdigest()


def _digest(source: Source, i: int) -> str:
    try:
        return digest(source.read(i))
    except (OSError, DecodeError):
        return ""


def _batch(
    source: Source, rows: list[tuple[int, np.ndarray]], skipped: list[Skipped], batch_size: int, size: int
) -> Batch:
    images = np.zeros((batch_size, size, size, 3), np.uint8)
    index = np.full(batch_size, -1, np.int32)
    for row, (i, image) in enumerate(rows):
        images[row], index[row] = image, i
    mask = index >= 0
    labels = np.where(mask, source.labels[index], -1).astype(np.int32)
    return Batch(images, labels, index, mask, tuple(skipped))


def in_order(function: Callable, items: Iterable, threads: int | None, *, ahead: int) -> Iterator:
    """`map(function, items)` by threads, with at most `ahead` results waiting."""
    pool = ThreadPoolExecutor(threads or min(os.cpu_count() or 1, 8), thread_name_prefix="tljax-data")
    waiting: deque = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
