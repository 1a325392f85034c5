"""`train`, `evaluate`, `predict`: classifiers of your own."""

import dataclasses
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import tyro

import tljax
from tljax import metrics
from tljax.commands import Classifier, Images, LabelledCommand, SharedCommand
from tljax.commands.photos import Naming, skipped_lines, table
from tljax.files import check_out, keep_compiled
from tljax.progress import Track
from tljax.report.text import budgets, more_photos
from tljax.transfer.config import TrainConfig

_MISTAKES = 8


@dataclass(frozen=True, kw_only=True)
class Train(SharedCommand):
    """Trains a classifier on a folder of photos, one subfolder for each class.

    The default is a linear probe: the pretrained network runs once over each photo, and a linear classifier is solved
    to its optimum on what it saw. It takes seconds. `--mode finetune` goes on from there and trains the network too.
    Several machines share a run: see --coordinator.

    Examples: tljax train photos --out run
              tljax train photos --out tuned --mode finetune --epochs 8
              tljax train digits --out digits-run
    """

    data: tyro.conf.Positional[str | None] = None
    """A folder DATA/CLASS/*, or DATA/{train,val,test}/CLASS/*; a folder with --labels F.csv or --label-regex; digits;
    textures; tfds:NAME. With --config RUN/config.json it may be left out: the data of that run."""
    out: str
    """The folder for the run: config.json, classes.json, metrics.jsonl, skipped.csv, trained_on.txt, report.html,
    README.md, a checkpoint, and what tells unknown photos and makes sets."""
    options: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default_factory=TrainConfig)
    config: str | None = None
    """The config.json of a run to repeat (or a JSON file of options); what is given here as well wins."""
    overwrite: bool = False
    """Replace an existing run."""
    resume: bool = False
    """Go on with a run that was interrupted, to the same result; starts it where there is nothing to resume."""
    dry_run: bool = False
    """Say what would be done, and do nothing."""

    def with_file(self) -> "Train":
        """This command with the options of `config` as its defaults."""
        from tljax.transfer.config_file import config_from_file

        return self if self.config is None else dataclasses.replace(self, options=config_from_file(self.config))

    def execute(self, track: Track) -> dict[str, Any] | None:
        keep_compiled()
        from tljax.transfer.preemption import Preempted

        first = True
        try:
            with self.shared(track) as (first, track):
                result = tljax.transfer.train(
                    self.data,
                    self.out,
                    self.options,
                    repeat=self.config,
                    overwrite=self.overwrite,
                    resume=self.resume,
                    dry_run=self.dry_run,
                    track=track,
                )
        except Preempted as stopped:
            if not self.json or stopped.code:
                raise
            result = {"out": self.out, "interrupted": True}
        return result if first else None

    def text(self, result: dict[str, Any]) -> str:
        """What was trained, how good it is, and where the report is."""
        lines = [f"{len(result['classes'])} classes, {result['train_images']} + {result['val_images']} photos"]
        if result.get("val_accuracy") is not None:
            early = [f"features of the layer {result['layer']}"] if result.get("layer") else []
            if eps := result.get("adversarial"):
                early.append(f"trained against attacks of {budgets([eps])[0]}; the accuracy is of photos as they are")
            end = f"{result['seconds']:.1f} s; report: {result['out']}/report.html"
            lines += [*early, *_accuracy_lines(result), end]
        return "\n".join([*lines, *skipped_lines(result["skipped"])])


def _accuracy_lines(result: dict[str, Any]) -> list[str]:
    """How good a run is, and what in its photos makes that doubtful."""
    where = f"on the {result['val_images']} photos kept aside"
    if result.get("folds"):
        tuned = ", before fine-tuning" if result["mode"] == "finetune" else ""
        where = f"by {result['folds']} parts of the training photos, each held out once{tuned}"
    lines = [
        f"accuracy {where}: {100 * result['val_accuracy']:.1f} %{_interval(result)} "
        f"(mean of the classes {100 * result['val_balanced_accuracy']:.1f} %, "
        f"how sure it is, is off by {100 * result['val_ece']:.1f} % on average)"
    ]
    if curve := result.get("learning_curve"):
        lines.append(more_photos(curve, tuned=result["mode"] == "finetune"))
    if copies := result.get("copies"):
        alone = result["accuracy_without_copies"]
        without = "" if alone is None else f"; on the others {100 * alone:.1f} %"
        lines.append(
            f"{copies} of these photos {'is a copy' if copies == 1 else 'are copies'} of training photos{without}"
        )
    if conflicts := result.get("conflicts"):
        (one, other), *more = conflicts
        rest = f" (and {len(more)} more)" if more else ""
        lines.append(f'the same photo is in two classes: "{one}" and "{other}"{rest}')
    return lines


