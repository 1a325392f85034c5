"""The page of `tljax demo`: what a pretrained network gives, where it helps and where it does not."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tljax.report import figures, synth_page
from tljax.report.blocks import Bar, Bars, Block, Card, Figure, Numbers, Picture, Pictures, Row, Text
from tljax.report.page import Section, write_page
from tljax.report.run_page import cost_tiles
from tljax.report.text import dotted, duration, percent

_TASKS = {
    "textures": (
        "Textures: close to what it knows",
        "Crops of photographs of brick, grass, gravel and the like, a few for each class, and the same linear "
        "classifier twice: on the network's features and on the raw pixels. Whoever has seen a million photos knows "
        "such surfaces; raw pixels would have to meet them again in the very same place.",
    ),
    "digits": (
        "Digits: far from what it knows",
        "Handwritten digits, 8 × 8 pixels, centred and of one size, again both ways. Here the pixels themselves say "
        "nearly everything, and features learned from photos have little to add; for pictures so unlike photos, "
        "fine-tuning the network is the way.",
    ),
}


def write(path: str | os.PathLike, record: Mapping[str, Any]) -> Path:
    """Writes the page of the demonstration; see `sections` for the record.

    Raises:
        InputError: the file cannot be written.
    """
    promise = "A pretrained network, put to use and looked into, with nothing but what is installed"
    return write_page(path, "tljax demo", sections(record), subtitle=dotted(promise, record.get("model")))


def sections(record: Mapping[str, Any]) -> list[Section]:
    """The page's sections; each part of the record may be absent or None, and is then left out.

    Args:
        record: model (name); seconds; classify: {image (uint8), top: [{name, prob}]}; textures and digits:
            {features, pixels (accuracies in [0, 1]), seconds, classes (names), train_images, val_images,
            images: [uint8] or [(uint8, class name)]}; ideal and attack as in `synth_page`.
    """
    built = [
        Section("In short", _short(record)),
        Section("A photo, named", _classify(record.get("classify"))),
        *(Section(title, _task(record.get(name), text)) for name, (title, text) in _TASKS.items()),
        Section("What it dreams of", synth_page.ideal_blocks(record.get("ideal"))),
        Section("How little it takes to fool it", synth_page.attack_blocks(record.get("attack"))),
    ]
    return [section for section in built if section.blocks]


def _short(record: Mapping[str, Any]) -> list[Block]:
    tasks = {
        name.capitalize(): (record[name]["features"], record[name]["pixels"]) for name in _TASKS if record.get(name)
    }
    blocks: list[Block] = [
        Text(
            "Someone has trained a network on a million photos; transfer learning keeps what it sees and trains only a "
            "small classifier on top. Below, one such network names a photo, learns new classes in seconds, and is "
            "measured against the same classifier on raw pixels, so that you see where transfer pays."
        )
    ]
    if tasks:
        alt = ". ".join(f"{name}: {percent(f)} on features, {percent(p)} on pixels" for name, (f, p) in tasks.items())
        blocks.append(Figure(figures.pixels_vs_features(tasks), alt))
    if record.get("seconds") is not None:
        blocks.append(Text(f"All of it took {duration(record['seconds'])} on this computer.", note=True))
    return blocks


def _classify(result: Mapping[str, Any] | None) -> list[Block]:
    if not result:
        return []
    bars = [Bar(entry["name"], entry["prob"], strong=i == 0) for i, entry in enumerate(result["top"])]
    text = Text(
        "The network as it comes: 1,000 classes, no training here. What it is unsure of tells as much as its first "
        "answer: the runners-up look alike to us as well."
    )
    picture = Picture(result["image"], "The photo that was classified")
    return [text, Row([Card([picture]), Card([Bars(bars)])])]


def _task(result: Mapping[str, Any] | None, text: str) -> list[Block]:
    if not result:
        return []
    tiles = [
        ("On features", percent(result["features"]), "accuracy"),
        ("On raw pixels", percent(result["pixels"]), "accuracy"),
        ("Transfer adds", f"{100 * (result['features'] - result['pixels']):+.1f}", "percentage points"),
    ]
    blocks: list[Block] = [Text(text), Numbers(tiles + cost_tiles(result))]
    samples = [pair if isinstance(pair, tuple) else (pair, "") for pair in result.get("images") or []]
    if samples:
        pictures = [Picture(image, f"A sample of {name}" if name else "A sample", note=name) for image, name in samples]
        blocks.append(Pictures(pictures, "small"))
    return blocks
