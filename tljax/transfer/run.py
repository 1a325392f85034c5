"""A finished RUN: read back as a network, and measured on other photos."""

import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tljax import metrics
from tljax.data.sources import open_source
from tljax.errors import InputError, match_name
from tljax.models.network import Network, abstract_variables, for_inference, make_network
from tljax.models.spec import get_spec, list_models
from tljax.progress import Track, untracked
from tljax.transfer.checkpoint import restore
from tljax.transfer.config_file import read_classes, read_run
from tljax.transfer.head import run_spec, with_head
from tljax.transfer.onnx_file import OnnxFile, read_onnx
from tljax.transfer.prediction import predict_source
from tljax.weights.fetch import fetch
from tljax.weights.load import load_pretrained, weights_digest


def load_run(run: str | Path) -> Network:
    """The classifier in a RUN folder: a network whose classes are yours.

    Raises:
        InputError: no RUN, a damaged one, or one edited by hand (names the key); the backbone's weights are
            missing or are not those that it was trained on.

    >>> _ = tljax.transfer.train("photos", "run", model="toy", weights="toy.safetensors")
    >>> tljax.load_run("run").spec.classes
    ('cat', 'dog')
    """
    record = read_run(run)
    spec = run_spec(get_spec(record["model"]), read_classes(run), record["image_size"])
    checkpoint = Path(run) / "checkpoint"
    if record["mode"] == "finetune":
        variables = restore(checkpoint, abstract_variables(spec))
        return make_network(spec, variables, dtype=record["dtype"])
    head = {
        "kernel": jax.ShapeDtypeStruct((spec.feature_dim, len(spec.classes)), jnp.float32),
        "bias": jax.ShapeDtypeStruct((len(spec.classes),), jnp.float32),
    }
    stored = restore(checkpoint, head)
    backbone, _ = load_backbone(record["model"], record["weights_file"], expected=record["weights_sha256"])
    return with_head(backbone.replace(dtype=record["dtype"]), spec, stored)


def load_classifier(name: str | Path) -> Network | OnnxFile:
    """What says of photos which of your classes they are: a RUN folder, or the .onnx that was exported from one.

    Raises:
        InputError: as `load_run` and `read_onnx`.

    >>> _ = tljax.transfer.train("photos", "some-run", model="toy", weights="toy.safetensors")
    >>> tljax.transfer.load_classifier("some-run").spec.classes
    ('cat', 'dog')
    """
    is_file = Path(name).suffix.lower() == ".onnx" and not Path(name).is_dir()
    return read_onnx(name) if is_file else load_run(name)


def evaluate(
    run: str | Path,
    data: str | Path,
    *,
    labels: str | Path | None = None,
    batch_size: int = 32,
    track: Track = untracked,
) -> dict[str, Any]:
    """How good a RUN is on labelled photos; its classes are matched by name, without case.

    Where the data brings a split, its test photos are measured, or else its validation photos: never those that
    it gives for training.

    Args:
        run: a RUN folder, or an exported .onnx.
        data: as for `train`; it may lack classes of the RUN.  labels: a table of labels.
    Returns:
        accuracy, balanced_accuracy, macro_f1, ece, log_loss, per_class_accuracy, confusion (rows true, columns
        predicted, in the order of classes), classes, images, skipped ({file, reason} each).
    Raises:
        InputError: no RUN; a class that the RUN does not have; no photo that can be read.

    >>> _ = tljax.transfer.train("photos", "pets-run", model="toy", weights="toy.safetensors")
    >>> tljax.transfer.evaluate("pets-run", "photos")["images"]
    8
    """
    net = load_classifier(run)
    source = open_source(data, labels_csv=labels, min_classes=1)
    own = np.array([_match(name, net.spec.classes) for name in source.classes], np.int64)
    indices = source.splits.get("test", source.splits.get("val", np.arange(len(source.labels))))
    source = source.subset(indices[source.labels[indices] >= 0])
    probs, index, skipped = predict_source(
        net,  # pyright: ignore[reportArgumentType]: of a network it asks only what an ONNX file has as well
        source,
        batch_size=batch_size,
        track=track,
    )
    if not len(index):
        raise InputError(
            f'no photo in "{data}" can be read: {skipped[0].reason}' if skipped else f'no labelled photo in "{data}"'
        )
    result = metrics.summarise(probs, own[source.labels[index]], net.spec.classes)
    return {**result, "skipped": [{"file": one.file, "reason": one.reason} for one in skipped]}


def load_backbone(model: str, weights: str | Path | None, *, expected: str = "") -> tuple[Network, str]:
    """A pretrained network and the SHA-256 of its weight file.

    Raises:
        InputError: as `load_pretrained`; the hash is not the `expected` one (names both).
    """
    path = fetch(get_spec(model)) if weights is None else Path(weights).expanduser()
    try:
        if not path.is_file():
            raise OSError("there is no such file")
        digest = weights_digest(path)
    except OSError as error:
        raise InputError(f'cannot read the weights "{path}": {error.strerror or error}') from None
    if expected and digest != expected:
        raise InputError(
            f'the weights "{path}" have the SHA-256 {digest[:12]}…, the RUN was trained on {expected[:12]}…: '
            'put that file there, or set "weights_file" in config.json to where it is'
        )
    return load_pretrained(model, weights=path), digest


def _match(name: str, classes: tuple[str, ...]) -> int:
    if name.strip().isdigit() and name.strip() not in classes:
        raise InputError(
            f'no class named "{name}": the RUN has {", ".join(classes[:8])}{", …" if len(classes) > 8 else ""}'
        )
    return match_name(name, classes)


def load_network(name: str, *, folded: bool = True) -> Network:
    """A RUN folder where there is one of that name, a pretrained model otherwise.

    Args:
        folded: batch norm is folded into the convolutions: faster, but its statistics are gone.

    Raises:
        InputError: as `load_run` and `load_pretrained`.

    >>> tljax.transfer.load_network("no_such_network")
    Traceback (most recent call last):
    tljax.errors.InputError: no model named "no_such_network": ...
    """
    is_run = name not in list_models() and Path(name).is_dir()
    net = load_run(name) if is_run else load_pretrained(name)
    return for_inference(net) if folded else net


def chosen_network(model: str, run: str | None, *, folded: bool = True) -> tuple[str, Network]:
    """The network of a RUN where one is given, else the pretrained `model`, with the name it goes by.

    Raises:
        InputError: no such RUN; as `load_network`.

    >>> _ = tljax.transfer.train("photos", "own-run", model="toy", weights="toy.safetensors")
    >>> name, chosen = tljax.transfer.chosen_network("efficientnet_lite0", "own-run")
    >>> chosen.spec.classes
    ('cat', 'dog')
    """
    name = model if run is None else run
    if run is not None and not Path(run).is_dir():
        raise InputError(f'no run "{run}": name a folder that `tljax train` wrote')
    return os.path.basename(os.path.normpath(name)), load_network(name, folded=folded)
