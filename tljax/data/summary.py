"""What is said of a data set before any work: its classes with their counts, and whether a crop shows its photos."""

from collections.abc import Mapping

import numpy as np

from tljax.data.images import DecodeError, sides
from tljax.data.source import Source
from tljax.models.spec import ModelSpec

_SHOWN = 12
_LOOKED_AT = 64
_LONG, _MANY = 2.0, 0.25


def class_counts(source: Source, shares: Mapping[str, np.ndarray]) -> str:
    """One line: how many classes, and of the first dozen how many photos are in each share.

    Args:
        shares: as from `splits.split`.
    """
    counts = {name: np.bincount(source.labels[share], minlength=len(source.classes)) for name, share in shares.items()}
    shown = [
        f"{name} {' + '.join(str(count[label]) for count in counts.values())}"
        for label, name in enumerate(source.classes[:_SHOWN])
    ]
    more = [f"and {len(source.classes) - _SHOWN} more"] if len(source.classes) > _SHOWN else []
    return f"{len(source.classes)} classes ({' + '.join(counts)}): {', '.join([*shown, *more])}"


def long_photos(source: Source, spec: ModelSpec) -> str | None:
    """A hint, where a quarter or more of 64 photos are over twice as long as wide, and only their middle is seen."""
    if spec.crop_mode != "center" or not source.files:
        return None
    chosen = np.unique(np.linspace(0, len(source.files) - 1, _LOOKED_AT).astype(int))
    seen = [size for size in (_sides(source, int(i)) for i in chosen) if size]
    long = sum(max(size) > _LONG * min(size) for size in seen)
    if not long or long < _MANY * len(seen):
        return None
    return (
        f"{long} of {len(seen)} photos looked at are over twice as long as wide, and only their middle is seen: "
        "--crop-mode border or squash shows all of them"
    )


def _sides(source: Source, i: int) -> tuple[int, int] | None:
    try:
        data = source.read(i)
        return sides(data) if isinstance(data, bytes) else data.shape[:2]
    except (DecodeError, OSError):
        return None
