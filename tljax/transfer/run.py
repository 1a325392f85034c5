"""A finished RUN, read back as a network."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp

from tljax.errors import InputError
from tljax.models.network import Network, abstract_variables, for_inference, make_network
from tljax.models.spec import get_spec, list_models
from tljax.transfer.checkpoint import restore
from tljax.transfer.config_file import read_classes, read_run
from tljax.transfer.head import recorded_spec, with_head, with_unknown
from tljax.transfer.onnx_file import OnnxFile, read_onnx
from tljax.transfer.run_folder import CONFIG, SETS, UNKNOWN
from tljax.transfer.trust.arrays_file import read_sets, read_unknown
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
    run = Path(os.path.expanduser(run))
    spec = recorded_spec(record, read_classes(run))
    checkpoint = run / "checkpoint"
    if record["checkpoint"] == "network":
        variables = restore(checkpoint, abstract_variables(spec))
        return _with_own_arrays(make_network(spec, variables, dtype=record["dtype"]), run)
    head = {
        "kernel": jax.ShapeDtypeStruct((spec.feature_dim, len(spec.classes)), jnp.float32),
        "bias": jax.ShapeDtypeStruct((len(spec.classes),), jnp.float32),
    }
    stored = restore(checkpoint, head)
    weights = _moved(record["weights_file"], run)
    backbone, _ = load_backbone(record["model"], weights, expected=record["weights_sha256"])
    return _with_own_arrays(with_head(backbone.replace(dtype=record["dtype"]), spec, stored), run)


def _with_own_arrays(net: Network, run: Path) -> Network:
    """The network of a run, with what tells photos of none of its classes and what makes sets, where it has that."""
    sizes = {"classes": len(net.spec.classes), "dim": net.spec.feature_dim}
    net = net.replace(calibration=read_sets(run / SETS, **sizes))
    return with_unknown(net, read_unknown(run / UNKNOWN, **sizes))


def load_classifier(name: str | Path) -> Network | OnnxFile:
    """What says of photos which of your classes they are: a RUN folder, or the .onnx that was exported from one.

    Raises:
        InputError: as `load_run` and `read_onnx`.

    >>> _ = tljax.transfer.train("photos", "some-run", model="toy", weights="toy.safetensors")
    >>> tljax.transfer.load_classifier("some-run").spec.classes
    ('cat', 'dog')
    """
    name = os.path.expanduser(name)
    path = Path(os.path.expanduser(name))
    is_file = path.suffix.lower() == ".onnx" and not path.is_dir()
    return read_onnx(path) if is_file else load_run(name)


def load_backbone(model: str, weights: str | Path | None, *, expected: str = "") -> tuple[Network, str]:
    """A pretrained network and the SHA-256 of its weight file.

    Raises:
        InputError: as `load_pretrained`; the hash is not the `expected` one (names both).
    """
    path = fetch(get_spec(model)) if weights is None else Path(os.path.expanduser(weights))
    if os.path.isfile(path / CONFIG):
        raise InputError(f'"{path}" is a run, not a weight file: train on from it with --init-from "{path}"')
    try:
        if not path.is_file():
            raise OSError("there is no such file")
        digest = weights_digest(path)
    except OSError as error:
        hint = '; put it there or beside the run, or set "weights_file" in its config.json' if expected else ""
        raise InputError(f'cannot read the weights "{path}": {error.strerror or error}{hint}') from None
    if expected and digest != expected:
        raise InputError(
            f'the weights "{path}" have the SHA-256 {digest[:12]}…, the RUN was trained on {expected[:12]}…: '
            'put that file there, or set "weights_file" in config.json to where it is'
        )
    return load_pretrained(model, weights=path), digest


def _moved(weights: str | None, run: Path) -> str | Path | None:
    """The weight file of a run: where it was, or else in the run's folder or beside it."""
    if weights is None or os.path.isfile(weights):
        return weights
    beside = (folder / Path(weights).name for folder in (run, run.parent))
    return next(filter(os.path.isfile, beside), weights)


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
    is_run = name not in list_models() and Path(os.path.expanduser(name)).is_dir()
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
    if run is not None and not Path(os.path.expanduser(run)).is_dir():
        raise InputError(f'no run "{run}": name a folder that `tljax train` wrote')
    return os.path.basename(os.path.normpath(name)), load_network(name, folded=folded)
