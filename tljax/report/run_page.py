"""The page of a trained run: how good it is, where it fails, and what the network sees."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Plot

from tljax import metrics
from tljax.report import figures
from tljax.report.blocks import Block, Card, Figure, Heading, Numbers, Picture, Pictures, Row, Table, Text
from tljax.report.mosaic import mosaic
from tljax.report.page import Section, write_page
from tljax.report.text import dotted, duration, more_photos, number, percent, shorten, tiles

_MISTAKEN = "The photos that it got wrong while being most certain. Some may be mislabelled."
_UNSURE = "It got all of them right; of these photos it was the least certain."
_MODES = {"linear_probe": "linear probe", "finetune": "fine-tuned"}


def write(path: str | os.PathLike, record: Mapping[str, Any]) -> Path:
    """Writes the page of a run; see `sections` for the record, of which `title` names the page.

    Raises:
        InputError: the file cannot be written.
    """
    mode = record.get("mode") or ""
    subtitle = dotted(record.get("model"), _MODES.get(mode, mode), record.get("data"))
    return write_page(path, record.get("title") or "A trained classifier", sections(record), subtitle=subtitle)


def sections(record: Mapping[str, Any]) -> list[Section]:
    """The page's sections. Every part of the record but `classes` may be absent or None, and is then left out.

    Args:
        record: classes (C names); title, model, mode, data; seconds; train_images, val_images (counts);
            probs (n, C) and labels (n,) of the validation photos; l2 (the strength taken), l2_path: {l2,
            val_accuracy, val_loss} each; curve: {step, loss, accuracy, val_accuracy} each;
            learning_curve: by photos, see `figures.accuracy_by_photos`;
            folds: how many held out what is measured, where all photos train; tuned: whether it went on from there;
            sheet: {image (uint8), file, class} each: a few training photos;
            wrong: {image (uint8), file, true, predicted, prob} each, the surest mistake first; unsure: the same of
            photos that are right, the least sure first;
            photo (uint8) and feature_maps: (layer, (h, w, c) floats) each;
            skipped: (file, reason) each; duplicates: groups of equal files, or one line of text each.
    """
    classes = record["classes"]
    probs, labels = record.get("probs"), record.get("labels")
    known = (probs, labels) if probs is not None and labels is not None and len(labels) > 0 else None
    measures = metrics.summarise(*known, classes) if known else {}
    reliability = metrics.reliability(*known) if known else None
    wrong, unsure, maps = record.get("wrong"), record.get("unsure"), record.get("feature_maps")
    built = [
        Section("At a glance", [Numbers(_numbers(record, measures)), *_glance(record, reliability)]),
        Section("Your photos", _sheet(record["sheet"]) if record.get("sheet") else []),
        Section("Where it goes wrong", _mistakes(measures, classes) if known else []),
        Section("Surest mistakes", _judged(_MISTAKEN, wrong) if wrong else []),
        Section("Least sure", _judged(_UNSURE, unsure) if unsure else []),
        Section("What the network sees", _feature_maps(record.get("photo"), maps) if maps else []),
        Section("Photos left out", _left_out(record.get("skipped"), record.get("duplicates"))),
    ]
    return [section for section in built if section.blocks]


def cost_tiles(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Tiles (label, value, note) of what a training took: classes, train_images, val_images, seconds, where known."""
    validation = record.get("val_images")
    held_out = f"{number(validation)} to validate" if validation is not None else ""
    return tiles(
        ("Classes", record.get("classes") or None, lambda names: number(len(names)), ""),
        ("Training photos", record.get("train_images"), number, held_out),
        ("Time", record.get("seconds"), duration, ""),
    )


