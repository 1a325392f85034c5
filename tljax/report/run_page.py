"""The page of a trained run: how good it is, where it fails, and what the network sees."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tljax import metrics
from tljax.report import figures
from tljax.report.blocks import Block, Card, Figure, Heading, Numbers, Picture, Pictures, Row, Table, Text
from tljax.report.mosaic import mosaic
from tljax.report.page import Section, write_page
from tljax.report.text import dotted, duration, number, percent, shorten

_MODES = {"linear_probe": "linear probe", "finetune": "fine-tuned"}


def write(path: str | os.PathLike, record: Mapping[str, Any]) -> Path:
    """Writes the page of a run; see `sections` for the record, of which `title` names the page.

    Raises:
        InputError: the file cannot be written.
    """
    mode = _MODES.get(record.get("mode"), record.get("mode"))
    subtitle = dotted(record.get("model"), mode, record.get("data"))
    return write_page(path, record.get("title") or "A trained classifier", sections(record), subtitle=subtitle)


def sections(record: Mapping[str, Any]) -> list[Section]:
    """The page's sections. Every part of the record but `classes` may be absent or None, and is then left out.

    Args:
        record: classes (C names); title, model, mode, data; seconds; train_images, val_images (counts);
            probs (n, C) and labels (n,) of the validation photos; l2 (the strength taken), l2_path: {l2,
            val_accuracy, val_loss} each; curve: {step, loss, accuracy, val_accuracy} each;
            wrong: {image (uint8), file, true, predicted, prob} each, the surest mistake first;
            photo (uint8) and feature_maps: (layer, (h, w, c) floats) each;
            skipped: (file, reason) each; duplicates: groups of equal files, or one line of text each.
    """
    classes = record["classes"]
    probs, labels = record.get("probs"), record.get("labels")
    known = probs is not None and labels is not None and len(labels) > 0
    measures = metrics.summarise(probs, labels, classes) if known else None
    reliability = metrics.reliability(probs, labels) if known else None
    built = [
        Section("At a glance", [Numbers(_numbers(record, measures)), *_glance(record, reliability)]),
        Section("Where it goes wrong", _mistakes(measures, classes)),
        Section("Surest mistakes", _wrong(record.get("wrong"))),
        Section("What the network sees", _feature_maps(record.get("photo"), record.get("feature_maps"))),
        Section("Photos left out", _left_out(record.get("skipped"), record.get("duplicates"))),
    ]
    return [section for section in built if section.blocks]


def cost_tiles(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Tiles (label, value, note) of what a training took: classes, train_images, val_images, seconds, where known."""
    tiles = []
    if record.get("classes"):
        tiles.append(("Classes", number(len(record["classes"])), ""))
    train, validation = record.get("train_images"), record.get("val_images")
    if train is not None:
        held_out = f"{number(validation)} to validate" if validation is not None else ""
        tiles.append(("Training photos", number(train), held_out))
    if record.get("seconds") is not None:
        tiles.append(("Time", duration(record["seconds"]), ""))
    return tiles


def _numbers(record: Mapping[str, Any], measures: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    tiles = []
    if measures:
        tiles = [
            ("Accuracy", percent(measures["accuracy"]), "validation photos"),
            ("Balanced", percent(measures["balanced_accuracy"]), "mean of classes"),
            ("Calibration", percent(measures["ece"]), "expected error"),
        ]
    return tiles + cost_tiles(record)


def _glance(record: Mapping[str, Any], reliability: metrics.Reliability | None) -> list[Block]:
    plots: list[Block] = []
    if record.get("l2_path"):
        plots.append(
            Figure(
                figures.accuracy_vs_l2(record["l2_path"], record.get("l2")),
                "Accuracy and loss on held-out training folds against the L2 strength",
                "The strength is chosen inside the training photos; validation photos play no part.",
            )
        )
    if record.get("curve"):
        plots.append(
            Figure(figures.learning_curve(record["curve"]), "Accuracy and training loss against the training step")
        )
    if reliability:
        plots.append(
            Figure(
                figures.reliability(reliability),
                "Reliability diagram: share that is right against the probability of the predicted class",
                "On the dashed line, 80 % sure means right 8 times in 10.",
            )
        )
    return [Row(plots)] if plots else []


def _mistakes(measures: Mapping[str, Any] | None, classes: Sequence[str]) -> list[Block]:
    if measures is None:
        return []
    matrix = np.array(measures["confusion"])
    worst = metrics.top_confusions(matrix, classes, limit=10)
    alt = f"Confusion matrix of {len(classes)} classes; the most frequent mistakes are listed as text"
    rows = [
        (shorten(true, 60), shorten(predicted, 60), count, percent(share)) for true, predicted, count, share in worst
    ]
    table = Table(["True class", "Taken for", "Photos", "of its class"], rows) if rows else Text("No mistake at all.")
    figure = Figure(figures.confusion(matrix, classes), alt)
    listed = [Heading("Most frequent mistakes"), table]
    return [Row([figure, Card(listed)])] if len(classes) <= 12 else [figure, *listed]


def _wrong(wrong: Sequence[Mapping[str, Any]] | None) -> list[Block]:
    pictures = [
        Picture(
            photo["image"],
            f"A photo of {photo['true']}, taken for {photo['predicted']}",
            f"{photo['predicted']}, {percent(photo['prob'])}",
            f"really {photo['true']} · {shorten(Path(photo['file']).name, 40)}",
        )
        for photo in wrong or []
    ]
    if not pictures:
        return []
    return [
        Text("The validation photos that it got wrong while being most certain. Some may be mislabelled."),
        Pictures(pictures),
    ]


def _feature_maps(photo: np.ndarray | None, maps: Sequence[tuple[str, np.ndarray]] | None) -> list[Block]:
    blocks: list[Block] = []
    if not maps:
        return blocks
    text = (
        "The first channels of some layers for one photo, dark where a channel is silent and yellow where it answers "
        "most. Early layers keep the outline; late ones say only roughly where something is."
    )
    blocks.append(Text(text))
    if photo is not None:
        blocks.append(Pictures([Picture(photo, "The photo whose feature maps follow", "The photo")]))
    return [*blocks, Row([Card([_layer(name, values)]) for name, values in maps])]


def _layer(name: str, maps: np.ndarray) -> Picture:
    height, width, channels = maps.shape
    shown = min(32, channels)
    note = f"{height} × {width}, {shown} of {channels} channels"
    return Picture(mosaic(maps, count=shown), f"Feature maps of layer {name}", name, note)


def _left_out(skipped: Sequence[tuple[str, str]] | None, duplicates: Sequence[Any] | None) -> list[Block]:
    blocks: list[Block] = []
    if skipped:
        blocks += [
            Text(f"{len(skipped):,} files could not be read and were left out."),
            Table(["File", "Reason"], [(file, reason) for file, reason in skipped]),
        ]
    if duplicates:
        groups = [(group,) if isinstance(group, str) else (" = ".join(map(str, group)),) for group in duplicates]
        blocks += [
            Text("The same picture is among the training and the validation photos, which flatters the figures above."),
            Table(["Equal files"], groups),
        ]
    return blocks
