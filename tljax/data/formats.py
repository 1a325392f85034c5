"""Which format a picture has, told by how its file starts."""

FORMATS = ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "JPEG 2000", "HEIC")
"""What is read; HEIC by `pillow-heif`, from the extra "heic"."""

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    b"RIFF": "WebP",
    b"BM": "BMP",
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF"),
    **dict.fromkeys((b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"), "JPEG 2000"),
    **{b"P%d%c" % (number, space): "PPM" for number in range(1, 7) for space in b" \t\r\n#"},
}
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def kind_of(data: bytes) -> str | None:
    """Which of `FORMATS` a file is by how it starts."""
    if data[4:8] == b"ftyp":
        brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
        return "AVIF" if b"avif" in brands or b"avis" in brands else "HEIC" if brands[:4] in _HEIC else None
    return next((name for start, name in _SIGNATURES.items() if data.startswith(start)), None)


def webp_size(data: bytes) -> tuple[int, int]:
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
