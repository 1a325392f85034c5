"""What a classification hangs on: pictures of a heat map, and the page that says what it means."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from PIL import Image

from tljax.report.blocks import Picture, Pictures, Text
from tljax.report.page import Section, write_page

_EXPLAINED = {
    "grad_cam": (
        "What speaks for {name}",
        "Bright is where the last layer's channels that speak for the class are active; what speaks against is dark.",
    ),
    "saliency": (
        "Which pixels {name} hangs on",
        "Bright are the pixels of which a small change would change the score most: up or down, the map does not say.",
    ),
    "integrated_gradients": (
        "Which pixels made a difference to {name}",
        "Bright are the pixels that account for most of the difference in score to a black picture: for the class or "
        "against it, the map does not say.",
    ),
}
NOTHING = {
    "grad_cam": "Nothing in the last layer speaks for this class, so the map is empty: all that is active there speaks "
    "against it.",
    "saliency": "The gradient is zero everywhere, so the map is empty.",
    "integrated_gradients": "The gradient is zero all the way, or the photo is black, so the map is empty.",
}
"""What an empty map means, by method."""


def save_explanation(
    folder: Path, photo: UInt8[np.ndarray, "h w 3"], heat: Float[np.ndarray, "h w"], name: str, method: str
) -> list[str]:
    """Saves a photo, a heat map of it, and one laid over the other, as PNGs, and report.html.

    Args:
        heat: (h, w), >= 0, of any unit; see `colour_map`.
        name: the class that is explained.  method: how, for the page.
    Returns:
        the names of the PNGs in the folder.  A map that is all zero is said to show nothing.

    Raises:
        OSError: a file cannot be written.
    """
    colours = colour_map(heat)
    pictures = {"photo": photo, "heat": colours, "overlay": np.round(0.5 * photo + 0.5 * colours).astype(np.uint8)}
    for part, picture in pictures.items():
        Image.fromarray(picture).save(folder / f"{part}.png")
    title, meaning = (words.format(name=name) for words in _EXPLAINED[method])
    if not heat.max() > 0:
        title, meaning = f"Nothing found for {name}", NOTHING[method]
    shown = [Picture(picture, f"{title}: the {part}", part) for part, picture in pictures.items()]
    write_page(folder / "report.html", title, [Section(method, [Text(meaning), Pictures(shown, "large")])])
    return [f"{part}.png" for part in pictures]


def colour_map(heat: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """A map, >= 0, as colours: dark for nothing, bright for the top half per cent and above."""
    top = np.quantile(heat, 0.995)
    scaled = np.clip(heat / (top if top > 0 else 1.0), 0, 1)
    return np.round(255 * colormaps["inferno"](scaled)[..., :3]).astype(np.uint8)