def _numbers(record: Mapping[str, Any], measures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    low, high = measures.get("interval") or (None, None)
    sure = f"; 95 % interval {percent(low)} to {percent(high)}" if measures else ""
    tuned = ", before fine-tuning" if record.get("tuned") else ""
    where = f"photos of {record['folds']} folds held out{tuned}" if record.get("folds") else "validation photos"
    measured = tiles(
        ("Accuracy", measures.get("accuracy"), percent, f"{where}{sure}"),
        ("Balanced", measures.get("balanced_accuracy"), percent, "mean of classes"),
        ("Calibration", measures.get("ece"), percent, "by how much its own probabilities are off, on average"),
    )
    return measured + cost_tiles(record)


def _glance(record: Mapping[str, Any], reliability: metrics.Reliability | None) -> list[Block]:
    more = record.get("learning_curve")
    alt, caption = _more_words(more, tuned=bool(record.get("tuned"))) if more else ("", "")
    parts: list[tuple[Any, Callable[[Any], Plot], str, str]] = [
        (
            record.get("l2_path"),
            partial(figures.accuracy_vs_l2, chosen=record.get("l2")),
            "Accuracy and loss on held-out training folds against the L2 strength",
            "The L2 strength holds the classifier back: the stronger, the simpler it stays. It is chosen by folds: "
            "parts of the training photos, each held out once; validation photos play no part. The loss is 0 where it "
            "is sure and right, and grows the surer it is of something wrong.",
        ),
        (more, figures.accuracy_by_photos, alt, caption),
        (record.get("curve"), figures.learning_curve, "Accuracy and training loss against the training step", ""),
        (
            reliability,
            figures.reliability,
            "Reliability diagram: share that is right against the probability of the predicted class",
            "On the dashed line, 80 % sure means right 8 times in 10.",
        ),
    ]
    plots = [Figure(draw(values), alt, caption) for values, draw, alt, caption in parts if values]
    return [Row(plots)] if plots else []


def _more_words(curve: Mapping[str, Any], *, tuned: bool) -> tuple[str, str]:
    """The description of the figure of a learning curve, and its caption."""
    points = zip([*curve["sizes"], 2 * curve["photos"]], [*curve["accuracy"], curve["twice"]], strict=True)
    alt = "Accuracy by training photos: " + ", ".join(f"{percent(share)} of {number(size)}" for size, share in points)
    said = more_photos(curve, tuned=tuned)
    how = "Measured with parts of the training photos, with its 95 % interval; the dashed end is foretold."
    return alt, f"{said[0].upper()}{said[1:]}. {how}"


def _mistakes(measures: Mapping[str, Any], classes: Sequence[str]) -> list[Block]:
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


def _sheet(sheet: Sequence[Mapping[str, Any]]) -> list[Block]:
    pictures = [
        Picture(photo["image"], f"A photo of {photo['class']}: {Path(photo['file']).name}", photo["class"])
        for photo in sheet
    ]
    return [
        Text("Some of the training photos, with their labels, as the network sees them."),
        Pictures(pictures, "small"),
    ]


def _judged(text: str, photos: Sequence[Mapping[str, Any]]) -> list[Block]:
    pictures = [
        Picture(
            photo["image"],
            f"A photo of {photo['true']}, taken for {photo['predicted']}",
            f"{photo['predicted']}, {percent(photo['prob'])}",
            f"really {photo['true']} · {shorten(Path(photo['file']).name, 40)}",
        )
        for photo in photos
    ]
    return [Text(text), Pictures(pictures)]


def _feature_maps(photo: np.ndarray | None, maps: Sequence[tuple[str, np.ndarray]]) -> list[Block]:
    text = (
        "The first channels of some layers for one photo, dark where a channel is silent and yellow where it answers "
        "most. Early layers keep the outline; late ones say only roughly where something is."
    )
    shown = [] if photo is None else [Pictures([Picture(photo, "The photo whose feature maps follow", "The photo")])]
    return [Text(text), *shown, Row([Card([_layer(name, values)]) for name, values in maps])]


def _layer(name: str, maps: np.ndarray) -> Picture:
    height, width, channels = maps.shape
    shown = min(32, channels)
    note = f"{height} × {width}, {shown} of {channels} channels"
    return Picture(mosaic(maps, count=shown), f"Feature maps of layer {name}", name, note)


def _left_out(skipped: Sequence[tuple[str, str]] | None, duplicates: Sequence[Any] | None) -> list[Block]:
    unread = f"{len(skipped or ()):,} files could not be read and were left out."
    twice = "The same picture is among the training and the validation photos, which flatters the figures above."
    groups = [(group if isinstance(group, str) else " = ".join(map(str, group)),) for group in duplicates or ()]
    return [
        *([Text(unread), Table(["File", "Reason"], skipped)] if skipped else []),
        *([Text(twice), Table(["Equal files"], groups)] if groups else []),
    ]
