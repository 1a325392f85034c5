"""`train`, `evaluate`, `predict`: classifiers of your own."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import tyro

import tljax
from tljax.commands import Classifier, Command, Images, Labels, SharedCommand
from tljax.commands.photos import Naming, skipped_lines, table
from tljax.files import keep_compiled
from tljax.progress import Track
from tljax.transfer.config import TrainConfig


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
    """A folder DATA/CLASS/*, or DATA/{train,val,test}/CLASS/*; a folder with --labels F.csv; digits; textures;
    tfds:NAME. With --config RUN/config.json it may be left out: the data of that run."""
    out: str
    """The folder for the run: config.json, classes.json, metrics.jsonl, skipped.csv, report.html, README.md, and a
    checkpoint."""
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
        except Preempted:
            if not self.json:
                raise
            result = {"out": self.out, "interrupted": True}
        return result if first else None

    def text(self, result: dict[str, Any]) -> str:
        """What was trained, how good it is, and where the report is."""
        lines = [f"{len(result['classes'])} classes, {result['train_images']} + {result['val_images']} photos"]
        if result.get("val_accuracy") is not None:
            lines += [
                f"accuracy on the {result['val_images']} photos kept aside: {100 * result['val_accuracy']:.1f} % "
                f"(mean of the classes {100 * result['val_balanced_accuracy']:.1f} %, "
                f"calibration error {100 * result['val_ece']:.1f} %)",
                f"{result['seconds']:.1f} s; report: {result['out']}/report.html",
            ]
        return "\n".join([*lines, *skipped_lines(result["skipped"])])


@dataclass(frozen=True, kw_only=True)
class Evaluate(Command):
    """Measures a trained run on other photos, whose folders carry the names of its classes."""

    run_dir: Classifier
    data: tyro.conf.Positional[str]
    """Labelled photos, laid out as for `train`; upper and lower case do not matter."""
    labels: Labels = None

    def execute(self, track: Track) -> dict[str, Any]:
        keep_compiled()
        return tljax.transfer.evaluate(self.run_dir, self.data, labels=self.labels, track=track)

    def text(self, result: dict[str, Any]) -> str:
        """Accuracy, the same for each class, and the most frequent mistakes."""
        rows = [("class", "accuracy")]
        rows += [(name, "-" if a is None else f"{100 * a:.1f} %") for name, a in result["per_class_accuracy"].items()]
        head = (
            f"accuracy {100 * result['accuracy']:.1f} % on {result['images']} photos "
            f"(mean of the classes {100 * result['balanced_accuracy']:.1f} %, macro F1 {result['macro_f1']:.3f})"
        )
        return "\n".join([head, "", table(rows), *skipped_lines(result["skipped"])])


@dataclass(frozen=True, kw_only=True)
class Predict(Naming):
    """Says what is in photos, in the words of your own classes."""

    run_dir: Classifier
    images: Images

    def execute(self, track: Track) -> dict[str, Any]:
        return self.name(self.images, lambda: tljax.transfer.load_classifier(self.run_dir), track)
