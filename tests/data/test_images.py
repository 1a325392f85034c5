"""Every kind of picture that turns up in a folder of photos, made here with Pillow."""

import io
import subprocess
import sys
import textwrap
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.photos import photo
from tljax.data import images
from tljax.data.images import MAX_PIXELS, DecodeError, decode, preprocess, widest
from tljax.errors import InputError
from tljax.models.spec import get_spec

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encode(picture, kind, **options):
    buffer = io.BytesIO()
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def quadrants(height=32, width=48):
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = RED, GREEN
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = BLUE, WHITE
    return image


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
def test_lossless_formats_come_back_exactly(kind):
    image = photo("red", 0, (37, 53))
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(decode(encode(image, kind, **options)), image)


def test_gif_gives_its_first_frame():
    frames = [Image.new("RGB", (8, 6), colour) for colour in (RED, BLUE)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decode(data), np.full((6, 8, 3), RED))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(quadrants())
    image = decode(encode(stored, "JPEG", exif=exif, quality=95, subsampling=0))
    known = np.array([RED, GREEN, BLUE, WHITE])
    corners = [image[y, x].astype(int) for y in (5, -6) for x in (5, -6)]
    seen = "".join("rgbw"[np.abs(known - corner).sum(-1).argmin()] for corner in corners)
    expected = {1: "rgbw", 2: "grwb", 3: "wbgr", 4: "bwrg", 5: "rbgw", 6: "brwg", 7: "wgbr", 8: "gwrb"}
    assert seen == expected[orientation]
    assert image.shape == ((32, 48, 3) if orientation < 5 else (48, 32, 3))


def test_cmyk_jpeg_keeps_its_colours():
    data = encode(Image.fromarray(quadrants()).convert("CMYK"), "JPEG", quality=95)
    assert np.abs(decode(data).astype(int) - quadrants()).mean() < 4


def test_greyscale_becomes_three_equal_channels():
    image = decode(encode(Image.new("L", (5, 4), 77), "JPEG"))
    assert image.shape == (4, 5, 3)
    assert np.abs(image.astype(int) - 77).max() <= 1
    assert decode(encode(Image.new("1", (4, 4), 1), "PNG")).min() == 255


def test_transparency_is_laid_on_white():
    over = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    over.putpixel((0, 0), (0, 0, 255, 255))
    over.putpixel((1, 0), (0, 0, 0, 51))
    image = decode(encode(over, "PNG"))
    assert image[0, 0].tolist() == [0, 0, 255]
    assert image[0, 1].tolist() == [204, 204, 204]
    assert image[3, 3].tolist() == [255, 255, 255]


def test_palette_with_transparency():
    picture = Image.new("P", (4, 4), 0)
    picture.putpalette([*RED, *BLUE])
    picture.putpixel((2, 1), 1)
    as_index = decode(encode(picture, "PNG", transparency=0))
    as_bytes = decode(encode(picture, "PNG", transparency=b"\x00\xff"))
    for image in (as_index, as_bytes, decode(encode(picture, "GIF", transparency=0))):
        assert image[1, 2].tolist() == list(BLUE)
        assert image[0, 0].tolist() == [255, 255, 255]
    assert decode(encode(picture, "PNG"))[0, 0].tolist() == list(RED)


def test_grey_with_alpha():
    image = decode(encode(Image.new("LA", (3, 3), (10, 0)), "PNG"))
    assert image.min() == 255


def test_sixteen_bits_are_scaled_not_clipped():
    levels = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    image = decode(encode(Image.fromarray(levels), "PNG"))
    np.testing.assert_array_equal(image[0, :, 0], [0, 1, 128, 255])
    np.testing.assert_array_equal(image[..., 0], image[..., 2])


def test_one_pixel():
    assert decode(encode(Image.new("RGB", (1, 1), BLUE), "PNG")).tolist() == [[list(BLUE)]]


