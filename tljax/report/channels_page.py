"""The page of a layer: its channels, each by the picture it would like best and the photos that come nearest."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from tljax.report.blocks import Block, Card, Heading, Picture, Pictures, Row, Text
from tljax.report.page import Section, write_page
from tljax.report.text import dotted, duration, number, percent

_ACROSS, _GAP, _LINE = 3, 4, 128
_IDEAL = "The first picture of each channel is made from noise, step by step, towards whatever excites it."
_CROPS = (
    "The crops beside it are from your photos: what excites it most, strongest first, cut out around the place of the "
    "channel's map where it is strongest."
)
_CLASSES = {
    "weights": "It speaks for the classes in whose score it has the greatest weight, above its mean over all classes.",
    "photos": "Beyond this layer the network goes on, so that a channel speaks for no class by itself: what is told is "
    "what the network takes those photos for, on average.",
    None: "Nothing tells which classes a channel speaks for.",
}
_SILENT = "It is 0 all over its ideal picture, which shows nothing."
_SIMILAR = "Similar channels answer the same photos; 1 would be always."


def write(path: str | os.PathLike, record: Mapping[str, Any]) -> Path:
    """Writes the page of a layer.

    Args:
        record: layer, classes_by ("weights", "photos" or None), photos (how many were shown); channels: {channel,
            image (uint8), activation, crops (uint8, (m, s, s, 3)), photos (m names), classes: (name, weight or
            probability), similar: (channel, correlation)} each; chosen (how the channels were), model, steps and
            seconds where known.
    Raises:
        InputError: the file cannot be written.
    """
    steps = f"{number(record['steps'])} steps" if record.get("steps") else ""
    seconds = duration(record["seconds"]) if record.get("seconds") is not None else ""
    shown = f"{number(record['photos'])} photos" if record["photos"] else ""
    title = f"Channels of {record['layer']}"
    sections = [Section(record.get("chosen") or "Channels", channel_blocks(record))]
    return write_page(path, title, sections, subtitle=dotted(record.get("model"), shown, steps, seconds))


def channel_blocks(record: Mapping[str, Any]) -> list[Block]:
    """What the pictures mean, and a card for each channel of a `write` record."""
    words = [_IDEAL, _CROPS if record["photos"] else "", _CLASSES[record["classes_by"]]]
    words += [_SIMILAR] if any(channel["similar"] for channel in record["channels"]) else []
    cards = [_card(channel, record["classes_by"], bool(record["photos"])) for channel in record["channels"]]
    return [Text(" ".join(filter(None, words))), Row(cards)]


def contact_sheet(crops: UInt8[np.ndarray, "m s s 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Pictures of one size three by three, in rows from the upper left, with grey between them and where none is."""
    side = crops.shape[1] + _GAP
    rows = max(_ACROSS, -(-len(crops) // _ACROSS))
    sheet = np.full((rows * side - _GAP, _ACROSS * side - _GAP, 3), _LINE, np.uint8)
    for i, crop in enumerate(crops):
        top, left = i // _ACROSS * side, i % _ACROSS * side
        sheet[top : top + side - _GAP, left : left + side - _GAP] = crop
    return sheet


def _card(channel: Mapping[str, Any], classes_by: str | None, shown: bool) -> Card:
    says, show = ("Taken for", percent) if classes_by == "photos" else ("Speaks for", "{:+.2g}".format)
    name = f"channel {channel['channel']}"
    note = f"mean activation {number(channel['activation'])}" if channel["activation"] else ""
    silent = [] if channel["activation"] else [Text(_SILENT, note=True)]
    pictures = [Picture(channel["image"], f"What excites {name} most", "Ideal picture", note, exact=True)]
    if len(channel["photos"]):
        files = ", ".join(os.path.basename(file) for file in channel["photos"])
        alt = f"What in your photos excites {name} most: {files}"
        pictures.append(Picture(contact_sheet(channel["crops"]), alt, "In your photos", "strongest first"))
    elif shown:
        silent.append(Text("None of the photos excites it.", note=True))
    classes = [f"{word} ({show(worth)})" for word, worth in channel["classes"]]
    similar = [f"{other} ({correlation:.2f})" for other, correlation in channel["similar"]]
    lines = _listed(says, classes), _listed("Similar", similar)
    return Card([Heading(name.capitalize()), Pictures(pictures, "pair"), *silent, *filter(None, lines)])


def _listed(what: str, words: Sequence[str]) -> Text | None:
    return Text(f"{what}: {', '.join(words)}", note=True) if words else None
