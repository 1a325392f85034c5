"""How photos look, each read once: a small grey picture, its size, brightness, contrast and sharpness."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from PIL import Image

from tljax.data import loader
from tljax.data.images import WHITE, decode, sides
from tljax.data.source import Source
from tljax.progress import Track, untracked

SIDE = 64
"""Of the small grey picture, to which a photo is squashed."""
_SHARP_SIDE, _WINDOW = 160, 11


@dataclass(frozen=True)
class Appearance:
    """What is known of the n photos that could be read.

    Attributes:
        index: (n,) their places in the source.
        grey: (n, 64, 64) uint8, squashed to a square.
        sides: (n, 2) height and width in pixels, as stored.
        brightness: (n, 2) float32, the grey level in [0, 1] below which 5 % and 95 % of the pixels lie.
        contrast: (n,) float32, the standard deviation of the grey level.
        blur: (n,) float32, 0 (sharp) to 1, of the photo at a short side of 160 pixels; see `blur`.
        digests: n content hashes of the files.
        unreadable: (place, reason) of each of the others.
    """

    index: Int64[np.ndarray, " n"]
    grey: UInt8[np.ndarray, "n s s"]
    sides: Int64[np.ndarray, "n 2"]
    brightness: Float32[np.ndarray, "n 2"]
    contrast: Float32[np.ndarray, " n"]
    blur: Float32[np.ndarray, " n"]
    digests: tuple[str, ...]
    unreadable: tuple[tuple[int, str], ...]


def look_at(source: Source, *, track: Track = untracked) -> Appearance:
    """Reads every picture of a source once; memory grows by 4 kB for each."""
    count = len(source.files)
    seen, unreadable = [], []
    looks = loader.in_order(lambda i: loader.or_reason(lambda: _look(source, i)), range(count), None, ahead=64)
    for i, look in enumerate(track(looks, "look at the photos", count)):
        if isinstance(look, str):
            unreadable.append((i, look))
        else:
            seen.append((i, *look))
    index, grey, size, brightness, contrast, blurred, names = zip(*seen, strict=True) if seen else [()] * 7
    return Appearance(
        np.array(index, np.int64),
        np.array(grey, np.uint8).reshape(-1, SIDE, SIDE),
        np.array(size, np.int64).reshape(-1, 2),
        np.array(brightness, np.float32).reshape(-1, 2),
        np.array(contrast, np.float32),
        np.array(blurred, np.float32),
        names,
        tuple(unreadable),
    )


def blur(grey: Float32[np.ndarray, "h w"]) -> float:
    """How little a picture changes when it is blurred, 0 (sharp) to 1: the worse of both directions.

    Source: Crété et al., "The blur effect", 2007, as `skimage.measure.blur_effect`, on neighbouring pixels.
    """
    from scipy.ndimage import uniform_filter1d

    shares = []
    for axis in (0, 1):
        steps = np.abs(np.diff(grey, axis=axis))
        kept = np.abs(np.diff(uniform_filter1d(grey, _WINDOW, axis=axis), axis=axis))
        shares.append(1 - np.maximum(steps - kept, 0).sum() / max(float(steps.sum()), 1e-9))
    return float(max(shares))


def _look(source: Source, i: int) -> tuple:
    """(grey, sides, brightness, contrast, blur, digest) of a picture."""
    data = source.read(i)
    if isinstance(data, bytes):
        pixels, size = decode(data, short_side=_SHARP_SIDE // 2, white=source.white or WHITE), sides(data)
    else:
        pixels, size = data, data.shape[:2]
    picture = Image.fromarray(pixels).convert("L")
    level = np.asarray(picture, np.float32) / 255
    shrink = _SHARP_SIDE / min(picture.size)
    shown = picture
    if shrink < 1:
        width, height = (max(round(shrink * side), 1) for side in picture.size)
        shown = picture.resize((width, height), Image.Resampling.BOX)
    smallest = min(pixels.shape[:2]) < SIDE
    method = Image.Resampling.BILINEAR if smallest else Image.Resampling.BOX
    return (
        np.asarray(picture.resize((SIDE, SIDE), method)),
        size,
        np.quantile(level, (0.05, 0.95)),
        level.std(),
        0.0 if smallest else blur(np.asarray(shown, np.float32)),
        loader.digest(data),
    )
