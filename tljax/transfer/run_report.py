"""report.html of a run: how good it is, and where it is wrong."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tljax.data.images import preprocess
from tljax.data.source import Source
from tljax.models.network import Network
from tljax.report import run_page
from tljax.transfer.probe import Probe

_MISTAKES = 12
_SHEET, _OF_A_CLASS = 40, 4
_LAYERS = 4
_CURVE_POINTS = 200


def write_page(
    folder: Path,
    net: Network,
    source: Source,
    train: Int[np.ndarray, " m"],
    index: Int[np.ndarray, " n"],
    probs: Float[np.ndarray, "n c"],
    probe: Probe,
    history: Sequence[Mapping[str, Any]],
    result: Mapping[str, Any],
) -> None:
    """Writes report.html.

    Args:
        train: the places in the source of the training photos.
        index: of the validation photos, or of those that folds held out. probs: of these.
        history: of fine-tuning; empty for a linear probe.
        result: config.json's entries and what `train` returns.
    """
    labels = source.labels[index]
    photo = _photo(net, source, int([*index, *train][0]))
    order = _by_doubt(labels, probs)
    wrong = order[probs.argmax(1)[order] != labels[order]] if len(order) else order
    run_page.write(
        folder / "report.html",
        {
            "title": f"{len(source.classes)} classes from {result['train_images']:,} photos",
            "model": result["model"],
            "mode": result["mode"],
            "data": result["data"],
            "classes": source.classes,
            "seconds": result["seconds"],
            "train_images": result["train_images"],
            "val_images": result["val_images"],
            "folds": result["folds"],
            "tuned": result["mode"] == "finetune",
            "sheet": _sheet(net, source, train),
            "probs": probs,
            "labels": labels,
            "learning_curve": result.get("learning_curve"),
            "l2": probe.l2,
            "l2_path": probe.path if len(probe.path) > 1 and probe.path[0]["val_accuracy"] is not None else None,
            "curve": _curve(history) if history else None,
            "wrong": _shown(net, source, index, labels, probs, wrong[:_MISTAKES]),
            "unsure": None if len(wrong) else _shown(net, source, index, labels, probs, order[:_MISTAKES]),
            "photo": photo,
            "feature_maps": _feature_maps(net, photo),
            "skipped": [(one["file"], one["reason"]) for one in result["skipped"]],
            "duplicates": [(one["train"], one["other"]) for one in result["duplicates"]],
        },
    )


def _photo(net: Network, source: Source, i: int) -> np.ndarray:
    """What the network sees of a photo that is known to be readable."""
    return preprocess(source.picture(i), net.spec)


def _sheet(net: Network, source: Source, train: Int[np.ndarray, " m"]) -> list[dict[str, Any]]:
    """A few photos of each class, as the network sees them; of many classes the first."""
    each = min(max(_SHEET // len(source.classes), 1), _OF_A_CLASS)
    chosen = [i for label in range(len(source.classes)) for i in train[source.labels[train] == label][:each]]
    return [
        {"image": _photo(net, source, int(i)), "file": source.files[i], "class": source.classes[source.labels[i]]}
        for i in chosen[:_SHEET]
    ]


def _by_doubt(labels, probs) -> Int[np.ndarray, " n"]:
    """Mistakes, the surest first; then what is right, the least sure first."""
    top = probs.argmax(1) if len(labels) else np.zeros(0, int)
    prob = probs[np.arange(len(labels)), top]
    return np.lexsort((np.where(top == labels, prob, -prob), top == labels))


def _shown(net: Network, source: Source, index, labels, probs, rows) -> list[dict[str, Any]]:
    """What the page says of photos: the `rows` of index, labels and probs."""
    top = probs.argmax(1) if len(labels) else labels
    return [
        {
            "image": _photo(net, source, int(index[row])),
            "file": source.files[index[row]],
            "true": source.classes[labels[row]],
            "predicted": source.classes[top[row]],
            "prob": float(probs[row, top[row]]),
        }
        for row in rows
    ]


def _feature_maps(net: Network, photo: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Maps of a few layers from the image to the last convolution, for one photo."""
    maps = net.intermediates(net.variables, photo[None].astype(np.float32) / 255)
    names = list(maps)
    chosen = dict.fromkeys(names[i] for i in np.linspace(0, len(names) - 1, _LAYERS).astype(int))
    return [(name, np.asarray(maps[name][0])) for name in chosen]


def _curve(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Training loss and accuracy, averaged over stretches of steps, and validation accuracy by epoch."""
    steps = [line for line in lines if "loss" in line]
    stretches = np.array_split(np.arange(len(steps)), min(_CURVE_POINTS, len(steps)))
    curve = [
        {
            "step": steps[stretch[-1]]["step"],
            "loss": float(np.mean([steps[i]["loss"] for i in stretch])),
            "accuracy": float(np.mean([steps[i]["accuracy"] for i in stretch])),
        }
        for stretch in stretches
    ]
    validated = [line for line in lines if "val_accuracy" in line]
    return curve + [{"step": line["step"], "val_accuracy": line["val_accuracy"]} for line in validated]
