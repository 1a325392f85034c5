"""A picture's bytes become pixels: any of `FORMATS`, told by content, upright, 8-bit RGB."""

import io
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, features

from tljax.data import avif_child, jpeg_end, netpbm
from tljax.data.formats import FORMATS, kind_of, webp_size
from tljax.data.framing import bands, preprocess
from tljax.errors import InputError
from tljax.models.spec import ModelSpec

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "WHITE",
    "DecodeError",
    "decode",
    "pixels",
    "preprocess",
    "read_photo",
    "sides",
    "widest",
]

WHITE = 65_535
"""The 16-bit sample that is white, unless all pictures of a data set are darker; see `sixteen_bit`."""

MAX_PIXELS = 100_000_000
"""A larger picture is refused by its header, before its pixels take memory; so is one of more than half as many (a
progressive JPEG, WebP, TIFF, AVIF and HEIC), or a quarter (JPEG 2000), where the decoder takes more memory for each.
No picture then takes 1 GB."""

_SHARES = {"WebP": 2, "TIFF": 2, "AVIF": 2, "HEIC": 2, "JPEG 2000": 4}
_BY_PILLOW = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000")
_AVIF_SECONDS = 60
_MAX_SCANS = 100
_BAND = 4_000_000
_ORIENTATION, _BITS = 0x0112, 0x0102  # tags of EXIF and TIFF
_UPRIGHT = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: np.rot90(image),
}
# Pillow warns about odd metadata, which nobody can act on here. The filter is set once, for Pillow's modules
# only: `warnings.catch_warnings` is not safe in the threads that decode.
warnings.filterwarnings("ignore", module=r"PIL\.")


class DecodeError(InputError):
    """A picture that cannot be decoded; the message is the reason, in one line."""


def decode(data: bytes, *, short_side: int | None = None, white: int = WHITE) -> UInt8[np.ndarray, "h w 3"]:
    """The upright RGB pixels of an encoded picture, whatever its file name says.

    EXIF orientation is applied, CMYK and greyscale become RGB, transparency is laid on white, of several frames the
    first is taken. A JPEG that lacks only its end marker is whole. Safe to call from several threads. The decoder of
    AVIF may take any memory on a hostile file, so it runs in a process of its own.

    Args:
        data: a whole file.
        short_side: what the picture will be resized to: a JPEG is then decoded at 1/2, 1/4 or 1/8 of its size,
            as long as its short side keeps twice as many pixels. That is faster, and once resized within half
            a level of the full decode on average (with once as many pixels: within 3 levels).
        white: the 16-bit sample that becomes 255; larger ones do too. (Of colours in 16 bits, the upper 8 are taken.)
    Returns:
        uint8 (h, w, 3), 0 to 255.
    Raises:
        DecodeError: empty, truncated, damaged, not a picture in one of `FORMATS`, more than `MAX_PIXELS`, a JPEG of
            more than 100 scans (each one costs a pass over all pixels), HEIC without `pillow-heif`.
    """
    if not data:
        raise DecodeError("empty file")
    kind = kind_of(data)
    try:
        if kind == "PPM":
            return netpbm.decode(data, white=white, most=MAX_PIXELS)
        with _opened(data, kind) as picture:
            if short_side is not None and kind == "JPEG":
                picture.draft(None, (2 * short_side, 2 * short_side))
            return pixels(picture, white=white)
    except DecodeError:
        raise
    except Image.DecompressionBombError:
        raise DecodeError(f"more than the {MAX_PIXELS:,} pixels that are read") from None
    except Exception as error:  # Pillow's plugins raise almost anything on a damaged file
        reason = _reason(kind, error)
        mended = jpeg_end.ended(data) if reason == "truncated JPEG" else None
        if mended is None:
            raise DecodeError(reason) from error
    return decode(mended, short_side=short_side, white=white)


def pixels(picture: Image.Image, *, white: int = WHITE) -> UInt8[np.ndarray, "h w 3"]:
    """The upright RGB pixels of a PIL image, 0 to 255; see `decode`."""
    picture.load()
    return _UPRIGHT.get(_orientation(picture), lambda image: image)(_pixels(picture, white))


def read_photo(path: str | os.PathLike, spec: ModelSpec) -> UInt8[np.ndarray, "s s 3"]:
    """A photo as a network sees it; see `preprocess`.

    Raises:
        InputError: no file, or one that cannot be decoded; names it.

    >>> tljax.data.read_photo("photos/cat/0.png", net.spec).shape
    (32, 32, 3)
    """
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        raise InputError(f'no photo "{path}"')
    try:
        return preprocess(decode(Path(path).read_bytes(), white=spec.white or WHITE), spec)
    except DecodeError as error:
        raise InputError(f'"{path}": {error}') from None


