"""Sets that need no download: `digits` from scikit-learn, `textures` from the photographs in scikit-image."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from tljax.data.images import decode
from tljax.data.source import Source
from tljax.errors import InputError

TEXTURES = {
    "brick": "brick.png",
    "cat": "chelsea.png",
    "coffee": "coffee.png",
    "coins": "coins.png",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "handwriting": "text.png",
    "moon": "moon.png",
    "motorcycle": "motorcycle_left.png",
    "page": "page.png",
    "retina": "retina.jpg",
    "rocket": "rocket.jpg",
    "stars": "hubble_deep_field.jpg",
    "tissue": "ihc.png",
}
"""Class -> the photograph that its crops are cut from."""

_PARTS = {"train": (0.0, 0.57, 30), "test": (0.63, 1.0, 15)}  # from, to (of the width), number of crops
_LONGEST = 720
_CROP = 96


def digits() -> Source:
    """The 1,797 handwritten digits of scikit-learn: uint8 (8, 8, 3), classes "0" to "9", no given split.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    grey = np.round(values.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    images = np.repeat(grey, 3, axis=-1)
    files = tuple(f"digits/{i:04d}" for i in range(len(images)))
    classes = tuple(map(str, range(10)))
    return Source("digits", classes, files, labels.astype(np.int32), images.__getitem__, keys=files)


def textures() -> Source:
    """Crops of the photographs that scikit-image installs: 14 classes, 30 training and 15 test crops of each.

    Training crops come from the left 57 % of a photograph, test crops from the right 37 %, so no pixel is in
    both. Place, size (72 to 128 pixels, resized to 96), mirroring and exposure of each crop are drawn by a
    fixed seed: colour and brightness alone do not give a class away.

    Raises:
        InputError: scikit-image without its photographs.
    """
    crops: list[np.ndarray] = []
    files: list[str] = []
    labels: list[int] = []
    rows: dict[str, list[int]] = {part: [] for part in _PARTS}
    for label, (name, file) in enumerate(TEXTURES.items()):
        photograph = _photograph(file)
        for number, (part, (start, stop, count)) in enumerate(_PARTS.items()):
            rng = np.random.default_rng([label, number])
            width = photograph.shape[1]
            region = photograph[:, round(start * width) : round(stop * width)]
            rows[part] += range(len(crops), len(crops) + count)
            crops += [_crop(region, rng) for _ in range(count)]
            files += [f"textures/{part}/{name}/{i:02d}" for i in range(count)]
            labels += [label] * count
    splits = {part: np.asarray(where) for part, where in rows.items()}
    return Source(
        "textures",
        tuple(TEXTURES),
        tuple(files),
        np.asarray(labels, np.int32),
        crops.__getitem__,
        splits,
        tuple(files),
    )


def bundled_photograph(file: str) -> Path:
    """Where a photograph of scikit-image lies, such as "chelsea.png".

    Raises:
        InputError: scikit-image without its photographs.

    >>> tljax.data.bundled_photograph("chelsea.png").name
    'chelsea.png'
    """
    spec = find_spec("skimage")  # located, not imported: that takes longer than all the rest
    path = Path(spec.origin).parent / "data" / file if spec and spec.origin else Path(file)
    if not path.is_file():
        raise InputError(f"scikit-image's photograph {file} is missing: install scikit-image 0.25 or newer")
    return path


def _photograph(file: str) -> UInt8[np.ndarray, "h w 3"]:
    image = decode(bundled_photograph(file).read_bytes())
    height, width = image.shape[:2]
    if width <= _LONGEST:
        return image
    smaller = (_LONGEST, round(height * _LONGEST / width))
    return np.asarray(Image.fromarray(image).resize(smaller, Image.Resampling.BICUBIC))


def _crop(region: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "96 96 3"]:
    height, width = region.shape[:2]
    side = int(rng.integers(72, min(129, height + 1, width + 1)))
    while True:
        top, left = (int(rng.integers(0, room - side + 1)) for room in (height, width))
        patch = region[top : top + side, left : left + side]
        if patch.std() > 2:  # the black around an eye's photograph shows nothing
            break
    crop = np.asarray(Image.fromarray(patch).resize((_CROP, _CROP), Image.Resampling.BICUBIC), np.float32)
    crop = crop[:, ::-1] if rng.random() < 0.5 else crop
    exposed = (crop - 128) * rng.uniform(0.7, 1.3) + 128 + rng.uniform(-40, 40)
    return exposed.round().clip(0, 255).astype(np.uint8)
