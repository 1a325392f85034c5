"""Synthetic photographs: separable classes, and no two pictures alike."""

import zlib

import numpy as np

COLOURS = {
    "red": (200, 40, 40),
    "green": (40, 180, 60),
    "blue": (50, 70, 210),
    "yellow": (220, 200, 40),
    "grey": (128, 128, 128),
    "purple": (150, 50, 170),
}


def photo(name: str, number: int, size: int | tuple[int, int] = 64) -> np.ndarray:
    """One picture of a class: its colour and its stripes (both follow from the name) under smooth noise.

    Args:
        name: a key of `COLOURS`, or any other word (its colour is then drawn from the name).
        number: which picture of the class; every number gives another.
        size: the side, or (height, width), in pixels.
    Returns:
        uint8 (height, width, 3).
    """
    height, width = (size, size) if isinstance(size, int) else size
    seed = zlib.crc32(name.encode())
    fallback = np.random.default_rng(seed).integers(40, 216, 3)
    colour = np.asarray(COLOURS.get(name, fallback), np.float32)
    rng = np.random.default_rng([seed, number])
    rows, columns = np.mgrid[:height, :width]
    angle = np.pi * (seed % 7) / 7
    wave = np.cos((rows * np.sin(angle) + columns * np.cos(angle)) * 0.4 + rng.uniform(0, 6.28))
    coarse = rng.normal(0, 25, (height // 8 + 1, width // 8 + 1, 3))
    noise = coarse.repeat(8, 0).repeat(8, 1)[:height, :width] + rng.normal(0, 8, (height, width, 3))
    return np.clip(colour + 25 * wave[..., None] + noise, 0, 255).astype(np.uint8)
