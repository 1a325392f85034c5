"""Small folders of synthetic photographs for tests: `from tests.photos import make_photos`."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from experiments.fuzz.photos import photo


def make_photos(
    folder: Path, classes: Mapping[str, int], size: int | tuple[int, int] = 64, suffix: str = ".jpg"
) -> Path:
    """Writes `folder/<class>/<class>_000<suffix>`, ...: separable classes, every picture different.

    Args:
        folder: made where it is missing.
        classes: the number of pictures of each class, such as {"red": 6, "blue": 6}.
        size: the side, or (height, width), in pixels.
        suffix: ".jpg", ".png", ... chooses the format.
    Returns:
        `folder`.
    """
    for name, count in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.fromarray(photo(name, number, size)).save(folder / name / f"{name}_{number:03d}{suffix}")
    return folder
