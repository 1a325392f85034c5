"""Which photos train and which validate: as given, or drawn by name so that nothing else changes the draw."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tljax.data.source import Source
from tljax.data.tree import may_be_photo
from tljax.errors import InputError


def split(
    source: Source, *, val_fraction: float = 0.2, seed: int = 0, skip: Collection[int] | Mapping[int, str] = ()
) -> dict[str, np.ndarray]:
    """Indices of the training and validation photos, and of the test photos where data has all three.

    A split that came with the data is used: its test photos validate where it has no validation photos (the
    probe chooses its strength inside the training photos, so nothing is chosen on them). Otherwise photos are drawn
    class by class, in the order of a hash of the seed and their relative name: the place of the data, the
    order of a listing and the photos of other classes play no part.

    Of `source.groups`, which a draw would tear apart, all photos train; of those that a given split tears apart, the
    photos that train are left out.

    Args:
        val_fraction: of each class, rounded, at least one photo and never all; in (0, 1). With 0 all photos train where
            the data brings no split, and there is no "val".
        seed: another one gives another draw.
        skip: indices left out, such as photos known to be unreadable; perhaps with the reason of each.
    Returns:
        {"train": ...[, "val": ...][, "test": ...]}, int64, ascending, without unlabelled photos.
    Raises:
        InputError: classes with a single photo, or without a training photo (names all, and for each the first file
            that was left out and why); `val_fraction` out of range.

    >>> parts = tljax.data.split(tljax.data.open_source("photos"), val_fraction=0.5)
    >>> {name: len(indices) for name, indices in parts.items()}
    {'train': 4, 'val': 4}
    """
    if not 0 <= val_fraction < 1:
        raise InputError(f"val_fraction must be 0 or lie between 0 and 1, it is {val_fraction}")
    reasons = skip if isinstance(skip, Mapping) else dict.fromkeys(skip, "")
    usable = source.labels >= 0
    usable[list(skip)] = False
    given = {name: where[usable[where]] for name, where in source.splits.items()}
    given = {name: where for name, where in given.items() if len(where)}
    if "val" not in given and "test" in given:
        given["val"] = given.pop("test")
    fixed = "train" in given and "val" in given
    if fixed:
        others = np.concatenate([where for name, where in given.items() if name != "train"])
        given["train"] = given["train"][~_copied(source, given["train"], others)]
    pool = given.get("train", np.flatnonzero(usable))
    _check_counts(source, pool, reasons, least=1 if fixed or not val_fraction else 2, given="train" in given)
    if fixed:
        return given
    if not val_fraction:
        return given | {"train": pool}
    chosen = np.sort(np.fromiter(_draw(source, pool, val_fraction, seed), np.int64))
    chosen = chosen[~_copied(source, chosen, np.setdiff1d(pool, chosen))]
    return {"train": np.setdiff1d(pool, chosen), "val": chosen}


def without_small(source: Source, min_photos: int) -> Source:
    """`source` without the classes of fewer than `min_photos` training photos, whose photos count as unlabelled.

    Raises:
        InputError: `min_photos` below 1.
    """
    if min_photos < 1:
        raise InputError(f"--min-photos must be at least 1, it is {min_photos}")
    pool = source.labels[photos_by_name(source, source.splits.get("train", np.arange(len(source.files))))]
    counts = np.bincount(pool[pool >= 0], minlength=len(source.classes))
    small = [f'"{name}" ({n})' for name, n in zip(source.classes, counts, strict=True) if n < min_photos]
    if min_photos == 1 or not small:
        return source
    kept = np.flatnonzero(counts >= min_photos)
    labels = np.where(np.isin(source.labels, kept), np.searchsorted(kept, source.labels), -1).astype(np.int32)
    note = f"left out, as they have fewer than {min_photos} photos: {_first(small)}"
    classes = tuple(source.classes[i] for i in kept)
    return replace(source, classes=classes, labels=labels, notes=(*source.notes, note))


def photos_by_name(source: Source, indices: np.ndarray) -> np.ndarray:
    """The indices without those of files that by their names are no photos; nothing is opened."""
    return indices[np.fromiter((may_be_photo(source.files[i]) for i in indices), bool, len(indices))]


def duplicates(source: Source, digests: Mapping[int, str], split: Mapping[str, np.ndarray]) -> list[tuple[str, str]]:
    """Pairs of identical files of which one trains and the other validates or tests.

    Args:
        digests: index -> content hash, as from `loader.digests`; "" (unreadable) matches nothing.
        split: as from `split`.
    Returns:
        (training file, other file), in the order of the other's index; one pair for each other file.
    """
    trained = {digests[int(i)]: int(i) for i in reversed(split["train"]) if digests.get(int(i))}
    others = sorted(int(i) for name, where in split.items() if name != "train" for i in where)
    pairs = [(trained[digests[i]], i) for i in others if digests.get(i) in trained]
    return [(source.files[a], source.files[b]) for a, b in pairs]


def conflicts(source: Source, digests: Mapping[int, str]) -> list[tuple[str, str]]:
    """Pairs of identical files of which the second is of another class than the first; arguments as of `duplicates`."""
    first: dict[str, int] = {}
    pairs = [(first.setdefault(digest, i), i) for i, digest in sorted(digests.items()) if digest]
    return [(source.files[a], source.files[b]) for a, b in pairs if source.labels[a] != source.labels[b]]


def _copied(source: Source, indices: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which of the photos show the same picture as one of the others, (n,) bool."""
    if source.groups is None:
        return np.zeros(len(indices), bool)
    known = source.groups[others]
    return np.isin(source.groups[indices], known[known >= 0])


def _draw(source: Source, pool: np.ndarray, fraction: float, seed: int) -> Iterator[int]:
    for label, name in enumerate(source.classes):
        members = pool[source.labels[pool] == label]
        ranked = sorted(members.tolist(), key=lambda i: _rank(seed, name, source.keys[i]))
        yield from ranked[: min(max(round(fraction * len(ranked)), 1), len(ranked) - 1)]


def _rank(seed: int, name: str, key: str) -> bytes:
    text = f"{seed}\n{name}\n{key}".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=16).digest()


def _check_counts(source: Source, pool: np.ndarray, reasons: Mapping[int, str], *, least: int, given: bool) -> None:
    """Refuses classes with fewer than `least` photos in `pool`, all at once."""
    counts = np.bincount(source.labels[pool], minlength=len(source.classes))
    short = np.flatnonzero(counts < least)
    if not len(short):
        return
    said = []
    for count, words in ((0, "no photo"), (1, "a single photo")):
        found = [f'"{source.classes[label]}"' for label in short if counts[label] == count]
        if found:
            has = f"class {found[0]} has" if len(found) == 1 else f"classes {_first(found)} have"
            said.append(f"{has} {words}" + (" in train" if given else ""))
    lost: dict[int | np.intp, int] = {int(source.labels[i]): i for i in sorted(reasons, reverse=True)}
    unread = [
        f'"{source.files[lost[label]]}": {reasons[lost[label]] or "left out"}'
        for label in map(int, short)
        if label in lost
    ]
    why = f" ({_first(unread, '; ')})" if unread else ""
    need = "2 are needed, to train and to validate" if least == 2 else "1 is needed"
    raise InputError(f"{' and '.join(said)}: at least {need}{why}; --min-photos {least} leaves such classes out")


def _first(words: Sequence[str], between: str = ", ", most: int = 12) -> str:
    more = [f"and {len(words) - most} more"] if len(words) > most else []
    return between.join([*words[:most], *more])
