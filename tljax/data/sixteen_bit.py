"""Which 16-bit sample is white: told from the pictures of a data set together, as one alone may simply be dark."""

import os
from dataclasses import replace

import numpy as np

from tljax.data.images import widest
from tljax.data.source import MAX_BYTES, Source
from tljax.files import read_regular

_WHITES = (255, 1023, 4095, 16_383, 65_535)  # of 8, 10, 12, 14 and 16 bits
_SUFFIXES = (".png", ".tif", ".tiff", ".pgm", ".pnm", ".jp2", ".j2k")
_LOOKED_AT = 128


def with_white(source: Source) -> Source:
    """`source` with the `white` that the 16-bit grey files among its photos need, and a note where it is not 65,535.

    That is the smallest of 255, 1,023, 4,095, 16,383 and 65,535 which none of the samples exceeds, in 128 of the files
    at the most, taken from all parts of the list. Colours of 16 bits play no part: of them the upper 8 bits are read.
    """
    wide = [path for path in source.files if path.lower().endswith(_SUFFIXES) and _is_wide(path)]
    chosen = [wide[i] for i in np.unique(np.linspace(0, len(wide) - 1, _LOOKED_AT).astype(int))] if wide else []
    most = max((_widest(path) for path in chosen), default=0)
    white = next((white for white in _WHITES if most <= white), 65_535)
    if not most or white == 65_535:
        return source
    note = f"16-bit grey photos ({len(wide)}) hold no sample above {most:,}: {white:,} is taken as white, not 65,535"
    return replace(source, white=white, notes=(*source.notes, note))


def _is_wide(path: str) -> bool:
    """Whether a file may be of 16 bits: PNG and PGM tell at their start."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            head = file.read(26)
    except OSError:
        return False
    return head[24:26] == b"\x10\0" if head.startswith(b"\x89PNG") else bool(head)


def _widest(path: str) -> int:
    try:
        return widest(read_regular(path, most=MAX_BYTES))
    except OSError:
        return 0
