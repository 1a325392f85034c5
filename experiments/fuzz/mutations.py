"""Files made to do harm: valid ones of each kind, altered byte by byte or by someone who knows the format.

`hostile(kind, random, canary)` gives one file; the same state of `random` gives the same file. A file that is executed
makes `canary`. The tests of `tljax.weights` and `tljax.data` read them as well.
"""

import io
import json
import pickletools
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from random import Random

import numpy as np
import safetensors.numpy
from PIL import Image

from experiments.fuzz.onnx_files import small_model, spoil_model
from experiments.fuzz.photos import photo
from experiments.fuzz.torch_files import pack_tar, write_numpy, write_stream, write_tar, write_zip

WEIGHTS = ("zip", "stream", "tar", "numpy", "safetensors")
IMAGES = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
IMAGES += ("HEIF",) if find_spec("pillow_heif") else ()
EXTREMES = (0, 1, 3, 127, 255, 65_535, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**64 - 1)


def hostile(kind: str, random: Random, canary: Path) -> bytes:
    """One altered file: about half of them by random bytes, half by the rules of the format."""
    data = made = random.choice(seeds(kind))
    while made == data:
        made = spoilt(data, random) if random.random() < 0.45 else STRUCTURED[kind](data, random, canary)
    return made


@cache
def seeds(kind: str) -> tuple[bytes, ...]:
    """Small valid files of a kind."""
    if kind in IMAGES:
        return tuple(_pictures(kind))
    if kind == "onnx":
        return (small_model(),)
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    state = {"a.weight": array, "a.bias": array[0].astype(np.float16), "n": np.array(3)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed"
        if kind == "safetensors":
            safetensors.numpy.save_file(state, path)
        elif kind == "numpy":
            write_numpy(path, {"c/kernel": array, "c/bias": array[0]})
        else:
            {"zip": write_zip, "stream": write_stream, "tar": write_tar}[kind](path, state)
        return (path.read_bytes(),)


_OPTIONS = {
    "JPEG": [{}, {"progressive": True}],
    "WEBP": [{}, {"lossless": True}],
    "TIFF": [{"compression": name} for name in (None, "jpeg", "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd")],
    "JPEG2000": [{}, {"no_jp2": True}, {"tile_size": (16, 16), "irreversible": True, "quality_layers": [40, 10]}],
    "HEIF": [{}, {"quality": -1}],
}


def _pictures(kind: str) -> list[bytes]:
    colour = Image.fromarray(photo("green", 1, (40, 56)))
    made = [_encoded(colour, kind, **option) for option in _OPTIONS.get(kind, [{}])]
    if kind in ("PNG", "TIFF", "WEBP", "AVIF", "JPEG2000", "HEIF"):
        made.append(_encoded(colour.convert("RGBA"), kind))
    if kind in ("PNG", "TIFF", "JPEG2000", "PPM"):
        made.append(_encoded(Image.fromarray(np.asarray(colour)[..., 0].astype(np.uint16) * 257), kind))
    if kind in ("TIFF", "PPM"):
        made.append(_encoded(colour.convert("1"), kind))
    if kind == "PPM":
        made += [b"P3 2 2 # words\n15\n" + b"1 2 15 " * 4, b"P5 2 1 4095\n\x0f\xff\0\0"]
    if kind in ("PNG", "BMP", "GIF"):
        made.append(_encoded(colour.quantize(16), kind))
    if kind in ("GIF", "WEBP"):
        made.append(_encoded(colour, kind, save_all=True, append_images=[colour.rotate(90)]))
    if kind in ("JPEG", "PNG", "WEBP"):
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = 6, "words"
        made.append(_encoded(colour, kind, exif=exif))
    return made


def _encoded(picture: Image.Image, kind: str, **options) -> bytes:
    if kind == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


# --- bytes -------------------------------------------------------------------------------------------------


def spoilt(data: bytes, random: Random) -> bytes:
    """A few random edits: bits, bytes, pieces cut out or doubled, numbers driven to an extreme, an early end."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4, 16))):
        size = len(changed)
        at = random.randrange(size + 1) if random.random() < 0.6 else random.randrange(min(size, 64) + 1)
        length = random.choice((1, 2, 4, 8, 64, 512))
        edit = random.randrange(6)
        if edit == 0 and at < size:
            changed[at] ^= 1 << random.randrange(8)
        elif edit == 1:
            changed[at : at + length] = random.randbytes(length)
        elif edit == 2:
            del changed[at : at + length]
        elif edit == 3:
            changed[at:at] = changed[at : at + length] * random.choice((1, 2, 50))
        elif edit == 4:
            width = random.choice((2, 4, 8))
            number = (random.choice(EXTREMES) % 2 ** (8 * width)).to_bytes(width, random.choice(("little", "big")))
            changed[at : at + width] = number
        elif random.random() < 0.3:
            del changed[at:]
    return bytes(changed)


# --- pickles and torch's containers ------------------------------------------------------------------------

_CALLS = (
    ("os", "system", "touch {}"),
    ("posix", "system", "touch {}"),
    ("subprocess", "getoutput", "touch {}"),
    ("builtins", "eval", "open({!r}, 'w')"),
    ("builtins", "exec", "open({!r}, 'w')"),
    ("__builtin__", "eval", "open({!r}, 'w')"),
    ("pathlib", "Path.touch", "{}"),
    ("os", "mkdir", "{}"),
    ("torch.storage", "_load_from_bytes", "{}"),
    ("collections", "OrderedDict.fromkeys", "{}"),
    ("torch", "FloatStorage.newbyteorder", "{}"),
    ("numpy", "memmap", "{}"),
)


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _harm(random: Random, canary: Path) -> bytes:
    """Opcodes that leave one object on the stack, and hurt a machine that runs whatever it reads."""
    module, name, words = random.choice(_CALLS)
    words = _text(words.format(str(canary)))
    function = f"c{module}\n{name}\n".encode()
    depth = random.choice((10, 1_000, 50_000))
    return random.choice(
        (
            function + words + b"\x85R",
            _text(module) + _text(name) + b"\x93" + words + b"\x85R",
            b"(" + words + f"i{module}\n{name}\n".encode(),
            b"(" + function + words + b"o",
            function + words + b"\x85\x81",
            function + words + b"\x85}\x92",
            function + b"}" + _text("__call__") + function + b"sb",
            b"\x82\x01",
            b"\x8e" + struct.pack("<Q", random.choice(EXTREMES)) + b"few bytes",
            b"\x8d" + struct.pack("<Q", random.choice(EXTREMES)) + b"few bytes",
            b"X" + struct.pack("<I", 2**32 - 1) + b"few bytes",
            b"\x8b" + struct.pack("<I", 2**31 - 1) + b"\xff" * 9,
            b"Nr" + struct.pack("<I", random.choice(EXTREMES) % 2**32),
            b"]" * depth + b"a" * (depth - 1),
            b")" + b"\x85" * depth,
            b"(" * depth + b"t" * depth,
            b")" + b"2\x86" * 60,
            b"]" + b"q\x07h\x07h\x07h\x07e" * 4,
            b"]q\x09h\x09a",
        )
    )


def spoilt_pickle(data: bytes, random: Random, canary: Path) -> bytes:
    """The first pickle in `data`, with opcodes dropped, doubled, moved, renumbered, or joined by harmful ones."""
    places = [place for _, _, place in pickletools.genops(data)]
    end = places[-1] + 1
    codes = [data[a:b] for a, b in zip(places, [*places[1:], end], strict=True)]
    for _ in range(random.choice((1, 1, 2, 5))):
        at = random.randrange(1, max(len(codes), 2))
        edit = random.randrange(7)
        if edit == 0:
            del codes[at : at + 1]
        elif edit == 1:
            codes[at:at] = codes[at : at + random.choice((1, 2, 8))] * random.choice((1, 2, 300))
        elif edit == 2:
            codes.insert(random.randrange(1, len(codes) + 1), codes.pop(min(at, len(codes) - 1)))
        elif edit == 3:
            numbers = [i for i, code in enumerate(codes) if code[:1] in b"KMJ"]
            if numbers:
                value = random.choice((-1, 5, 13, 2**16, 2**31 - 1, -(2**31)))
                codes[random.choice(numbers)] = b"J" + struct.pack("<i", value)
        else:
            codes.insert(at, _harm(random, canary) + random.choice((b"", b"", b"0")))
    return b"".join(codes) + data[end:]


def _zip(data: bytes, random: Random, canary: Path) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    main = "archive/data.pkl"
    edit = random.randrange(8)
    if edit < 4:
        parts[main] = spoilt_pickle(parts[main], random, canary)
    elif edit == 4:
        name = random.choice(list(parts))
        parts[random.choice((name, f"../{name}", f"/tmp/{name}", name.upper()))] = spoilt(parts.pop(name), random)
    elif edit == 5:
        parts[random.choice((main, "archive/data/0"))] = bytes(random.choice((10_000, 3_000_000)))
    kind = zipfile.ZIP_DEFLATED if edit in (5, 6) else zipfile.ZIP_STORED
    made = _zipped(parts, kind)
    if edit == 7:  # sizes in the directory that are lies, with everything else right
        entries = [i for i in range(len(made)) if made[i : i + 4] == b"PK\x01\x02"]
        field = random.choice(entries) + random.choice((10, 20, 24, 28, 42))
        made = made[:field] + struct.pack("<I", random.choice(EXTREMES) % 2**32) + made[field + 4 :]
    return made


def _zipped(parts: dict[str, bytes], kind: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _stream(data: bytes, random: Random, canary: Path) -> bytes:
    pickles = []
    for _ in range(5):  # magic, protocol, sizes, the state, the keys; then the storages
        end = next(place for code, _, place in pickletools.genops(data) if code.name == "STOP") + 1
        pickles.append(data[:end])
        data = data[end:]
    if random.random() < 0.2:
        data = struct.pack("<q", random.choice(EXTREMES) - 2**63) + data[8:]
    else:
        at = random.choice((3, 3, 3, 3, 4, 2, 1, 0))
        pickles[at] = spoilt_pickle(pickles[at], random, canary)
    return b"".join(pickles) + data


def _tar(data: bytes, random: Random, canary: Path) -> bytes:
    import tarfile

    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        parts = {member.name: tar.extractfile(member).read() for member in tar}
    name = random.choice(("pickle", "pickle", "pickle", "tensors", "storages"))
    parts[name] = spoilt_pickle(parts[name], random, canary) if random.random() < 0.8 else spoilt(parts[name], random)
    if random.random() < 0.1:
        parts = {f"{random.choice(('../', '/tmp/', './', ''))}{name}": part for name, part in parts.items()}
    with tempfile.TemporaryDirectory() as folder:
        return pack_tar(Path(folder) / "F.tar", parts).read_bytes()


def _numpy(data: bytes, random: Random, canary: Path) -> bytes:
    return spoilt_pickle(data, random, canary)


# --- safetensors -------------------------------------------------------------------------------------------


def _safetensors(data: bytes, random: Random, canary: Path) -> bytes:
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    name = random.choice([name for name in header if name != "__metadata__"])
    tensor, number = header[name], random.choice(EXTREMES)
    edit = random.randrange(8)
    if edit == 0:
        tensor["shape"] = random.choice(([number], [number, number], [0, number], [-1], [1] * 5_000, "3", None, [1.5]))
    elif edit == 1:
        tensor["data_offsets"] = random.choice(([0, number], [number, number], [number, 0], [8, 4], [], [0], None))
    elif edit == 2:
        tensor["dtype"] = random.choice(("F64", "F8_E4M3", "F4", "BOOL", "I64", "nothing", 3, None))
    elif edit == 3:
        header[random.choice(("__metadata__", "b", "x" * 100_000, "\ud800"))] = random.choice((tensor, "words", [], {}))
    elif edit == 4:
        header.update({f"copy{i}": tensor for i in range(random.choice((1, 5_000)))})
    elif edit == 5:
        del header[name]
    text = json.dumps(header).encode()
    if edit == 6:
        text = random.choice((b"[" * 100_000, b'{"a":' * 100_000, b"{}", b"null", b"{" + b'"a":1,' * 1_000 + b"}"))
    length = number if edit == 7 else len(text)
    return struct.pack("<Q", length) + text + body


# --- pictures ----------------------------------------------------------------------------------------------

_SIDES = (0, 1, 8, 4_000, 9_990, 12_000, 32_767, 65_500, 65_535)


def _jpeg(data: bytes, random: Random, canary: Path) -> bytes:
    frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    if frame < 0 or random.random() < 0.2:
        return data[: data.rindex(b"\xff\xda")] + spoilt(data[data.rindex(b"\xff\xda") :], random)
    sides = struct.pack(">HH", random.choice(_SIDES), random.choice(_SIDES))
    data = data[: frame + 5] + sides + data[frame + 9 :]
    if random.random() < 0.2:
        last = data.rindex(b"\xff\xda")
        data = data[:-2] + data[last:-2] * random.choice((3, 300, 3_000)) + data[-2:]
    return data


def _png(data: bytes, random: Random, canary: Path) -> bytes:
    chunks = _chunks(data)
    edit = random.random()
    if edit < 0.02:
        return _bomb(random.choice((9_990, 7_000)), random)
    if edit < 0.3:
        depth, colour = random.choice(((1, 0), (8, 2), (8, 6), (16, 0), (16, 6), (8, 3), (3, 9)))
        header = struct.pack(">II5B", random.choice(_SIDES), random.choice(_SIDES), depth, colour, 0, 0, edit < 0.1)
        chunks[0] = (b"IHDR", header)
    else:
        at = random.randrange(len(chunks))
        kind = random.choice((chunks[at][0], b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"tRNS", b"acTL", b"fdAT"))
        body = random.choice((spoilt(chunks[at][1], random), b"x\0\0" + zlib.compress(bytes(5_000_000)), b"", bytes(9)))
        chunks.insert(at + (edit < 0.8), (kind, body))
    return _png_of(chunks)


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def _png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = [struct.pack(">I", len(b)) + kind + b + struct.pack(">I", zlib.crc32(kind + b)) for kind, b in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _bomb(side: int, random: Random) -> bytes:
    """A whole picture of side x side pixels in a few kilobytes to a megabyte; just inside the limit, or half of it."""
    depth, colour, bits = random.choice(
        ((1, 0, 1), (8, 0, 8), (8, 3, 8), (8, 4, 16), (16, 0, 16), (8, 2, 24), (8, 6, 32))
    )
    left = (1 + (side * bits + 7) // 8) * side
    packer, block = zlib.compressobj(9), bytes(1 << 20)
    body = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    body += again * (left // len(block))
    header = struct.pack(">II5B", side, side, depth, colour, 0, 0, 0)
    palette = [(b"PLTE", bytes(768))] if colour == 3 else []
    return _png_of([(b"IHDR", header), *palette, (b"IDAT", body), (b"IEND", b"")])


def _gif(data: bytes, random: Random, canary: Path) -> bytes:
    changed = bytearray(data)
    frame = data.find(b"\x2c")
    for at in random.choice(((6,), (8,), (6, 8), (frame + 5, frame + 7), (6, 8, frame + 5, frame + 7), (frame + 1,))):
        changed[at : at + 2] = struct.pack("<H", random.choice(_SIDES))
    return bytes(changed)


def _bmp(data: bytes, random: Random, canary: Path) -> bytes:
    changed = bytearray(data)
    fields = {18: "<i", 22: "<i", 28: "<H", 30: "<I", 46: "<I", 10: "<I", 14: "<I"}
    for at in random.sample(list(fields), random.choice((1, 2, 3))):
        number = random.choice((*_SIDES, 1, 4, 8, 16, 24, 32, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 40))
        form = fields[at].upper()
        changed[at : at + struct.calcsize(form)] = struct.pack(form, number % 2 ** (8 * struct.calcsize(form)))
    return bytes(changed)


def _webp(data: bytes, random: Random, canary: Path) -> bytes:
    side = random.choice((*_SIDES, 16_383, 2**24 - 1))
    if data[12:16] == b"VP8X":
        at = random.choice((24, 27))
        return data[:at] + struct.pack("<I", side)[:3] + data[at + 3 :]
    if data[12:16] == b"VP8 ":
        return data[:26] + struct.pack("<HH", side % 16_384, random.choice(_SIDES) % 16_384) + data[30:]
    packed = struct.unpack("<I", data[21:25])[0] & ~0x3FFF | side % 16_384
    return data[:21] + struct.pack("<I", packed) + data[25:]


def _tiff(data: bytes, random: Random, canary: Path) -> bytes:
    """One to three entries of the directory with another tag, type, count or value."""
    at = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[at : at + 2], "little")
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 3))):
        entry = at + 2 + 12 * random.randrange(max(count, 1))
        edit = random.randrange(5)
        if edit == 0:
            changed[entry + 4 : entry + 8] = struct.pack("<I", random.choice(EXTREMES) % 2**32)
        elif edit == 1:
            changed[entry + 2 : entry + 4] = struct.pack("<H", random.randrange(20))
        elif edit == 2:
            changed[entry : entry + 2] = struct.pack("<H", random.choice((256, 257, 258, 259, 262, 273, 277, 278, 322)))
        else:
            number = random.choice((*_SIDES, *EXTREMES, 2, 5, 6, 7, 32_773, 34_712, 50_000)) % 2**32
            changed[entry + 8 : entry + 12] = struct.pack("<I", number)
    return bytes(changed)


def _ppm(data: bytes, random: Random, canary: Path) -> bytes:
    numbers = [random.choice((*_SIDES, *EXTREMES, "-1", "x")) for _ in range(3)]
    comment = random.choice((b"", b"#" * 9, b"#\n" * 300_000))
    kind = random.choice((data[:2], b"P1", b"P2", b"P3", b"P4", b"P6", b"Pf", b"P9"))
    lines = b" ".join(str(number).encode() for number in numbers[: random.choice((1, 2, 3, 3))])
    return kind + b" " + comment + lines + b"\n" + random.choice((data[12:], comment, b"1 " * 1_000_000))


def _boxes(data: bytes, random: Random, canary: Path) -> bytes:
    """Sides, offsets and sizes in the boxes of an ISO file, or in what they hold, that are lies."""
    changed = bytearray(data)
    names = (b"ispe", b"iloc", b"ipma", b"iref", b"pixi", b"hvcC", b"av1C", b"mdat", b"infe", b"jp2h", b"ihdr", b"jp2c")
    names += (b"\xff\x51", b"\xff\x52", b"\xff\x90", b"irot", b"colr")  # sizes, styles and tiles of JPEG 2000
    found = [at for name in names for at in [changed.find(name)] if at >= 0]
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.choice(found) + random.choice((-4, 4, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 32))
        width = random.choice((1, 2, 4))
        number = random.choice((*_SIDES, *EXTREMES)) % 2 ** (8 * width)
        changed[max(at, 0) : max(at, 0) + width] = number.to_bytes(width, "big")
    return bytes(changed)


STRUCTURED: dict[str, Callable[[bytes, Random, Path], bytes]] = {
    "zip": _zip,
    "stream": _stream,
    "tar": _tar,
    "numpy": _numpy,
    "safetensors": _safetensors,
    "onnx": spoil_model,
    "JPEG": _jpeg,
    "PNG": _png,
    "GIF": _gif,
    "BMP": _bmp,
    "WEBP": _webp,
    "TIFF": _tiff,
    "PPM": _ppm,
    "AVIF": _boxes,
    "JPEG2000": _boxes,
    "HEIF": _boxes,
}
