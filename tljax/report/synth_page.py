"""Pages of what the network dreams, and of how it is fooled."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from tljax.report.blocks import (
    Bar,
    Bars,
    Block,
    Card,
    Figure,
    Heading,
    Numbers,
    Picture,
    Row,
    Slider,
    Table,
    Text,
)
from tljax.report.page import Section, write_page
from tljax.report.text import budgets, dotted, duration, number, percent, tiles

_NORMS = {"linf": "L∞", "l2": "L2"}


def write_ideal(path: str | os.PathLike, record: Mapping[str, Any]) -> Path:
    """Writes the page of ideal-class images.

    Args:
        record: images, and start and negative where known: see `ideal_blocks`; model (maker or makers), method, steps,
            seconds where known.
    Raises:
        InputError: the file cannot be written.
    """
    steps = f"{number(record['steps'])} steps" if record.get("steps") else ""
    time = duration(record["seconds"]) if record.get("seconds") is not None else ""
    subtitle = dotted(record.get("model"), record.get("method"), steps, time)
    unjudged = "What excites it" if any("activation" in image for image in record["images"]) else "Not judged by others"
    title = "Judged by others" if any(image.get("judges") for image in record["images"]) else unjudged
    blocks = ideal_blocks(record["images"], start=record.get("start", "noise"), negative=record.get("negative", False))
    return write_page(path, "Ideal images", [Section(title, blocks)], subtitle=subtitle)


def save_attack(folder: Path, record: Mapping[str, Any]) -> Path:
    """Saves what an attack made of a photo: original, adversarial, difference and side-by-side.png, and the page.

    Args:
        record: that of `attack_blocks`; model, method and norm where known.
    Returns:
        the page, report.html.

    Raises:
        InputError: the page cannot be written.
        OSError: a picture cannot be written.
    """
    pictures = dict(record["pictures"])
    pictures["difference"] = magnify(pictures["original"], pictures["adversarial"])
    pictures["side-by-side"] = np.concatenate(list(pictures.values()), axis=1)
    for name, picture in pictures.items():
        Image.fromarray(picture).save(folder / f"{name}.png")
    before, after = record["source"]["name"], record["adversarial"]["name"]
    title = f"{before} → {after}" if record.get("success", True) or before != after else f"{before}, not fooled"
    norm = record.get("norm") or ""
    subtitle = dotted(record.get("model"), record.get("method"), _NORMS.get(norm, norm))
    sections = [Section("Before and after", attack_blocks(record))]
    return write_page(folder / "report.html", title, sections, subtitle=subtitle)


def write_robustness(path: str | os.PathLike, record: Mapping[str, Any]) -> Path:
    """Writes the page of a robust accuracy curve.

    Args:
        record: curve: {eps, accuracy, and interval where known} each, eps in [0, 1] units; images (count); model,
            method, data, and masked_gradients (count) where known.
    Raises:
        InputError: the file cannot be written.
    """
    subtitle = dotted(record.get("model"), record.get("method"), record.get("data"))
    return write_page(
        path, "Robustness", [Section("Accuracy under attack", robustness_blocks(record))], subtitle=subtitle
    )


def save_curve(path: str | os.PathLike, curve: Sequence[Mapping[str, Any]]) -> None:
    """Saves a robust accuracy curve, {eps, accuracy} each, as a PNG."""
    from tljax.report import figures  # here, as other pages need no matplotlib, which takes half a second to import

    figures.robustness_curve(curve).savefig(path, dpi=150, facecolor="white")


def ideal_blocks(images: Sequence[Mapping[str, Any]], *, start: str = "noise", negative: bool = False) -> list[Block]:
    """A card for each ideal image: the picture, the maker's own opinion, and those of the judges.

    Args:
        images: {class, image (uint8), prob (the maker's), judges: {model: {prob, rank}}} each; of a channel's picture
            activation, the mean of the channel, and no prob.
        start: what they started from.
        negative: they were led away from their class or channel.
    """
    channels, judged = any("activation" in image for image in images), any(image.get("judges") for image in images)
    verbs = ("calms", "lowers") if negative else ("excites", "raises")
    aim = f"{verbs[0]} one channel" if channels else f"{verbs[1]} the score of one class"
    text = f"From {start}, step by step, towards whatever {aim}"
    if judged:
        text += (
            "; then saved, read back and shown to networks that had no part in it. Only their opinion counts: a "
            "network always believes what it made itself."
        )
    elif not channels:
        text += ". No network but the maker was asked, and a network always believes what it made itself."
    return [Text(text.rstrip(".") + "."), Row([_ideal_card(image) for image in images], wide=False)]


def attack_blocks(record: Mapping[str, Any]) -> list[Block]:
    """The photo and what it became, one over the other, and the difference between them.

    Args:
        record: pictures: {original, adversarial: uint8 of one size}, whose difference is shown x 20 around grey;
            source and adversarial: {name, prob}, adversarial also linf and l2 in [0, 1] units where known; success
            (default true), target (name), eps, steps, seconds, masked_gradients (bool), as_photo ({name, prob}) where
            known.
    """
    before, after = record["source"], record["adversarial"]
    original, changed = record["pictures"]["original"], record["pictures"]["adversarial"]
    difference = magnify(original, changed)
    text = (
        "Each pixel is changed a little, in the direction that the network minds most. Saved as an ordinary PNG and "
        "read back, the photo looks the same to us, and the network gives another answer."
    )
    if not record.get("success", True):
        wanted = f" as {record['target']}" if record.get("target") else ""
        text = f"The attack did not succeed: the network does not see it{wanted}. This is the best that was found."
        if record.get("masked_gradients"):
            text += " The network shows no gradient but zero here, so this says nothing of how robust it is."
    if as_photo := record.get("as_photo"):
        text += (
            f" Given to the network like any photo, so resized and cropped once more, it is {as_photo['name']}, "
            f"{percent(as_photo['prob'])}."
        )
    slider = Slider(
        Picture(original, "The original photo", before["name"], percent(before["prob"]), exact=True),
        Picture(changed, "The changed photo", after["name"], percent(after["prob"]), exact=True),
    )
    change = Picture(difference, "The difference, magnified", "The difference, × 20", "Grey is no change.", exact=True)
    numbers = _attack_numbers(record)
    return [Text(text), *([Numbers(numbers)] if numbers else []), Row([Card([slider]), Card([change])])]


def robustness_blocks(record: Mapping[str, Any]) -> list[Block]:
    """The curve of a `write_robustness` record, with what its figures mean."""
    from tljax.report import figures

    curve, count = record["curve"], f" of {number(record['images'])} photos" if record.get("images") else ""
    text = (
        f"The share{count} that is still classified rightly when each pixel may be changed by as much as the budget. "
        "It is an upper bound of the robust accuracy: a stronger attack may leave less."
    )
    if record.get("masked_gradients"):
        text += (
            f" {number(record['masked_gradients'])} photos show the attack no gradient but zero, so that they "
            "withstand it says nothing."
        )
    words = budgets([point["eps"] for point in curve])
    rows = [(budget, percent(point["accuracy"])) for budget, point in zip(words, curve, strict=True)]
    alt = "Accuracy under attack: " + ", ".join(f"{share} at {budget}" for budget, share in rows)
    heads = ["Budget", "Still right"]
    if all("interval" in point for point in curve):
        heads.append("95 % interval")
        rows = [(*row, " to ".join(map(percent, p["interval"]))) for row, p in zip(rows, curve, strict=True)]
    table = Table(heads, rows)
    return [Text(text), Row([Figure(figures.robustness_curve(curve), alt), Card([table])])]


def magnify(
    original: UInt8[np.ndarray, "h w 3"], changed: UInt8[np.ndarray, "h w 3"], factor: int = 20
) -> UInt8[np.ndarray, "h w 3"]:
    """`factor` times the difference of two 8-bit images around mid-grey (128), clipped."""
    difference = changed.astype(np.int32) - original.astype(np.int32)
    return np.clip(128 + factor * difference, 0, 255).astype(np.uint8)


def _ideal_card(image: Mapping[str, Any]) -> Card:
    judges = image.get("judges") or {}
    bars = [
        Bar(name, judge["prob"], _ordinal(judge["rank"]), strong=judge["rank"] == 1) for name, judge in judges.items()
    ]
    unasked = [] if "activation" in image else [Text("No other network was asked.", note=True)]
    opinion = [Heading("Judges"), Bars(bars)] if bars else unasked
    caption = f"{percent(image['prob'])} says its maker" if image.get("prob") is not None else ""
    if "activation" in image:
        caption = f"mean activation {number(image['activation'])}" if image["activation"] else "never became active"
    picture = Picture(
        image["image"],
        f"An image made {'for' if 'activation' in image else 'to be an ideal'} {image['class']}",
        image["class"],
        caption,
        exact=True,
    )
    return Card([picture, *opinion])


def _ordinal(rank: int) -> str:
    return {1: "1st", 2: "2nd", 3: "3rd"}.get(rank, f"rank {number(rank)}")


def _attack_numbers(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    eps, norm, change = record.get("eps"), record.get("norm", "linf"), record["adversarial"]
    largest = f"of {255 * eps:.3g}/255 allowed" if eps and norm == "linf" else "of any pixel"
    total = f"of {eps:.3g} allowed" if eps and norm == "l2" else "L2 distance"
    return tiles(
        ("Greatest change", change.get("linf"), lambda linf: f"{255 * linf:.3g}/255", largest),
        ("Total change", change.get("l2"), lambda l2: f"{l2:.3g}", total),
        ("Steps", record.get("steps"), number, ""),
        ("Time", record.get("seconds"), duration, ""),
    )
