"""A picture's bytes become pixels: any JPEG, PNG, WebP, GIF or BMP, told by content, upright, 8-bit RGB."""

import io
import math
import os
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from tljax.errors import InputError
from tljax.models.spec import ModelSpec

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_PIXELS = 100_000_000
"""A larger picture is refused by its header, before its pixels take memory; so is a WebP or a progressive JPEG of more
than half as many, whose decoders take twice the memory. No picture then takes 1 GB."""

_MAX_SCANS = 100
_BAND = 4_000_000
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: np.rot90(image),
}
_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    b"RIFF": "WebP",
    b"BM": "BMP",
}
_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

# Pillow warns about odd metadata, which nobody can act on here. The filter is set once, for Pillow's modules
# only: `warnings.catch_warnings` is not safe in the threads that decode.
warnings.filterwarnings("ignore", module=r"PIL\.")


class DecodeError(InputError):
    """A picture that cannot be decoded; the message is the reason, in one line."""


def decode(data: bytes, *, short_side: int | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """The upright RGB pixels of an encoded picture, whatever its file name says.

    EXIF orientation is applied, CMYK and greyscale become RGB, transparency is laid on white, 16-bit samples
    are divided by 257, of several frames the first is taken. Safe to call from several threads.

    Args:
        data: a whole file.
        short_side: what the picture will be resized to: a JPEG is then decoded at 1/2, 1/4 or 1/8 of its size,
            as long as its short side keeps twice as many pixels. That is faster, and once resized within half
            a level of the full decode on average (with once as many pixels: within 3 levels).
    Returns:
        uint8 (h, w, 3), 0 to 255.
    Raises:
        DecodeError: empty, truncated, damaged, not a picture in one of `FORMATS`, more than `MAX_PIXELS`, a JPEG of
            more than 100 scans (each one costs a pass over all pixels).
    """
    if not data:
        raise DecodeError("empty file")
    try:
        _check_size(*_webp_size(data), MAX_PIXELS // 2)
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            progressive = "progressive" in picture.info
            _check_size(*picture.size, MAX_PIXELS // 2 if progressive else MAX_PIXELS)
            if progressive and data.count(b"\xff\xda") > _MAX_SCANS:
                raise DecodeError(f"a JPEG of more than {_MAX_SCANS} scans")
            if short_side is not None:
                picture.draft(None, (2 * short_side, 2 * short_side))
            return pixels(picture)
    except DecodeError:
        raise
    except Image.DecompressionBombError:
        raise DecodeError(f"more than the {MAX_PIXELS:,} pixels that are read") from None
    except Exception as error:  # Pillow's plugins raise almost anything on a damaged file
        raise DecodeError(_reason(data, error)) from error


def pixels(picture: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    """The upright RGB pixels of a PIL image, 0 to 255; see `decode`."""
    picture.load()
    return _UPRIGHT.get(_orientation(picture), lambda image: image)(_pixels(picture))


def preprocess(image: UInt8[np.ndarray, "h w 3"], spec: ModelSpec) -> UInt8[np.ndarray, "s s 3"]:
    """What a network sees of a picture: short side resized to `spec.resize_size`, then the central crop.

    Equal to Pillow's antialiased 8-bit resize, rows first, followed by the crop, with torchvision's rounding of
    both (long side down, offset to the nearest); but only the pixels of the crop are computed, so that a
    picture of 1 x 12,000 costs no more than another.

    Args:
        image: uint8 (h, w, 3), any size from 1 x 1.
        spec: gives `resize_size`, `input_size` and `interpolation`.
    Returns:
        uint8 (s, s, 3), s = `spec.input_size`.
    """
    height, width = image.shape[:2]
    short, size = min(height, width), spec.input_size
    x_from, x_to = _crop_bounds(width, int(spec.resize_size * width / short), size)
    y_from, y_to = _crop_bounds(height, int(spec.resize_size * height / short), size)
    reach = 3 * max((y_to - y_from) / size, 1)  # of the filter, in rows
    first, last = max(int(y_from - reach), 0), min(math.ceil(y_to + reach), height)
    filter_ = _RESAMPLING[spec.interpolation]
    # Two passes: given both sides at once, Pillow chooses the order of its own, and with it the rounding.
    rows = Image.fromarray(image[first:last])
    rows = rows.resize((size, last - first), filter_, box=(x_from, 0, x_to, last - first))
    return np.asarray(rows.resize((size, size), filter_, box=(0, y_from - first, size, y_to - first)))


def read_photo(path: str | os.PathLike, spec: ModelSpec) -> UInt8[np.ndarray, "s s 3"]:
    """A photo as a network sees it; see `preprocess`.

    Raises:
        InputError: no file, or one that cannot be decoded; names it.

    >>> tljax.data.read_photo("photos/cat/0.png", net.spec).shape
    (32, 32, 3)
    """
    if not os.path.isfile(path):
        raise InputError(f'no photo "{path}"')
    try:
        return preprocess(decode(Path(path).read_bytes()), spec)
    except DecodeError as error:
        raise InputError(f'"{path}": {error}') from None


def _crop_bounds(side: int, resized: int, size: int) -> tuple[float, float]:
    """Where a central crop of `size` from a `side` resized to `resized` starts and ends, in source pixels."""
    start = round((resized - size) / 2)
    return start * side / resized, min((start + size) * side / resized, side)


def _check_size(width: int, height: int, most: int) -> None:
    if width * height > most:
        raise DecodeError(f"{width} x {height} pixels: more than the {most:,} that are read")


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height of a WebP, (0, 0) of anything else: Pillow takes the memory when it opens one.

    Source: RFC 9649, sections 2.5 to 2.7.
    """
    head = data[12:30]
    if data[:4] != b"RIFF" or len(head) < 18:
        return 0, 0
    if head.startswith(b"VP8X"):
        return 1 + int.from_bytes(head[12:15], "little"), 1 + int.from_bytes(head[15:18], "little")
    if head.startswith(b"VP8L"):
        packed = int.from_bytes(head[9:13], "little")
        return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    return int.from_bytes(head[14:16], "little") & 0x3FFF, int.from_bytes(head[16:18], "little") & 0x3FFF


def _pixels(picture: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels as RGB, band by band: a large picture takes little more memory than its pixels."""
    width, height = picture.size
    if width * height <= _BAND:
        return np.asarray(_rgb(picture))
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(_BAND // width, 1)
    for top in range(0, height, rows):
        pixels[top : top + rows] = np.asarray(_rgb(picture.crop((0, top, width, min(top + rows, height)))))
    return pixels


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        wide = np.asarray(picture).astype(np.uint32)
        return Image.fromarray(((wide.clip(0, 65535) + 128) // 257).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        over = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    return picture.convert("RGB")


def _orientation(picture: Image.Image) -> int:
    try:
        return picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken metadata does not make the pixels worse
        return 1


def _reason(data: bytes, error: Exception) -> str:
    kind = next((name for start, name in _SIGNATURES.items() if data.startswith(start)), None)
    if kind is None:
        return "not a picture in a format that is read: JPEG, PNG, WebP, GIF, BMP"
    if isinstance(error, MemoryError):
        return f"{kind} too large for the memory"
    if isinstance(error, Image.UnidentifiedImageError):
        return f"truncated or damaged {kind}"
    text = " ".join(str(error).split()) or type(error).__name__
    cut = isinstance(error, EOFError) or any(word in text.lower() for word in ("truncated", "end of file"))
    return f"truncated {kind}" if cut else f"damaged {kind}: {text}"
