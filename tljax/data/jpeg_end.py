"""JPEGs that were cut: those that lack only their end marker are whole, and the others are not made up.

Source: ITU-T T.81, annexes B and G.
"""

import hashlib
import io
import re

from PIL import Image

from tljax.data.framing import bands

_END = b"\xff\xd9"
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FRAMES, _SCAN = (0xC0, 0xC1, 0xC2), 0xDA
_BAND, _LARGEST = 4_000_000, 25_000_000  # pixels
_MORE = (b"\x55", b"\xaa", b"\0", b"\xff\0", b"\x36\xc9", b"\x93")  # bits that would change what is made up


def ended(data: bytes) -> bytes | None:
    """A JPEG with the end marker that it lacks, None if it lacks more, or has more than 25 million pixels.

    A decoder makes up the bits that are missing from a scan: then it shows in the pixels which ones follow.
    """
    data = data.rstrip(b"\xff")
    if not _has_all_scans(data):
        return None
    try:
        first = _pixel_hash(data + _END)
        same = all(_pixel_hash(data + more * 64 + _END) == first for more in _MORE)
    except Exception:  # Pillow's plugins raise almost anything on a damaged file
        return None
    return data + _END if same else None


def _has_all_scans(data: bytes) -> bool:
    """Whether scans were begun that bring all 64 coefficients of each component to their last bit."""
    wanted, begun = set(), set()
    at = 2
    while at + 4 <= len(data):
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : end]
        if data[at + 1] in _FRAMES and len(body) > 5:
            wanted = {(component, k) for component in body[6 : 6 + 3 * body[5] : 3] for k in range(64)}
        if data[at + 1] == _SCAN and body and len(body) == 4 + 2 * body[0]:
            components, (first, last, bits) = body[1 : 1 + 2 * body[0] : 2], body[-3:]
            begun |= {(component, k) for component in components for k in range(first, last + 1) if not bits & 15}
        if data[at + 1] == _SCAN:
            found = _NEXT_MARKER.search(data, end)
            end = found.start() if found else len(data)
        at = end
    return bool(wanted) and wanted <= begun


def _pixel_hash(data: bytes) -> bytes:
    seen = hashlib.blake2b()
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
        if picture.width * picture.height > _LARGEST:
            raise ValueError("it would take too long")
        for band in bands(picture, _BAND):
            seen.update(picture.crop(band).tobytes())
    return seen.digest()
