"""A finished RUN, measured on photos: all of them, and apart those that it was not trained on."""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tljax import metrics
from tljax.data.loader import Skipped, digests
from tljax.data.source import Source
from tljax.data.sources import open_source
from tljax.data.splits import split
from tljax.errors import InputError, match_name
from tljax.files import read_regular, replacing
from tljax.progress import Track, say, shows_progress, untracked
from tljax.transfer.config import TrainConfig
from tljax.transfer.config_file import read_recorded, recorded_data
from tljax.transfer.inputs import source_options
from tljax.transfer.prediction import score_source
from tljax.transfer.run import load_classifier
from tljax.transfer.run_folder import CONFIG, SKIPPED, TRAINED, read_skipped

_MAX_DIGESTS = 1 << 30


@dataclass(frozen=True)
class Evaluation:
    """What a run says of n labelled photos.

    Attributes:
        files: n names.  labels: (n,), and probs: (n, C), by the run's classes.
        trained: (n,) bool, whether the run was trained on the photo (or on an equal file); None where nobody knows.
        skipped: the photos that could not be read.
        strange: how unlike the classes each photo is, see `prediction.score_source`; None: nobody asked.
    """

    classes: tuple[str, ...]
    files: tuple[str, ...]
    labels: Int[np.ndarray, " n"]
    probs: Float[np.ndarray, "n c"]
    trained: np.ndarray | None
    skipped: tuple[Skipped, ...]
    strange: Float[np.ndarray, " n"] | None = None

    def result(self) -> dict[str, Any]:
        """The measures; see `evaluate`."""
        trained = np.zeros(len(self.labels), bool) if self.trained is None else self.trained
        unseen = None
        if trained.any() and not trained.all():
            measured = metrics.summarise(self.probs[~trained], self.labels[~trained], self.classes)
            unseen = {name: measured[name] for name in ("images", "accuracy", "interval", "balanced_accuracy")}
        scores = self.strange
        return {
            **metrics.summarise(self.probs, self.labels, self.classes),
            "trained_on": None if self.trained is None else int(trained.sum()),
            "unseen": unseen,
            "unknown": None if scores is None or np.isnan(scores).any() else int((scores > 1).sum()),
            "skipped": [{"file": one.file, "reason": one.reason} for one in self.skipped],
        }

    def rows(self) -> Iterator[tuple[str, str, str, float | str, str]]:
        """(file, true, predicted, probability, why it was skipped) of each photo: first mistakes, the surest first,
        then what is right, the least sure first, then what could not be read."""
        top = self.probs.argmax(1)
        prob = self.probs[np.arange(len(top)), top]
        right = top == self.labels
        for i in np.lexsort((np.where(right, prob, -prob), right)):
            yield self.files[i], self.classes[self.labels[i]], self.classes[top[i]], float(prob[i]), ""
        for one in self.skipped:
            yield one.file, self.classes[one.label], "", "", one.reason

    def write(self, path: str | Path) -> None:
        """Writes `rows` as a table."""
        with replacing(path) as part, part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            table = csv.writer(file)
            table.writerow(["file", "true", "predicted", "probability", "skipped"])
            table.writerows(self.rows())


@shows_progress
def evaluate(run: str | Path, data: str | Path, **options: Any) -> dict[str, Any]:
    """How good a RUN is on labelled photos; its classes are matched by name, without case.

    Where the data brings a split, its test photos are measured, or else its validation photos: never those that
    it gives for training.

    Args:
        run: a RUN folder, or an exported .onnx.  data: as for `train`; it may lack classes of the RUN.
        options: labels, label_regex, file_column, label_column, split_column as for `train` (by default the run's own
            on the photos that it was trained on); batch_size; track, see `train`.
    Returns:
        accuracy, interval (of it, 95 %), balanced_accuracy, macro_f1, ece, log_loss, per_class_accuracy, confusion
        (rows true, columns predicted, in the order of classes), classes, images, skipped ({file, reason} each);
        unknown: how many of these photos it would take for none of its classes (None: it does not tell);
        trained_on: how many of these photos the run was trained on (None: nobody knows), unseen: {images, accuracy,
        interval, balanced_accuracy} of the others, None where there are none or all.
    Raises:
        InputError: no RUN; a class that the RUN does not have; no photo that can be read.

    >>> _ = tljax.transfer.train("photos", "pets-run", model="toy", weights="toy.safetensors")
    >>> tljax.transfer.evaluate("pets-run", "photos")["images"]
    8
    """
    return measure(run, data, **options).result()


def measure(
    run: str | Path, data: str | Path, *, batch_size: int = 32, track: Track = untracked, **options: Any
) -> Evaluation:
    """What `evaluate` measures, photo by photo; arguments and errors as there."""
    net, recorded = load_classifier(run), _recorded(run)
    same = recorded is not None and recorded.data == recorded_data(os.fspath(data), recorded.options)
    given = {name: value for name, value in options.items() if value is not None}
    wanted = recorded.options if recorded and same and not given else TrainConfig(**given)
    source = open_source(data, **source_options(wanted), min_classes=1)
    say(track, *map("note: {}".format, source.notes))
    own = np.array([_match(name, net.spec.classes) for name in source.classes], np.int64)
    known = _trained(run, source, recorded.options if recorded and same and not given else None)
    indices = source.splits.get("test", source.splits.get("val", np.arange(len(source.labels))))
    source = source.subset(indices[source.labels[indices] >= 0])
    shown: Any = net  # a network, or an ONNX file, which has all that is asked of one here
    probs, strange, index, skipped = score_source(shown, source, batch_size=batch_size, track=track)
    if not len(index):
        raise InputError(
            f'no photo in "{data}" can be read: {skipped[0].reason}' if skipped else f'no labelled photo in "{data}"'
        )
    return Evaluation(
        net.spec.classes,
        tuple(source.files[i] for i in index),
        own[source.labels[index]],
        probs,
        None if known is None else np.array([digest in known for digest in digests(source, index)]),
        tuple(Skipped(one.file, one.reason, int(own[one.label])) for one in skipped),
        strange,
    )


def _recorded(run: str | Path):
    """What the run's config.json says of its options and data; None where it has none, or of another version."""
    try:
        return read_recorded(Path(os.path.expanduser(run)) / CONFIG)
    except InputError:
        return None


def _trained(run: str | Path, source: Source, options: TrainConfig | None) -> set[str] | None:
    """The digests of the photos that a run was trained on; None where nobody knows.

    Args:
        options: the run's, if `source` is what it was trained on: a run that kept no digests is then split again.
    """
    run = Path(os.path.expanduser(run))
    try:
        return set(read_regular(run / TRAINED, most=_MAX_DIGESTS).decode("ascii", "replace").split())
    except OSError:
        if options is None:
            return None
    gone = read_skipped(run / SKIPPED)
    skip = [i for i, file in enumerate(source.files) if file in gone]
    try:
        shares = split(source, val_fraction=options.val_fraction, seed=options.seed, skip=skip)
    except InputError:  # the photos are others by now
        return None
    return {digest for digest in digests(source, shares["train"]) if digest}


def _match(name: str, classes: tuple[str, ...]) -> int:
    if name.strip().isdigit() and name.strip() not in classes:
        raise InputError(
            f'no class named "{name}": the RUN has {", ".join(classes[:8])}{", …" if len(classes) > 8 else ""}'
        )
    return match_name(name, classes)
