"""Pages of what the network dreams, and of how it is fooled."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tljax.report import figures
from tljax.report.blocks import Bar, Bars, Block, Card, Figure, Heading, Numbers, Picture, Pictures, Row, Slider, Text
from tljax.report.page import Section, write_page
from tljax.report.text import duration, number, percent


def write_ideal(path: str | os.PathLike, record: Mapping[str, Any]) -> Path:
    """Writes the page of ideal-class images.

    Args:
        record: images: see `ideal_blocks`; model (maker or makers), method, steps, seconds where known.
    Raises:
        InputError: the file cannot be written.
    """
    words = [record.get("model"), record.get("method")]
    if record.get("steps"):
        words.append(f"{number(record['steps'])} steps")
    if record.get("seconds") is not None:
        words.append(duration(record["seconds"]))
    sections = [Section("Judged by others", ideal_blocks(record["images"]))]
    return write_page(path, "Ideal images", sections, subtitle=" · ".join(str(word) for word in words if word))


def write_attack(path: str | os.PathLike, record: Mapping[str, Any]) -> Path:
    """Writes the page of one attacked photo; the record is that of `attack_blocks`.

    Raises:
        InputError: the file cannot be written.
    """
    title = f"{record['source']['name']} → {record['adversarial']['name']}"
    words = [record.get("model"), record.get("method"), record.get("norm")]
    subtitle = " · ".join(str(word) for word in words if word)
    return write_page(path, title, [Section("Before and after", attack_blocks(record))], subtitle=subtitle)


def write_robustness(path: str | os.PathLike, record: Mapping[str, Any]) -> Path:
    """Writes the page of a robust accuracy curve.

    Args:
        record: curve: {eps, accuracy} each, eps in [0, 1] units; images (count); model, method, data where known.
    Raises:
        InputError: the file cannot be written.
    """
    words = [record.get("model"), record.get("method"), record.get("data")]
    subtitle = " · ".join(str(word) for word in words if word)
    return write_page(path, "Robustness", [Section("Accuracy under attack", robustness_blocks(record))], subtitle=subtitle)


def write_transfer(path: str | os.PathLike, record: Mapping[str, Any]) -> Path:
    """Writes the page of a transfer matrix, or of several.

    Args:
        record: matrices: {title, values (makers, judges) shares in [0, 1] with nan for unknown, makers, judges, note}
            each; title, subtitle where wanted.
    Raises:
        InputError: the file cannot be written.
    """
    sections = [Section(matrix["title"], transfer_blocks(matrix)) for matrix in record["matrices"]]
    title = record.get("title") or "Does it fool another network?"
    return write_page(path, title, sections, subtitle=record.get("subtitle") or "")


def ideal_blocks(images: Sequence[Mapping[str, Any]] | None) -> list[Block]:
    """A card for each ideal image: the picture, the maker's own opinion, and those of the judges.

    Args:
        images: {class, image (uint8), prob (the maker's), judges: {model: {prob, rank}}} each.
    """
    if not images:
        return []
    text = Text(
        "From noise, step by step, towards whatever raises the score of one class; then saved, read back and shown to "
        "networks that had no part in it. Only their opinion counts: a network always believes what it made itself."
    )
    return [text, Row([_ideal_card(image) for image in images], wide=False)]


def attack_blocks(record: Mapping[str, Any] | None) -> list[Block]:
    """The photo, what it became, and the difference between them.

    Args:
        record: original, adversarial (uint8, one size), difference (uint8, times 20; absent: computed here);
            source and adversarial_class or, where `adversarial` is no array, see below: {name, prob} each.
            source: {name, prob}; adversarial: {name, prob}; images under original, changed, difference;
            success; eps, linf, l2 in [0, 1] units; steps; seconds, where known.
    """
    return [] if not record else [Text("")]
