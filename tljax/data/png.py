"""Pictures as PNG files, which hold every pixel exactly."""

import os
import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from tljax.data.images import decode

Picture = UInt8[np.ndarray, "h w 3"]


def save_png(path: str | os.PathLike, image: Picture) -> str:
    """Writes a picture, uint8 (h, w, 3), and returns the file's name.

    Raises:
        OSError: the file cannot be written.
    """
    Image.fromarray(image).save(path)
    return os.fspath(path)


def read_png(path: str | os.PathLike) -> Picture:
    """The picture in a file, uint8 (h, w, 3).

    Raises:
        OSError: the file cannot be read.
        DecodeError: it is no picture.
    """
    return decode(Path(path).read_bytes())


def through_png(image: Picture) -> Picture:
    """What is read back after a picture was saved."""
    with tempfile.TemporaryDirectory() as folder:
        return read_png(save_png(Path(folder) / "image.png", image))


def file_stem(name: str) -> str:
    """A class name as part of a file name: letters, digits and dashes."""
    kept = "".join(c if c.isalnum() else "-" for c in name).strip("-")
    return "-".join(filter(None, kept.split("-")))[:60] or "class"
