"""TensorFlow Datasets that are already prepared, read without TensorFlow."""

import os
import re
import textwrap

import numpy as np

from tljax.data.source import Source
from tljax.errors import InputError

_SPLITS = {"train": "train", "validation": "val", "val": "val", "test": "test"}
_VERSION = re.compile(r"\d+\.[\d*]+\.[\d*]+")


def tfds_source(name: str) -> Source:
    """A prepared TFDS data set with the features `image` and `label`, read at random (ArrayRecord).

    Args:
        name: "tfds:NAME", also "tfds:NAME/CONFIG" and "tfds:NAME:1.2.3"; with ":SPLIT" behind it, in the
            language of TFDS ("train[:80%]"), that split alone, and no given split. It is looked for in
            TFDS_DATA_DIR, or in TFDS' own folder.
    Raises:
        InputError: tensorflow_datasets is not installed, the set is not prepared, or it has no image or label.
    """
    try:
        import tensorflow_datasets as tfds  # pyright: ignore[reportMissingImports]: an extra
    except ImportError as error:
        raise InputError(f'{name} needs TensorFlow Datasets: pip install "tljax[tfds]" ({error})') from error
    builder, wanted = _parse(name)
    try:
        parts = tfds.data_source(
            builder,
            split=wanted or None,
            data_dir=os.environ.get("TFDS_DATA_DIR"),
            download=False,
            decoders={"image": tfds.decode.SkipDecoding()},
        )
    except Exception as error:  # TFDS raises its own kinds for each way of not being there
        why = textwrap.shorten(str(error), 120, placeholder=" ...")
        raise InputError(
            f"{name} cannot be read ({why}): check the name, or prepare it with `tljax data prepare {builder}`"
        ) from error
    return _source(name, {wanted: parts} if wanted else parts)


def _parse(name: str) -> tuple[str, str]:
    """The builder's name, with its version where one is given, and the split ("" for all)."""
    builder, _, rest = name.removeprefix("tfds:").partition(":")
    if version := _VERSION.match(rest):
        builder = f"{builder}:{version.group()}"
        rest = rest[version.end() :].removeprefix(":")
    if not builder:
        raise InputError(f'"{name}" names no data set: expected tfds:NAME, such as tfds:cats_vs_dogs')
    return builder, rest


def _source(name: str, parts: dict) -> Source:
    """One source of all splits, one after the other; pictures are read as their encoded bytes.

    Classes without an example, as in a part of a set, are left out; the others keep TFDS' order.
    """
    first = next(iter(parts.values()))
    features = first.dataset_info.features
    if "image" not in features or "label" not in features:
        raise InputError(f"{name} has the features {', '.join(features)}: expected image and label")
    where = [(part, i) for part, data in parts.items() for i in range(len(data))]
    labels = np.asarray([int(parts[part][i]["label"]) for part, i in where], np.int32)
    present = np.unique(labels[labels >= 0])
    labels = np.where(labels < 0, -1, np.searchsorted(present, labels)).astype(np.int32)
    classes = tuple(features["label"].names[label] for label in present)
    files = tuple(f"{name}/{part}/{i:06d}" for part, i in where)
    given = np.asarray([_SPLITS.get(part, "") if len(parts) > 1 else "" for part, _ in where])
    splits = {part: np.flatnonzero(given == part) for part in _SPLITS.values() if part in given}

    def read(row: int) -> bytes | np.ndarray:
        part, i = where[row]
        return parts[part][i]["image"]

    return Source(name, classes, files, labels, read, splits, files)
