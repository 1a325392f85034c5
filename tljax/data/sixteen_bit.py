"""Which 16-bit sample is white: told from the pictures of a data set together, as one alone may simply be dark."""

import os
from dataclasses import replace

import numpy as np

from tljax.data.images import WHITE, widest
from tljax.data.source import MAX_BYTES, Source
from tljax.errors import InputError
from tljax.files import read_regular

_WHITES = (255, 1023, 4095, 16_383, WHITE)  # of 8, 10, 12, 14 and 16 bits
_SUFFIXES = (".png", ".tif", ".tiff", ".pgm", ".pnm", ".jp2", ".j2k")
_LOOKED_AT = 128
_QUARTER = 1 << 14


def with_white(source: Source) -> Source:
    """`source` with the `white` of the 16-bit grey files among its photos, if any, and a note where it is not 65,535.

    That is the smallest of 255, 1,023, 4,095, 16,383 and 65,535 which none of the samples exceeds, in 128 of the files
    at the most, taken from all parts of the list.

    Raises:
        InputError: 16-bit colours that reach no quarter of white: only the upper 8 bits are read of them, which are
            nearly black.
    """
    wide = [path for path in source.files if path.lower().endswith(_SUFFIXES) and _is_wide(path)]
    chosen = [wide[i] for i in np.unique(np.linspace(0, len(wide) - 1, _LOOKED_AT).astype(int))] if wide else []
    found = {path: _widest(path) for path in chosen}
    grey, colour = (max((most[kind] for most in found.values()), default=0) for kind in (0, 1))
    if 0 < colour < _QUARTER:
        first = next(path for path, most in found.items() if most[1])
        raise InputError(f'the 16-bit colours of "{first}" and others are nearly black: save them with 8 bits')
    white = next((white for white in _WHITES if grey <= white), WHITE)
    if not grey:
        return source
    if white == WHITE:
        return replace(source, white=WHITE)
    note = f"16-bit grey photos hold no sample above {grey:,}: {white:,} is taken as white, not 65,535"
    return replace(source, white=white, notes=(*source.notes, note))


def _is_wide(path: str) -> bool:
    """Whether a file may be of 16 bits: PNG and PGM tell at their start."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            head = file.read(26)
    except OSError:
        return False
    return head[24:25] == b"\x10" if head.startswith(b"\x89PNG") else bool(head)


def _widest(path: str) -> tuple[int, int]:
    try:
        return widest(read_regular(path, most=MAX_BYTES))
    except OSError:
        return 0, 0