def widest(data: bytes) -> tuple[int, int]:
    """The largest sample of a picture of 16 bits, (grey, colour); 0 of any other, and of what cannot be decoded.

    Of colours only the upper 8 bits are read, so that theirs is a multiple of 256.
    """
    kind = kind_of(data)
    try:
        if kind == "PPM":
            return netpbm.widest(data), 0
        with _opened(data, kind) as opened:
            picture: Any = opened  # of a TIFF, it has tags
            if picture.mode.startswith("I"):
                return int(np.asarray(picture).max()), 0
            if (kind == "PNG" and data[24] == 16) or (kind == "TIFF" and 16 in picture.tag_v2.get(_BITS, ())):
                extrema: Any = picture.convert("RGB").getextrema()
                return 0, 256 * max(top for _, top in extrema)
    except Exception:  # the loader says why
        pass
    return 0, 0


def sides(data: bytes) -> tuple[int, int]:
    """Height and width of an encoded picture as it is stored, by its header where the format allows.

    Raises:
        DecodeError: as `decode`, as far as the header tells.
    """
    kind = kind_of(data)
    if kind == "PPM":
        return decode(data).shape[:2]
    try:
        with _opened(data, kind) as picture:
            return picture.height, picture.width
    except DecodeError:
        raise
    except Exception as error:  # as in `decode`
        raise DecodeError(_reason(kind, error)) from error


def _opened(data: bytes, kind: str | None) -> Image.Image:
    """A picture whose header was checked, and whose pixels are not decoded yet (of AVIF, they are)."""
    if kind == "AVIF":
        data = _without_avif(data)
    share = _SHARES.get(kind or "", 1)
    _check_size(*webp_size(data), MAX_PIXELS // share)
    picture = _heic(data) if kind == "HEIC" else Image.open(io.BytesIO(data), formats=_BY_PILLOW)
    progressive = kind == "JPEG" and "progressive" in picture.info
    _check_size(*picture.size, MAX_PIXELS // (2 if progressive else share))
    if progressive and data.count(b"\xff\xda") > _MAX_SCANS:
        raise DecodeError(f"a JPEG of more than {_MAX_SCANS} scans")
    return picture


def _heic(data: bytes) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise DecodeError('HEIC is read by pillow-heif: pip install "tljax[heic]"') from None
    return HeifImageFile(io.BytesIO(data))


def _without_avif(data: bytes) -> bytes:
    """An AVIF as PNG, by a child process.

    Raises:
        DecodeError: it cannot be decoded, in the time and memory that the child has.
    """
    if not features.check("avif"):
        raise DecodeError("AVIF is not read by this build of Pillow: install Pillow's own wheel, 11.3 or newer")
    most = MAX_PIXELS // _SHARES["AVIF"]
    command = [sys.executable, "-P", avif_child.__file__, str(most)]
    try:
        child = subprocess.run(command, input=data, capture_output=True, timeout=_AVIF_SECONDS)
    except subprocess.TimeoutExpired:
        raise DecodeError(f"damaged AVIF: after {_AVIF_SECONDS} s there was no end to reading it") from None
    if child.returncode == avif_child.TOO_LARGE:
        raise DecodeError(f"an AVIF of more than the {most:,} pixels that are read")
    if child.returncode:
        raise DecodeError("truncated or damaged AVIF")
    return child.stdout


def _check_size(width: int, height: int, most: int) -> None:
    if width * height > most:
        raise DecodeError(f"{width} x {height} pixels: more than the {most:,} that are read")


def _pixels(picture: Image.Image, white: int) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels as RGB, band by band: a large picture takes little more memory than its pixels."""
    width, height = picture.size
    if width * height <= _BAND:
        return np.asarray(_rgb(picture, white))
    pixels = np.empty((height, width, 3), np.uint8)
    for band in bands(picture, _BAND):
        pixels[band[1] : band[3]] = np.asarray(_rgb(picture.crop(band), white))
    return pixels


def _rgb(picture: Image.Image, white: int) -> Image.Image:
    if picture.mode == "F":
        raise DecodeError("samples that are no whole numbers: none of them is known to be white")
    if picture.mode.startswith("I"):
        return Image.fromarray(netpbm.to_eight_bits(np.asarray(picture), white)).convert("RGB")
    if picture.has_transparency_data:
        over = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    return picture.convert("RGB")


def _orientation(picture: Image.Image) -> int:
    try:
        return picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken metadata does not make the pixels worse
        return 1


def _reason(kind: str | None, error: Exception) -> str:
    if kind is None:
        return f"not a picture in a format that is read: {', '.join(FORMATS)}"
    if isinstance(error, MemoryError):
        return f"{kind} too large for the memory"
    if isinstance(error, Image.UnidentifiedImageError):
        return f"truncated or damaged {kind}"
    text = " ".join(str(error).split()) or type(error).__name__
    cut = isinstance(error, EOFError) or any(word in text.lower() for word in ("truncated", "end of file"))
    return f"truncated {kind}" if cut else f"damaged {kind}: {text}"
