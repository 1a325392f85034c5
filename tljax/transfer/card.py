"""A model card: what a classifier is, how good it is, what it is not for; for people and the Hugging Face hub."""

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from tljax import __version__
from tljax.metrics import wilson
from tljax.models.spec import ModelSpec
from tljax.transfer.config_file import read_classes, read_run
from tljax.transfer.head import recorded_spec
from tljax.transfer.metrics_log import read_log
from tljax.transfer.run_folder import LOG

CARD = "README.md"
_HUB_LICENCES = ("apache-2.0", "bsd-3-clause", "cc-by-4.0", "cc-by-nc-4.0", "mit")
_SHOWN = 40
_LIMITS = """## What it is not for

- It always names one of its {k} classes, also where none of them is in the photo: of a run, heed `unknown`.
- Its figures hold for photos that are made as those in its data were. Others (another camera, place, season or angle;
  drawings, screenshots) can be far worse: measure it on yours, `tljax evaluate`, before you rely on it.
- A few changed pixels that nobody sees can change its answer (`tljax attack`): do not let it guard anything.
- Do not use it to tell who somebody is or what kind of person, nor where an error costs health, freedom or money.
"""


def run_card(run: str | Path, *, name: str = "") -> str:
    """The card of a RUN, from what its config.json, classes.json and metrics.jsonl say.

    Args:
        name: of the model; default is the folder's.
    Returns:
        Markdown that begins with the metadata of a Hugging Face model card.
    Raises:
        InputError: no RUN, or a damaged one.
    """
    record, name = read_run(run), name or Path(run).absolute().name
    spec = recorded_spec(record, read_classes(run))
    finals = [line["final"] for line in read_log(Path(run) / LOG) if isinstance(line.get("final"), dict)]
    return model_card(spec, name=name, record=record, measured=finals[-1] if finals else {})


def model_card(
    spec: ModelSpec, *, name: str, record: Mapping[str, Any] | None = None, measured: Mapping[str, Any] | None = None
) -> str:
    """The card of a network.

    Args:
        record: of a trained one, what its config.json says; None: a pretrained one.
        measured: of a trained one, val_accuracy, val_images, val_ece, train_images, as far as they are known.
    Returns:
        Markdown that begins with the metadata of a Hugging Face model card.
    """
    measured = measured or {}
    parts = [
        f"# {_plain(name)}",
        _what(spec, record),
        _how_good(spec, record, measured),
        f"## Classes\n\n{_listed(spec.classes)}",
        _LIMITS.format(k=len(spec.classes)).rstrip(),
        f"## Licence\n\n{_licence(spec, record)}",
        f"*Written by tljax {__version__}.*",
    ]
    return f"---\n{_metadata(spec, name, record, measured).to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"


def _what(spec: ModelSpec, record: Mapping[str, Any] | None) -> str:
    size = spec.input_size
    photos = {
        "center": f"Photos are resized to {spec.resize_size} pixels on the short side, and the central {size} x {size} "
        "are looked at.",
        "border": f"Photos are looked at whole, within a border, at {size} x {size} pixels.",
        "squash": f"Photos are looked at whole, squashed to {size} x {size} pixels.",
    }[spec.crop_mode]
    if record is None:
        return f"The pretrained network `{spec.name}`: an image classifier of {len(spec.classes)} classes. {photos}"
    ways = {"linear_probe": "A linear classifier on the frozen features of", "finetune": "A fine-tuned"}
    layer = f", of its layer `{record['layer']}`" if record.get("layer") else ""
    told = f"it tells {len(spec.classes)} classes of photos apart. {photos}"
    return f"{ways[record['mode']]} `{spec.name}`{layer}: {told}"


def _how_good(spec: ModelSpec, record: Mapping[str, Any] | None, measured: Mapping[str, Any]) -> str:
    if record is None:
        known = "not known" if spec.top1 is None else f"{spec.top1:.1f} %, as its authors published"
        source = spec.source or "whoever gave its weights"
        return f"## Data and accuracy\n\nTop-1 accuracy on ImageNet (ILSVRC 2012): {known}. Its training: see {source}."
    lines = [f"Data: {_quoted(_data(record))}, {measured.get('train_images', '?')} photos to train on."]
    accuracy, folds = measured.get("val_accuracy"), measured.get("folds")
    images = measured.get("train_images" if folds else "val_images")
    if accuracy is not None and images:
        low, high = wilson(round(accuracy * images), images)
        where = f"On {images} other photos of the same origin"
        if folds:
            tuned = ", before fine-tuning" if record["mode"] == "finetune" else ""
            where = f"By {folds} folds of these photos, each held out once{tuned},"
        lines.append(f"{where} {100 * accuracy:.1f} % are right (95 % interval {100 * low:.1f} to {100 * high:.1f} %).")
    if measured.get("copies"):
        lines.append(f"{measured['copies']} of them are copies of photos to train on, which makes this too good.")
    if measured.get("val_ece") is not None:
        lines.append(
            f"Its probabilities are off by {100 * measured['val_ece']:.1f} % on average (expected calibration error)."
        )
    return "## Data and accuracy\n\n" + "\n".join(lines)


def _licence(spec: ModelSpec, record: Mapping[str, Any] | None) -> str:
    origin = f" They come from {spec.source}." if spec.source else ""
    base = f"The weights of {spec.name}: {spec.licence or 'not known'}.{origin}"
    return base if record is None else f"{base} What was learned on top of them follows the terms of the photos."


def _metadata(
    spec: ModelSpec, name: str, record: Mapping[str, Any] | None, measured: Mapping[str, Any]
) -> ModelCardData:
    licence = spec.licence.lower()
    known: dict[str, Any] = (
        {"license": licence} if licence in _HUB_LICENCES else {"license": "other", "license_name": "see-below"}
    )
    kind, _, place = spec.source.partition(":")
    results = None
    if record is not None and measured.get("val_accuracy") is not None and measured.get("val_images"):
        data = _data(record)
        results = [
            EvalResult(
                task_type="image-classification",
                dataset_type="imagefolder",
                dataset_name=data,
                dataset_split="validation",
                metric_type="accuracy",
                metric_value=round(measured["val_accuracy"], 4),
            )
        ]
    return ModelCardData(
        **known,
        library_name="tljax",
        pipeline_tag="image-classification",
        tags=["jax", "transfer-learning", spec.family],
        base_model=place if kind == "hub" else None,
        model_name=name,
        eval_results=results,
    )


def _data(record: Mapping[str, Any]) -> str:
    """The name of the data without the folders of whoever trained."""
    data = record.get("data")
    return PurePath(data).name or data if isinstance(data, str) and data else "not recorded"


def _listed(classes: tuple[str, ...]) -> str:
    more = f", and {len(classes) - _SHOWN} more" if len(classes) > _SHOWN else ""
    return ", ".join(map(_quoted, classes[:_SHOWN])) + more


def _plain(text: str) -> str:
    """On one line, and without HTML."""
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")


def _quoted(name: str) -> str:
    """A name as code, so that nothing in it is Markdown or HTML."""
    return "`" + " ".join(name.replace("`", "'").split()) + "`"
