"""Copies of photos, exact or nearly so: recompressed, resized, mirrored, cropped a little, brighter."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tljax.data.sources import Photos, photo_source
from tljax.progress import Track, shows_progress, untracked
from tljax.transfer.trust.alignment import detail_correlation
from tljax.transfer.trust.appearance import SIDE, Appearance, look_at

_ALIKE = 0.7
_MAYBE, _NEIGHBOURS = 0.6, 4
_FREQUENCIES = 8
_FLAT = 0.02
_CHUNKS = (32, 1024)
_ROWS = 512


@dataclass(frozen=True)
class Copies:
    """A photo and its copies.

    index: their places among the photos given; the largest picture first, to be kept, then the others in order.
    similarity: of each to the most similar of the others, in (0, 1]; 1 for equal files.

    >>> (group,) = tljax.transfer.find_duplicates([photos[0], photos[1], photos[0]])
    >>> group.index
    (0, 2)
    """

    index: tuple[int, ...]
    similarity: tuple[float, ...]


@shows_progress
def find_duplicates(photos: Photos, *, track: Track | bool = untracked) -> list[Copies]:
    """Groups of photos that show the same picture.

    Found are equal files, and pictures that were compressed or resized again, mirrored, made brighter or darker, or
    cropped by a twentieth of each side (100 of each were all found among 2,000 photos). Coarse frequencies propose for
    each photo up to four others, and its mirror image as many, which are laid upon it and compared in detail
    (`alignment`). Pictures of a short side below 64 pixels, and plain areas, are compared as files only.

    Args:
        photos: a path, a folder, a list of paths, bytes, PIL images or uint8 arrays, or a `Source`.
        track: True shows progress on stderr; or a function that sees the photos, as in `tljax.progress`.
    Returns:
        the groups, of two or more, in the order of their first photos; what cannot be read is in none.
    Raises:
        InputError: no photo; see `data.photo_source`.

    >>> tljax.transfer.find_duplicates([photos[0], photos[1], photos[0]])
    [Copies(index=(0, 2), similarity=(1.0, 1.0))]
    """
    shown: Any = track  # a `Track` by now
    return copies_among(look_at(photo_source(photos), track=shown), track=shown)


def copies_among(seen: Appearance, *, track: Track = untracked) -> list[Copies]:
    """`find_duplicates`, of photos that were looked at."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(seen.index)
    equal = _equal_files(seen.digests)
    pairs, similarity = _near_copies(seen, np.unique(equal), track)
    pairs = np.concatenate([pairs, np.stack([np.arange(count), equal], 1)[equal != np.arange(count)]])
    similarity = np.concatenate([similarity, np.ones(len(pairs) - len(similarity))])
    best = np.zeros(count)
    np.maximum.at(best, pairs.ravel(), np.repeat(similarity, 2))
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, group = connected_components(graph, directed=False)
    groups: dict[int, list[int]] = {}
    for row in np.flatnonzero(best > 0).tolist():
        groups.setdefault(int(group[row]), []).append(row)
    area = seen.sides.prod(1)
    found = []
    for rows in groups.values():
        kept = max(rows, key=lambda row: (area[row], -row))
        rows = [kept, *(row for row in rows if row != kept)]
        names, alike = (tuple(values[rows].tolist()) for values in (seen.index, best.round(4)))
        found.append(Copies(names, alike))
    return found


def _equal_files(digests: tuple[str, ...]) -> Int[np.ndarray, " n"]:
    """The first row with the same content."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(digest, row) for row, digest in enumerate(digests)], np.int64)


def _near_copies(
    seen: Appearance, rows: Int[np.ndarray, " m"], track: Track
) -> tuple[Int[np.ndarray, "p 2"], Float[np.ndarray, " p"]]:
    """Pairs of rows that show the same picture, perhaps mirrored, and how alike they are."""
    rows = rows[(seen.contrast[rows] > _FLAT) & (seen.sides[rows].min(1, initial=SIDE) >= SIDE)]
    pairs, alike = [np.zeros((0, 2), np.int64)], [np.zeros(0)]
    if len(rows) < 2:
        return pairs[0], alike[0]
    coarse = {flip: _coarse(seen.grey[rows], flip=flip) for flip in (False, True)}
    starts = range(0, len(rows), _ROWS)
    for start in track(starts, "compare the photos", len(starts)):
        block = coarse[False][start : start + _ROWS]
        for flip in (False, True):
            left, right = _neighbours(block, coarse[flip], start)
            for some in _chunks(len(left)):
                of_left, of_right = rows[left[some] + start], rows[right[some]]
                other = seen.grey[of_right]
                score = _compare(seen.grey[of_left], other[:, :, ::-1] if flip else other)
                kept = score >= _ALIKE
                pairs.append(np.stack([of_left, of_right], 1)[kept])
                alike.append(np.minimum(score[kept], 0.9999))  # 1 is for equal files
    return np.concatenate(pairs), np.concatenate(alike)


def _coarse(grey: np.ndarray, *, flip: bool) -> Float[np.ndarray, "m f"]:
    """The lowest frequencies of each picture, without its mean, as vectors of length 1."""
    from scipy.fft import dctn

    small = grey.reshape(len(grey), SIDE // 4, 4, SIDE // 4, 4).mean((2, 4), dtype=np.float32)
    kept = np.asarray(dctn(small, axes=(1, 2), norm="ortho"))[:, :_FREQUENCIES, :_FREQUENCIES]
    order = np.arange(_FREQUENCIES)
    kept = kept * np.sqrt(np.hypot(order[:, None], order)) * np.where(flip & (order % 2 == 1), -1, 1)
    flat = kept.reshape(len(kept), -1).astype(np.float32)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def _neighbours(
    block: Float[np.ndarray, "b f"], coarse: Float[np.ndarray, "m f"], start: int
) -> tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"]]:
    """For each row of the block, which begins at `start`, the few most similar of the rows after it."""
    similar = block @ coarse.T
    similar[np.arange(len(coarse)) <= start + np.arange(len(block))[:, None]] = -1  # later ones only: each pair once
    most = min(_NEIGHBOURS, len(coarse))
    right = np.argpartition(similar, -most, axis=1)[:, -most:].ravel()
    left = np.repeat(np.arange(len(block)), most)
    kept = similar[left, right] > _MAYBE
    return left[kept], right[kept]


def _chunks(count: int) -> Iterator[slice]:
    size = _CHUNKS[-1]
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _compare(left: np.ndarray, right: np.ndarray) -> Float[np.ndarray, " b"]:
    """`detail_correlation` by programs for a few sizes of batches only."""
    count = len(left)
    missing = next(size for size in _CHUNKS if size >= count) - count
    padded = (np.concatenate([side, np.repeat(side[:1], missing, 0)]) for side in (left, right))
    return np.asarray(detail_correlation(*padded))[:count]
