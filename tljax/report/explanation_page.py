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
    "smoothgrad": (
        "Which pixels {name} hangs on",
        "As the gradient, averaged over noisy copies of the photo: bright are the pixels of which a small change would "
        "change the score most, up or down.",
    ),
    "integrated_gradients": (
        "Which pixels made a difference to {name}",
        "The pixels that account for the difference in score to a picture of nothing: red for the class, blue against "
        "it.",
    ),
    "occlusion": (
        "What covering takes away from {name}",
        "A square is moved over the photo and covers it: red where the score of the class falls then, blue where it "
        "rises.",
    ),
}
NOTHING = {
    "grad_cam": "Nothing in the last layer speaks for this class, so the map is empty: all that is active there speaks "
    "against it.",
    "saliency": "The gradient is zero everywhere, so the map is empty.",
    "smoothgrad": "The gradient is zero everywhere, so the map is empty.",
    "integrated_gradients": "The gradient is zero all the way, or the photo is that of nothing, so the map is empty.",
    "occlusion": "Covering a part changes nothing, so the map is empty.",
}
"""What an empty map means, by method."""


def save_explanation(
    folder: Path, photo: UInt8[np.ndarray, "h w 3"], heat: Float[np.ndarray, "h w"], name: str, method: str
) -> list[str]:
    """Saves a photo, a heat map of it, and one laid over the other, as PNGs, and report.html.

    Args:
        heat: (h, w), of any unit; see `colour_map`.
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
    if not np.abs(heat).max() > 0:  # nan is none either
        title, meaning = f"Nothing found for {name}", NOTHING[method]
    shown = [Picture(picture, f"{title}: the {part}", part) for part, picture in pictures.items()]
    write_page(folder / "report.html", title, [Section(method, [Text(meaning), Pictures(shown, "large")])])
    return [f"{part}.png" for part in pictures]


def colour_map(heat: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """A map as colours, at their strongest for the top half per cent and above.

    One without negative values from dark to bright; a signed one red above 0, blue below, white at 0.
    """
    top = np.quantile(np.abs(heat), 0.995)
    scaled = np.clip(heat / (top if top > 0 else 1.0), -1, 1)
    shown = colormaps["RdBu_r"]((scaled + 1) / 2) if (heat < 0).any() else colormaps["inferno"](scaled)
    return np.round(255 * shown[..., :3]).astype(np.uint8)
