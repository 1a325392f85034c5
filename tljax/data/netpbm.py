"""PBM, PGM and PPM: a header in words, then samples. Pillow's readers of most of them take a second for each megapixel.

Source: the manual pages pbm(5), pgm(5) and ppm(5) of Netpbm.
"""

import re
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8

_WORD = rb"(?:[ \t\r\n]|#[^\r\n]{0,999}[\r\n]){1,99}([0-9]{1,9})"
_BITS = re.compile(rb"P[14]" + 2 * _WORD)
_SAMPLES = re.compile(rb"P[2356]" + 3 * _WORD)
_MAX_PLAIN = 4_000_000  # samples in words, which are slow to read


def decode(data: bytes, *, white: int, most: int) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels of a PBM, PGM or PPM; `white` is the sample that becomes 255 where the header says 65,535.

    Raises:
        ValueError: another file, or more than `most` pixels.
        EOFError: it is truncated.
    """
    samples, top = _samples(data, most)
    image = to_eight_bits(samples, white if top == 65_535 else top)
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image


def widest(data: bytes) -> int:
    """The largest sample where the header says 65,535, else 0."""
    samples, top = _samples(data, 1 << 27)
    return int(samples.max()) if top == 65_535 else 0


def to_eight_bits(samples: Integer[np.ndarray, "..."], white: int) -> UInt8[np.ndarray, "..."]:
    """Samples from 0 to `white` as 0 to 255, rounded; what is beyond becomes 0 or 255."""
    if white == 255:
        return samples.clip(0, 255).astype(np.uint8)
    return ((samples.clip(0, white).astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)


def _samples(data: bytes, most: int) -> tuple[Integer[np.ndarray, "h w c"], int]:
    """The samples, and which one is white."""
    bits = data[:2] in (b"P1", b"P4")
    head = (_BITS if bits else _SAMPLES).match(data)
    if not head:
        raise ValueError("no header of PBM, PGM or PPM")
    width, height, *top = map(int, head.groups())
    channels = 3 if data[:2] in (b"P3", b"P6") else 1
    if width * height > most:
        raise ValueError(f"{width} x {height} pixels: more than the {most:,} that are read")
    if not width * height or not 0 < (top or [1])[0] < 65_536:
        raise ValueError("no pixels, or samples of more than 16 bits")
    shape = height, width, channels
    if data[:2] in (b"P1", b"P2", b"P3"):
        samples = _plain(data[head.end() :], height * width * channels, bits)
    elif bits:
        row = (width + 7) // 8
        packed = _raw(data, head.end() + 1, height * row, np.uint8).reshape(height, row)
        samples = np.unpackbits(packed, axis=1, count=width)
    else:
        samples = _raw(data, head.end() + 1, height * width * channels, np.uint8 if top[0] < 256 else ">u2")
    samples = samples.reshape(shape)
    return (1 - samples, 1) if bits else (samples, top[0])


def _raw(data: bytes, start: int, count: int, kind: str | type) -> np.ndarray:
    if len(data) - start < count * np.dtype(kind).itemsize:
        raise EOFError
    return np.frombuffer(data, kind, count, start)


def _plain(text: bytes, count: int, bits: bool) -> np.ndarray:
    if count > _MAX_PLAIN:
        raise ValueError(f"{count:,} samples in words: more than the {_MAX_PLAIN:,} that are read")
    text = re.sub(rb"#[^\r\n]*", b"", text)
    words: Any = re.sub(rb"\s+", b"", text) if bits else text.split(None, count)[:count]
    if len(words) < count:
        raise EOFError
    return np.frombuffer(words[:count], np.uint8) - 48 if bits else np.array(words, "S10").astype(np.int64)
