"""What a network sees of a picture: its middle, all of it with a border, or all of it squashed into a square."""

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from tljax.errors import InputError
from tljax.models.spec import ModelSpec

CROP_MODES = ("center", "border", "squash")
"""The middle, the whole with borders, the whole squashed: timm's words. Here the latter two cut nothing off."""

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_Part = tuple[float, float, int]  # of one side: from where to where, in source pixels, and to how many pixels


def preprocess(image: UInt8[np.ndarray, "h w 3"], spec: ModelSpec) -> UInt8[np.ndarray, "s s 3"]:
    """What a network sees of a picture, as `spec.crop_mode` says.

    "center": short side resized to `spec.resize_size`, then the central crop. "border": long side resized to
    `spec.input_size`, and the rest filled with `spec.mean`. "squash": both sides resized to `spec.input_size`.

    Equal to Pillow's antialiased 8-bit resize, rows first, followed by the crop, with torchvision's rounding of
    both (long side down, offset to the nearest); but only the pixels of the crop are computed, so that a
    picture of 1 x 12,000 costs no more than another.

    Args:
        image: uint8 (h, w, 3), any size from 1 x 1.
        spec: gives `crop_mode`, `resize_size`, `input_size`, `interpolation` and `mean`.
    Returns:
        uint8 (s, s, 3), s = `spec.input_size`.
    Raises:
        InputError: another crop mode.
    """
    height, width = image.shape[:2]
    size = spec.input_size
    if spec.crop_mode == "center":
        short = min(height, width)
        parts = [_central(side, int(spec.resize_size * side / short), size) for side in (height, width)]
    elif spec.crop_mode == "border":
        parts = [(0, side, max(round(size * side / max(height, width)), 1)) for side in (height, width)]
    elif spec.crop_mode == "squash":
        parts = [(0, side, size) for side in (height, width)]
    else:
        raise InputError(f'no crop mode "{spec.crop_mode}": expected {", ".join(CROP_MODES)}')
    seen = _resized(image, parts[0], parts[1], _RESAMPLING[spec.interpolation])
    if seen.shape[:2] == (size, size):
        return seen
    framed = np.empty((size, size, 3), np.uint8)
    framed[:] = [round(255 * mean) for mean in spec.mean]
    top, left = ((size - side) // 2 for side in seen.shape[:2])
    framed[top : top + seen.shape[0], left : left + seen.shape[1]] = seen
    return framed


def bands(picture: Image.Image, most: int) -> Iterator[tuple[int, int, int, int]]:
    """Boxes (left, top, right, bottom) of about `most` pixels each that cover a picture from top to bottom."""
    rows = max(most // picture.width, 1)
    for top in range(0, picture.height, rows):
        yield 0, top, picture.width, min(top + rows, picture.height)


def _central(side: int, resized: int, size: int) -> _Part:
    """The central crop of `size` from a `side` resized to `resized`."""
    start = round((resized - size) / 2)
    return start * side / resized, min((start + size) * side / resized, side), size


def _resized(
    image: UInt8[np.ndarray, "h w 3"], rows: _Part, columns: _Part, filter_: Image.Resampling
) -> UInt8[np.ndarray, "y x 3"]:
    (y_from, y_to, height), (x_from, x_to, width) = rows, columns
    reach = 3 * max((y_to - y_from) / height, 1)  # of the filter, in rows
    first, last = max(int(y_from - reach), 0), min(math.ceil(y_to + reach), image.shape[0])
    # Two passes: given both sides at once, Pillow chooses the order of its own, and with it the rounding.
    part = Image.fromarray(image[first:last])
    part = part.resize((width, last - first), filter_, box=(x_from, 0, x_to, last - first))
    return np.asarray(part.resize((width, height), filter_, box=(0, y_from - first, width, y_to - first)))