def test_the_reason_of_what_cannot_be_decoded():
    jpeg, png = encode(photo("red", 0, 200), "JPEG"), encode(photo("red", 0, 200), "PNG")
    gif, bmp = (encode(photo("red", 0, 200), kind) for kind in ("GIF", "BMP"))
    cases = {
        "empty file": b"",
        "not a picture in a format that is read": b"this is a text, whatever its name says\n" * 9,
        "truncated JPEG": jpeg[: len(jpeg) // 2],
        "truncated PNG": png[: len(png) // 2],
        "truncated GIF": gif[: len(gif) // 2],
        "truncated BMP": bmp[: len(bmp) // 2],
        "^truncated JPEG$": jpeg[:30],
        "truncated or damaged PNG": png[:9],
        "damaged PNG": png[:60] + b"\x00" * 400 + png[460:],
    }
    for reason, data in cases.items():
        with pytest.raises(DecodeError, match=reason) as caught:
            decode(data)
        assert "\n" not in str(caught.value), reason
    assert issubclass(DecodeError, InputError)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("side", [12_000, 60_000])
def test_too_many_pixels_are_refused_by_the_header(side):
    def chunk(kind, body):
        return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)

    header = side.to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])
    lying = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(DecodeError, match=f"{MAX_PIXELS:,}"):
        decode(lying)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_no_damage_escapes_as_another_error(kind):
    data = encode(photo("green", 1, 40), kind)
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(150):
        broken = bytearray(data)
        for place in rng.integers(0, min(len(data), 700), 4):
            broken[place] = rng.integers(256)
        try:
            image = decode(bytes(broken), short_side=16)
            outcomes.add(image.dtype == np.uint8 and image.ndim == 3)
        except DecodeError as error:
            outcomes.add("\n" not in str(error))
    assert outcomes == {True}


def test_odd_metadata_warns_nobody_and_harms_no_pixel():
    script = """
        import io, numpy as np
        from PIL import Image
        from tljax.data.images import decode
        buffer = io.BytesIO()
        cut_short = b"Exif\\0\\0II*\\0\\x08\\0\\0\\0\\x05\\0\\x12\\x01\\x03\\0"
        Image.new("RGB", (8, 8), "red").save(buffer, "JPEG", exif=cut_short)
        assert decode(buffer.getvalue()).shape == (8, 8, 3)
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_reduced_scale_keeps_the_short_side_and_the_look():
    smooth = Image.fromarray(photo("blue", 2, (90, 130))).resize((2600, 1800), Image.Resampling.BICUBIC)
    data, spec = encode(smooth, "JPEG", quality=90), get_spec("efficientnet_lite0")
    full, reduced = decode(data), decode(data, short_side=spec.resize_size)
    assert (full.shape, reduced.shape) == ((1800, 2600, 3), (900, 1300, 3))
    difference = np.abs(preprocess(full, spec).astype(int) - preprocess(reduced, spec))
    assert difference.mean() < 1
    assert decode(data, short_side=901).shape == full.shape


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(500, 333), (180, 180), (257, 301), (256, 300), (40, 61), (1, 1), (3, 700)])
def test_preprocess_is_a_full_resize_then_the_central_crop(interpolation, shape):
    spec = replace(get_spec("resnet18"), interpolation=interpolation)
    image = photo("yellow", 3, shape)
    height, width = shape
    short = min(shape)
    new_width, new_height, kind = int(256 * width / short), int(256 * height / short), interpolation.upper()
    rows = Image.fromarray(image).resize((new_width, height), Image.Resampling[kind])
    resized = rows.resize((new_width, new_height), Image.Resampling[kind])
    left, top = (int(round((side - 224) / 2)) for side in resized.size)  # noqa: RUF046
    expected = np.asarray(resized.crop((left, top, left + 224, top + 224))).astype(int)
    seen = preprocess(image, spec)
    assert (seen.shape, seen.dtype) == ((224, 224, 3), np.uint8)
    assert np.abs(seen - expected).max() <= 1
    assert (seen != expected).mean() < 0.01


def test_preprocess_of_a_line_takes_no_more_memory_than_its_crop():
    line = np.repeat(photo("red", 0, (1, 4)), 3000, axis=1)
    assert preprocess(line, get_spec("efficientnet_lite0")).shape == (224, 224, 3)
    assert preprocess(line.transpose(1, 0, 2), get_spec("efficientnet_lite0")).shape == (224, 224, 3)


def test_decode_in_threads_equals_decode_alone():
    data = [encode(photo("purple", i, 50 + i), "JPEG") for i in range(40)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(decode, data))
    assert all(np.array_equal(a, decode(d)) for a, d in zip(together, data, strict=True))


def test_a_rotated_phone_photo_equals_pillows_own_transposition():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(photo("grey", 1, (60, 80)), "JPEG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(decode(data), np.asarray(expected))


def with_sides(data, width, height):
    """A JPEG whose header tells other sides."""
    frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    return data[: frame + 5] + height.to_bytes(2) + width.to_bytes(2) + data[frame + 9 :]


def test_decoders_that_take_twice_the_memory_get_half_the_pixels():
    webp = encode(Image.new("RGBA", (8, 8), (255, 0, 0, 99)), "WEBP")
    vp8, vp8l = (encode(photo("red", 0, 8), "WEBP", lossless=lossless) for lossless in (False, True))
    side = 7_100  # 50.4 million pixels
    packed = (side - 1) | (side - 1) << 14
    lying = [
        webp[:24] + 2 * (side - 1).to_bytes(3, "little") + webp[30:],
        vp8[:26] + 2 * side.to_bytes(2, "little") + vp8[30:],
        vp8l[:21] + packed.to_bytes(4, "little") + vp8l[25:],
        with_sides(encode(photo("red", 0, 8), "JPEG", progressive=True), side, side),
    ]
    assert [kind[12:16] for kind in (webp, vp8, vp8l)] == [b"VP8X", b"VP8 ", b"VP8L"]
    for data in lying:
        with pytest.raises(DecodeError, match="7100 x 7100 pixels: more than the 50,000,000"):
            decode(data)
    assert decode(with_sides(encode(photo("red", 0, 8), "JPEG"), side, side), short_side=8).shape == (888, 888, 3)


def test_a_jpeg_of_a_thousand_scans_is_refused():
    data = encode(photo("red", 0, 64), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(DecodeError, match="more than 100 scans"):
        decode(data[:-2] + data[last:-2] * 1000 + data[-2:])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "I;16"])
def test_a_large_picture_is_converted_in_bands(mode, monkeypatch):
    image = photo("purple", 4, (90, 70))
    picture = Image.fromarray(image[..., 0].astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(image)
    exif = Image.Exif()
    exif[0x0112] = 8
    picture = picture if mode == "I;16" else picture.convert(mode)
    if "A" in mode:
        picture.putalpha(Image.fromarray(image[..., 1]))
    data = encode(picture, "PNG", exif=exif)
    whole = decode(data)
    monkeypatch.setattr(images, "_BAND", 70 * 11 + 3)
    np.testing.assert_array_equal(decode(data), whole)
    assert whole.shape == (70, 90, 3)


def variants(picture):
    """Every new format, lossless or nearly so."""
    tiff = [{"compression": name} for name in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits")]
    made = {f"TIFF {option}": (encode(picture, "TIFF", **option), 0) for option in tiff}
    made |= {"PPM": (encode(picture, "PPM"), 0), "JPEG 2000": (encode(picture, "JPEG2000"), 0)}
    made |= {"raw codestream": (encode(picture, "JPEG2000", no_jp2=True), 0)}
    return made | {"AVIF": (encode(picture, "AVIF", quality=100, subsampling="4:4:4"), 4)}


def test_formats_of_scanners_and_phones():
    image = photo("purple", 3, (37, 53))
    for name, (data, off) in variants(Image.fromarray(image)).items():
        assert np.abs(decode(data, short_side=8).astype(int) - image).max() <= off, name


@pytest.mark.parametrize("kind", ["TIFF", "AVIF", "JPEG2000"])
def test_transparency_and_grey_in_every_format(kind):
    over = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    assert decode(encode(over, kind)).min() >= 250
    grey = decode(encode(Image.new("L", (32, 32), 77), kind))
    assert np.abs(grey.astype(int) - 77).max() <= 2


@pytest.mark.parametrize("kind", ["TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_orientation_in_every_format(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encode(quadrants(32, 64), "PNG", exif=exif)))))
    options = {"quality": 95} if kind == "AVIF" else {}
    data = encode(Image.fromarray(quadrants(32, 64)), kind, exif=exif, **options)
    assert decode(data).shape == expected.shape
    assert np.abs(decode(data).astype(int) - expected).mean() < 8


def test_heic():
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    image = photo("green", 1, (64, 96))
    data = encode(image, "HEIF", quality=-1, chroma=444)
    assert np.abs(decode(data, short_side=16).astype(int) - image).mean() < 2
    with pytest.raises(DecodeError, match="HEIC"):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_heic_is_upright(orientation):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(quadrants(64, 128))
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(encode(stored, "PNG", exif=exif))))
    stored.info["exif"] = exif.tobytes()  # from there it becomes a property of the picture, as phones write it
    image = decode(encode(stored, "HEIF", quality=95))
    assert image.shape == np.asarray(expected).shape
    assert np.abs(image.astype(int) - expected).mean() < 8


def test_avif_without_its_reader_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(images.features, "check", lambda name: False)
    with pytest.raises(DecodeError, match="Pillow's own wheel"):
        decode(encode(Image.new("RGB", (8, 8)), "AVIF"))


def test_heic_without_its_reader_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DecodeError, match=r'pip install "tljax\[heic\]"'):
        decode(b"\0\0\0\x18ftypheic" + bytes(40))


@given(
    kind=st.sampled_from([b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"]),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 17)),
    top=st.sampled_from([1, 9, 255, 256, 1000, 4095, 65535]),
    space=st.sampled_from([b" ", b"\n", b"\t#words 1 2\n", b"\r\n"]),
)
@example(kind=b"P5", shape=(1, 2), top=4095, space=b"\n# 12 bits\n")
def test_netpbm(kind, shape, top, space):
    top = 1 if kind in (b"P1", b"P4") else top
    channels = 3 if kind in (b"P3", b"P6") else 1
    samples = np.random.default_rng(0).integers(0, top + 1, (*shape, channels))
    head = [kind, b"%d" % shape[1], b"%d" % shape[0], *([] if kind in (b"P1", b"P4") else [b"%d" % top])]
    body = {
        b"P4": lambda: np.packbits(samples[..., 0].astype(np.uint8), axis=1).tobytes(),
        b"P5": lambda: samples.astype(np.uint8 if top < 256 else ">u2").tobytes(),
    }
    body[b"P6"] = body[b"P5"]
    words = lambda: b" ".join(b"%d" % value for value in samples.ravel())  # noqa: E731
    data = space.join(head) + b"\n" + body.get(kind, words)()
    expected = 255 * (1 - samples) if top == 1 and channels == 1 and kind in (b"P1", b"P4") else samples * 255 / top
    image = decode(data)
    assert np.abs(image - expected).max() <= 0.5
    if kind not in (b"P1", b"P2", b"P3"):
        with pytest.raises(DecodeError, match="truncated PPM"):
            decode(data[:-1])


@given(st.integers(8, 70), st.integers(8, 70), st.booleans(), st.sampled_from([0, 1, 2]))
@example(64, 64, True, 0)
@example(11, 61, True, 1)
@example(8, 8, False, 0)
def test_a_jpeg_without_its_end_marker_is_whole_and_one_cut_short_is_not(height, width, progressive, subsampling):
    whole = encode(photo("red", 1, (height, width)), "JPEG", progressive=progressive, subsampling=subsampling)
    for cut in (1, 2):
        np.testing.assert_array_equal(decode(whole[:-cut]), decode(whole))
    scan = whole.index(b"\xff\xda")
    for share in (0.1, 0.5, 0.8):
        with pytest.raises(DecodeError, match="truncated"):
            decode(whole[: scan + int((len(whole) - scan) * share)])


@pytest.mark.parametrize("cut", [6, 12, 40, 200])
def test_a_jpeg_that_lacks_a_few_bytes_more_is_refused(cut):
    whole = encode(photo("red", 1, 200), "JPEG", quality=90)
    with pytest.raises(DecodeError, match="truncated JPEG"):
        decode(whole[:-cut])


def test_white_is_what_the_caller_says():
    levels = np.array([[0, 100, 2048, 4095, 60000]], np.uint16)
    for kind in ("PNG", "TIFF"):
        data = encode(Image.fromarray(levels), kind)
        assert decode(data, white=4095)[0, :, 0].tolist() == [0, 6, 128, 255, 255]
        assert widest(data) == (60000, 0)
    assert widest(encode(photo("red", 1), "PNG")) == widest(b"nothing") == (0, 0)


def test_avif_is_read_in_a_process_of_its_own(monkeypatch):
    data = encode(Image.new("RGB", (1200, 1200)), "AVIF")
    assert decode(data).shape == (1200, 1200, 3)
    with pytest.raises(DecodeError, match="truncated or damaged AVIF"):
        decode(data[:-30])
    monkeypatch.setattr(images, "MAX_PIXELS", 1_000_000)
    with pytest.raises(DecodeError, match="more than the 500,000 pixels"):
        decode(data)


@pytest.mark.parametrize("kind", ["TIFF", "JPEG2000", "PPM"])
def test_large_pictures_of_the_other_formats_are_refused_by_their_headers(kind, monkeypatch):
    data = encode(photo("red", 1, 64), kind)
    monkeypatch.setattr(images, "MAX_PIXELS", 4000)
    with pytest.raises(DecodeError, match="64 x 64 pixels: more than"):
        decode(data)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(500, 333), (60, 180), (224, 224), (1, 1), (3, 700)])
def test_the_other_crop_modes_show_all_of_a_photo(interpolation, shape):
    spec = replace(get_spec("resnet18"), interpolation=interpolation)
    image, size = photo("yellow", 3, shape), spec.input_size
    method = Image.Resampling[interpolation.upper()]
    rows = Image.fromarray(image).resize((size, shape[0]), method)
    squashed = np.asarray(rows.resize((size, size), method))
    assert np.abs(preprocess(image, replace(spec, crop_mode="squash")).astype(int) - squashed).max() <= 1
    seen = preprocess(image, replace(spec, crop_mode="border")).copy()
    height, width = (max(round(size * side / max(shape)), 1) for side in shape)
    top, left = (size - height) // 2, (size - width) // 2
    rows = Image.fromarray(image).resize((width, shape[0]), method)
    inner = np.asarray(rows.resize((width, height), method))
    assert np.abs(seen[top : top + height, left : left + width].astype(int) - inner).max() <= 1
    seen[top : top + height, left : left + width] = 0
    outside = seen.reshape(-1, 3)[seen.reshape(-1, 3).any(-1)]
    assert len(outside) == size * size - height * width
    assert (outside == [124, 116, 104]).all()
    with pytest.raises(InputError, match="expected center, border, squash"):
        preprocess(image, replace(spec, crop_mode="fit"))
