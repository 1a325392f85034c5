"""Photos that are hard to learn from, by their pixels alone: dark, blown out, blurred, uniform, tiny, of odd shape."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tljax.data.sources import Photos, photo_source
from tljax.data.tree import may_be_photo
from tljax.progress import Track, shows_progress, untracked
from tljax.transfer.trust.appearance import SIDE, Appearance, look_at

_DARK, _BRIGHT = 0.25, 0.75
_UNIFORM = 0.02
_BLURRED = 0.6
_ODD = 3.0


@dataclass(frozen=True)
class Poor:
    """What is wrong with a photo.

    index: its place. kind: "unreadable", "tiny", "odd_shape", "uniform", "dark", "bright" or "blurred".
    score: how bad it is: 1 where it begins to count, more beyond. detail: in words.

    >>> tljax.transfer.find_poor_photos(b"no picture")[0].kind
    'unreadable'
    """

    index: int
    kind: str
    score: float
    detail: str


@shows_progress
def find_poor_photos(photos: Photos, *, track: Track | bool = untracked) -> list[Poor]:
    """Photos that are hard to learn from, in their order; one may be named more than once.

    Unreadable; tiny: a short side below 64 pixels, where most have twice that; odd_shape: over three times as long as
    wide; uniform: the grey level has a standard deviation below 0.02 of its range; dark: 95 % of the pixels in the
    darkest quarter of the range; bright: 95 % in the brightest; blurred: above 0.6 by `appearance.blur` at a short side
    of 160 pixels: none of 240 photographs reached 0.52, and most go above 0.6 when blurred by 1.5 % of the side.

    Args:
        photos, track: see `find_duplicates`.
    Raises:
        InputError: no photo; see `data.photo_source`.

    >>> [(one.index, one.kind) for one in tljax.transfer.find_poor_photos([photos[0], np.zeros_like(photos[0])])]
    [(1, 'uniform'), (1, 'dark')]
    """
    shown: Any = track  # a `Track` by now
    source = photo_source(photos)
    return poor_among(look_at(source, track=shown), source.files)


def poor_among(seen: Appearance, files: tuple[str, ...]) -> list[Poor]:
    """`find_poor_photos`, of photos that were looked at; a file that by its name is no photo is none."""
    short, long = seen.sides.min(1, initial=1 << 30), seen.sides.max(1, initial=0)
    usual = np.median(short) if len(short) else 0
    dark, bright = seen.brightness[:, 1], seen.brightness[:, 0]
    sides = [f"{width} x {height} pixels" for height, width in seen.sides]
    looks = {
        "tiny": ((short < SIDE) & (usual >= 2 * SIDE), SIDE / short, sides),
        "odd_shape": (long > _ODD * short, long / short / _ODD, sides),
        "uniform": (seen.contrast < _UNIFORM, _UNIFORM / np.maximum(seen.contrast, 1e-3), _shares(seen.contrast)),
        "dark": (dark < _DARK, _DARK / np.maximum(dark, 1e-2), _shares(dark)),
        "bright": (bright > _BRIGHT, (1 - _BRIGHT) / np.maximum(1 - bright, 1e-2), _shares(bright)),
        "blurred": ((seen.blur > _BLURRED) & (seen.contrast >= _UNIFORM), seen.blur / _BLURRED, _shares(seen.blur)),
    }
    found = [Poor(i, "unreadable", 1.0, reason) for i, reason in seen.unreadable if may_be_photo(files[i])]
    for kind, (bad, score, detail) in looks.items():
        rows = np.flatnonzero(bad).tolist()
        found += [Poor(int(seen.index[row]), kind, round(float(score[row]), 3), detail[row]) for row in rows]
    return sorted(found, key=lambda one: one.index)


def _shares(values: np.ndarray) -> list[str]:
    return [f"{value:.2f}" for value in values]
