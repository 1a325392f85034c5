"""From labelled photos to a RUN: features, the probe, perhaps fine-tuning, and everything written down."""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from tljax.data.splits import photos_by_name, split
from tljax.data.summary import class_counts, long_photos
from tljax.data.tables import find_table
from tljax.distributed import collectives, join
from tljax.errors import InputError
from tljax.models.spec import get_spec
from tljax.progress import Track, say, shows_progress, untracked
from tljax.transfer.config import TrainConfig, make_config
from tljax.transfer.config_file import (
    Recorded,
    check_resumed,
    read_classes,
    read_recorded,
    recorded_data,
    recorded_options,
)
from tljax.transfer.finetuning import few_steps
from tljax.transfer.inputs import SOURCE_OPTIONS, opened, started_from
from tljax.transfer.job import Job
from tljax.transfer.metrics_log import read_log
from tljax.transfer.pipeline import run_stages
from tljax.transfer.preemption import INTERRUPTED, Preempted, on_signals
from tljax.transfer.run_folder import (
    CONFIG,
    LOG,
    check_out,
    drop_leftovers,
    partial_folder,
    run_folder,
    scratch_folder,
)


@shows_progress
def train(
    data: str | Path | None,
    out: str | Path,
    config: TrainConfig | None = None,
    *,
    repeat: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    dry_run: bool = False,
    track: Track | bool = untracked,
    **options: Any,
) -> dict[str, Any]:
    """Trains a classifier on labelled photos and writes a RUN folder: `train("photos", "run")`.

    The RUN appears when it is whole. Whenever the process is killed, the same call with `resume` goes on from the
    last saved step (in `OUT.partial`) or starts anew, and ends with the RUN that an unbroken call gives, bit for bit
    on the same machine. On SIGTERM and Ctrl-C it stops by itself, with what it has saved.

    Among several processes (`join.joined`) each calls this with the same arguments, reads its share of the photos, and
    gets the same result. All of them see the disk of `out`, to which they write checkpoints together; the rest of the
    RUN is written by the first.

    Args:
        data: a folder with a folder of photos for each class, "digits", "textures" or "tfds:NAME"; None for that of
            the run to `repeat`.
        out: the RUN to write.
        config, options: see `TrainConfig`; options win.
        repeat: the config.json of a run: its options are used where there is no `config`, and its photos and weights
            must be what they were.
        overwrite: replace a RUN that is there.
        resume: go on with an interrupted run; a finished one of the same options is returned as it is.
        dry_run: only say what would be done; writes nothing.
        track: True shows on stderr what is guessed, the classes and progress; or a function as in `tljax.progress`.
    Returns:
        mode, model, classes, notes (what was guessed), train_images, val_images, skipped ({file, reason} each),
        duplicates ({train, other} files each), conflicts (two equal files of two classes each), val_accuracy, interval
        (of it, 95 %), val_balanced_accuracy, val_ece, val_loss, copies (validation photos that equal training photos),
        accuracy_without_copies, folds (None, or the number where all photos train: the measures are then those of the
        probe on each fold held out), learning_curve (of the probe by training photos, with the entries of
        `LearningCurve`; None where too few photos judge), l2, image_size, layer (None: the last), seconds, out; after
        fine-tuning also probe_val_accuracy, epochs, skipped_steps and adversarial (the option). For a dry run the
        accuracies are None.
    Raises:
        InputError: bad options or data; an `out` that exists or cannot be written; a loss that is not finite.
        OSError: the disk filled up.
        Preempted: SIGTERM or SIGINT came (to the main thread), what there is to save is saved, and stderr says so.

    >>> result = tljax.transfer.train("photos", "run", model="toy", weights="toy.safetensors")
    >>> result["classes"], result["train_images"] + result["val_images"]
    (['cat', 'dog'], 8)
    """
    began = time.monotonic()
    before = None if repeat is None else read_recorded(repeat)
    config = make_config(config or (before and before.options), **options)
    data, before = _data(data, before, config)
    config = started_from(config)
    if config.labels is not None:
        config = replace(config, labels=find_table(data, config.labels))
    if config.fixes is not None:
        config = replace(config, fixes=os.path.expanduser(config.fixes))
    resumes = resume and not overwrite and not dry_run
    path = Path(os.path.expanduser(out)).absolute()
    done = collectives.from_first(
        lambda: _finished(check_out(out, overwrite=overwrite, resume=resume), config, resumes)
    )
    if done:
        return done | {"out": str(out), "seconds": _since(began)}
    source = opened(data, config)
    shares = split(source, val_fraction=config.val_fraction, seed=config.seed)
    shares = {name: photos_by_name(source, share) for name, share in shares.items()}
    seen = replace(get_spec(config.model), crop_mode=config.crop_mode or "center")
    hints = [long_photos(source, seen)]
    if config.mode == "finetune":
        hints.append(few_steps(config, len(shares["train"])))
    shown: Any = track  # a `Track` by now
    said = *map("note: {}".format, source.notes), *map("hint: {}".format, filter(None, hints))
    devices = f"; on {jax.device_count()} devices" if jax.device_count() > 1 else ""
    say(shown, *said, class_counts(source, shares) + devices)
    result = {
        "mode": config.mode,
        "model": config.model,
        "classes": list(source.classes),
        "notes": list(source.notes),
        "train_images": len(shares["train"]),
        "val_images": len(shares.get("val", ())),
        "skipped": [],
        **dict.fromkeys(("val_accuracy", "val_balanced_accuracy", "val_ece")),
        "out": str(out),
    }
    if dry_run:
        return {**result, "dry_run": True, "options": recorded_options(config), "seconds": _since(began)}
    own = run_folder(out, overwrite=overwrite, resume=resume) if join.first() else scratch_folder()
    try:
        with on_signals() as stop, own as folder:  # from the first trace on disk, which somebody may wait for
            partial = partial_folder(path)
            job = Job(config, source, recorded_data(data, config), before, folder, partial, stop, shown, began)
            return result | run_stages(job)
    except Preempted as stopped:
        cause = "Ctrl-C" if stopped.code == INTERRUPTED else "SIGTERM"
        print(f'tljax: stopped by {cause}; the same command with --resume goes on with "{out}"', file=sys.stderr)
        raise


def _finished(path: Path, config: TrainConfig, resumes: bool) -> dict[str, Any] | None:
    """What `train` returned for the RUN at `path`, but for "seconds" and "out", if it is there and to be gone on with.

    Raises:
        InputError: it was trained with other options, or does not say what it came to.
    """
    if not (resumes and (path / CONFIG).is_file()):
        return None
    check_resumed(path / CONFIG, {"options": recorded_options(config)}, finished=str(path))
    result = next((line["final"] for line in read_log(path / LOG) if "final" in line), None)
    if result is None:
        raise InputError(f'"{path}" is there already, and its {LOG} is damaged: give another --out')
    drop_leftovers(path)
    return {"mode": config.mode, "model": config.model, "classes": list(read_classes(path)), **result}


def _data(data: str | Path | None, before: Recorded | None, config: TrainConfig) -> tuple[str, Recorded | None]:
    """The data to train on, and what of the run that is repeated must be as it was."""
    if data is not None:
        return str(data), before and replace(before, data_sha256=None)
    if before is None or before.data is None:
        raise InputError("no DATA: give a folder of photos, digits, textures or tfds:NAME")
    old, new = recorded_options(before.options), recorded_options(config)
    same = all(old[name] == new[name] for name in SOURCE_OPTIONS)
    return before.data, before if same else replace(before, data_sha256=None)


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)