def _interval(measured: dict[str, Any]) -> str:
    """The 95 % interval of an accuracy, where it is known."""
    if not measured.get("interval"):
        return ""
    low, high = measured["interval"]
    return f", 95 % interval {100 * low:.1f} to {100 * high:.1f}"


@dataclass(frozen=True, kw_only=True)
class Evaluate(LabelledCommand):
    """Measures a trained run on other photos, whose folders carry the names of its classes.

    On the photos that the run was trained on, those that it did not see are measured apart, and it need
    not be said again where the labels are.

    Example: tljax evaluate run other-photos --csv wrong-first.csv
    """

    run_dir: Classifier
    data: tyro.conf.Positional[str]
    """Labelled photos, laid out as for `train`; upper and lower case do not matter."""
    csv: str | None = None
    """Write a table of all photos as well: file, true, predicted, probability, why it was skipped; the surest
    mistakes first."""
    overwrite: bool = False
    """Replace an existing --csv file."""

    def execute(self, track: Track) -> dict[str, Any]:
        out = None if self.csv is None else check_out(self.csv, overwrite=self.overwrite)
        keep_compiled()
        from tljax.transfer.evaluation import measure

        measured = measure(self.run_dir, self.data, track=track, **self.where())
        if out is not None:
            measured.write(out)
        return measured.result()

    def text(self, result: dict[str, Any]) -> str:
        """Accuracy, the same for each class, and the most frequent mistakes."""
        rows = [("class", "accuracy")]
        rows += [(name, "-" if a is None else f"{100 * a:.1f} %") for name, a in result["per_class_accuracy"].items()]
        head = (
            f"accuracy {100 * result['accuracy']:.1f} % on {result['images']} photos{_interval(result)} "
            f"(mean of the classes {100 * result['balanced_accuracy']:.1f} %, macro F1 {result['macro_f1']:.3f})"
        )
        wrong = metrics.top_confusions(np.array(result["confusion"]), result["classes"], limit=_MISTAKES)
        mistakes = [("true", "taken for", "photos", "of its class")]
        mistakes += [(true, taken, str(count), f"{100 * share:.1f} %") for true, taken, count, share in wrong]
        shown = ["", "most frequent mistakes", table(mistakes)] if wrong else []
        return "\n".join(
            [
                head,
                *_seen_lines(result),
                *_unknown_lines(result),
                "",
                table(rows),
                *shown,
                *skipped_lines(result["skipped"]),
            ]
        )


def _unknown_lines(result: dict[str, Any]) -> list[str]:
    """How many photos of its own classes the run would turn away."""
    if (count := result["unknown"]) is None:
        return []
    share = 100 * count / result["images"]
    return [f"it would say of {count} of them ({share:.1f} %) that they are none of its classes"]


def _seen_lines(result: dict[str, Any]) -> list[str]:
    """Whether the run was trained on the photos that it is measured on, and how good it is on the others."""
    if not (count := result["trained_on"]):
        return []
    if not (unseen := result["unseen"]):
        return ["the run was trained on all of these photos: this does not say how good it is on others"]
    return [
        f"the run was trained on {count} of these photos; on the {unseen['images']} others: "
        f"accuracy {100 * unseen['accuracy']:.1f} %{_interval(unseen)}"
    ]


@dataclass(frozen=True, kw_only=True)
class Predict(Naming):
    """Says what is in photos, in the words of your own classes.

    Example: tljax predict run new-photos --coverage 0.9 --csv sets.csv
    """

    run_dir: Classifier
    images: Images
    coverage: float | None = None
    """Name for each photo a set of classes that holds the right one with this probability at least, such as 0.9; for
    photos like those that the run was trained on."""

    def execute(self, track: Track) -> dict[str, Any]:
        load = partial(tljax.transfer.load_classifier, self.run_dir)
        return self.name(self.images, load, track, coverage=self.coverage)

    def text(self, result: dict[str, Any]) -> str:
        """Each photo, and at the end what the sets promise."""
        return "\n".join([super().text(result), *_promise_lines(result)])


def _promise_lines(result: dict[str, Any]) -> list[str]:
    """How often the sets hold the right class."""
    if "promised" not in result:
        return []
    asked, promised = (f"{100 * result[name]:.6g}" for name in ("coverage", "promised"))
    least = f"of 100 such photos, at least {promised} sets hold the right class"
    if promised == asked:
        return [f"with {asked} % coverage: {least}"]
    return [f"with {asked} % coverage: {least} (mostly {asked}; no photos were kept aside, which would promise that)"]
