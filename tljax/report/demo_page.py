"""The page of `tljax demo`: what a pretrained network gives, where it helps and where it does not."""

import os
from collections.abc import Mapping
from functools import partial
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
    parts = (
        ("classify", "A photo, named", _classify),
        *((name, title, partial(_task, text=text)) for name, (title, text) in _TASKS.items()),
        ("ideal", "What it dreams of", synth_page.ideal_blocks),
        ("attack", "How little it takes to fool it", synth_page.attack_blocks),
    )
    shown = [Section(title, build(record[name])) for name, title, build in parts if record.get(name)]
    return [Section("In short", _short(record)), *shown]


def _short(record: Mapping[str, Any]) -> list[Block]:
    tasks = {
        name.capitalize(): (record[name]["features"], record[name]["pixels"]) for name in _TASKS if record.get(name)
    }
    text = (
        "Someone has trained a network on a million photos; transfer learning keeps what it sees and trains only a "
        "small classifier on top. Below, one such network names a photo, learns new classes in seconds, and is "
        "measured against the same classifier on raw pixels, so that you see where transfer pays."
    )
    alt = ". ".join(f"{name}: {percent(f)} on features, {percent(p)} on pixels" for name, (f, p) in tasks.items())
    time = f"All of it took {duration(record.get('seconds'))} on this computer."
    return [
        Text(text),
        *([Figure(figures.pixels_vs_features(tasks), alt)] if tasks else []),
        *([Text(time, note=True)] if record.get("seconds") is not None else []),
    ]


def _classify(result: Mapping[str, Any]) -> list[Block]:
    bars = [Bar(entry["name"], entry["prob"], strong=i == 0) for i, entry in enumerate(result["top"])]
    text = Text(
        "The network as it comes: 1,000 classes, no training here. What it is unsure of tells as much as its first "
        "answer: the runners-up look alike to us as well."
    )
    picture = Picture(result["image"], "The photo that was classified")
    return [text, Row([Card([picture]), Card([Bars(bars)])])]


def _task(result: Mapping[str, Any], text: str) -> list[Block]:
    tiles = [
        ("On features", percent(result["features"]), "accuracy"),
        ("On raw pixels", percent(result["pixels"]), "accuracy"),
        ("Transfer adds", f"{100 * (result['features'] - result['pixels']):+.1f}", "percentage points"),
    ]
    samples = [pair if isinstance(pair, tuple) else (pair, "") for pair in result.get("images") or []]
    pictures = [Picture(image, f"A sample of {name}" if name else "A sample", note=name) for image, name in samples]
    shown = [Pictures(pictures, "small")] if pictures else []
    return [Text(text), Numbers(tiles + cost_tiles(result)), *shown]
