"""Which photos train and which validate: as given, or drawn by name so that nothing else changes the draw."""

import hashlib
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from tljax.data.source import Source
from tljax.errors import InputError


def split(
    source: Source, *, val_fraction: float = 0.2, seed: int = 0, skip: Collection[int] = ()
) -> dict[str, np.ndarray]:
    """Indices of the training and validation photos, and of the test photos where data has all three.

    A split that came with the data is used: its test photos validate where it has no validation photos (the
    probe chooses its strength inside the training photos, so nothing is chosen on them). Otherwise photos are drawn
    class by class, in the order of a hash of the seed and their relative name: the place of the data, the
    order of a listing and the photos of other classes play no part.

    Args:
        val_fraction: of each class, rounded, at least one photo and never all; in (0, 1).
        seed: another one gives another draw.
        skip: indices left out, such as photos known to be unreadable.
    Returns:
        {"train": ..., "val": ...[, "test": ...]}, int64, ascending, without unlabelled photos.
    Raises:
        InputError: a class with a single photo, or without a training photo; `val_fraction` out of range.

    >>> parts = tljax.data.split(tljax.data.open_source("photos"), val_fraction=0.5)
    >>> {name: len(indices) for name, indices in parts.items()}
    {'train': 4, 'val': 4}
    """
    if not 0 < val_fraction < 1:
        raise InputError(f"val_fraction must lie between 0 and 1, it is {val_fraction}")
    usable = source.labels >= 0
    usable[list(skip)] = False
    given = {name: where[usable[where]] for name, where in source.splits.items()}
    given = {name: where for name, where in given.items() if len(where)}
    if "val" not in given and "test" in given:
        given["val"] = given.pop("test")
    if "train" in given and "val" in given:
        _check_train(source, given["train"])
        return given
    pool = given.get("train", np.flatnonzero(usable))
    chosen = np.fromiter(_draw(source, pool, val_fraction, seed), np.int64)
    return {"train": np.setdiff1d(pool, chosen), "val": np.sort(chosen)}


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


def _draw(source: Source, pool: np.ndarray, fraction: float, seed: int) -> Iterator[int]:
    for label, name in enumerate(source.classes):
        members = pool[source.labels[pool] == label]
        if len(members) < 2:
            count = "a single photo" if len(members) else "no photo"
            raise InputError(f'class "{name}" has {count}: at least 2 are needed, to train and to validate')
        ranked = sorted(members.tolist(), key=lambda i: _rank(seed, name, source.keys[i]))
        yield from ranked[: min(max(round(fraction * len(ranked)), 1), len(ranked) - 1)]


def _rank(seed: int, name: str, key: str) -> bytes:
    text = f"{seed}\n{name}\n{key}".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=16).digest()


def _check_train(source: Source, train: np.ndarray) -> None:
    missing = np.setdiff1d(np.arange(len(source.classes)), source.labels[train])
    if len(missing):
        raise InputError(f'class "{source.classes[missing[0]]}" has no photo in train')
