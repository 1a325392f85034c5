"""A linear head for your classes on a pretrained backbone."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from tljax.models.layered import layered_spec
from tljax.models.network import Network, abstract_variables, make_network
from tljax.models.spec import ModelSpec, get_spec
from tljax.transfer.probe import Probe
from tljax.transfer.trust.unknown import Unknown


def with_probe(net: Network, probe: Probe) -> Network:
    """The network with a probe as its head: a classifier of the probe's classes, calibrated, and ready to fine-tune.

    Args:
        net: the backbone whose `embed` gave the probe's features; its own head goes.
        probe: from `fit_probe(features, labels, classes=names)`; `probe.classes` become `spec.classes`.

    >>> features = tljax.transfer.extract(net, photos).values
    >>> probe = tljax.transfer.fit_probe(features, labels, classes=["cat", "dog"])
    >>> classifier = tljax.transfer.with_probe(net, probe)
    >>> classifier.apply(classifier.variables, images).argmax(1).tolist()
    [0, 1, 0, 1, 0, 1, 0, 1]
    """
    spec = run_spec(net.spec, probe.classes)
    return with_head(net, spec, {"kernel": probe.kernel, "bias": probe.bias})


def with_unknown(net: Network, unknown: Unknown | None) -> Network:
    """The network with what tells photos that are none of its classes, from `fit_unknown`; None takes it away.

    >>> features = tljax.transfer.extract(net, photos).values
    >>> known = tljax.transfer.fit_unknown(features, labels, classes=2)
    >>> type(tljax.predict(tljax.transfer.with_unknown(net, known), photos)[0].unknown)
    <class 'bool'>
    """
    variables = {name: value for name, value in net.variables.items() if name != "unknown"}
    return net.replace(variables=variables if unknown is None else {**variables, "unknown": unknown})


def run_spec(base: ModelSpec, classes: tuple[str, ...]) -> ModelSpec:
    """The specification of a trained run: the backbone's, with a linear head for `classes`."""
    return replace(base, classes=classes, head="linear")


def recorded_spec(record: Mapping[str, Any], classes: tuple[str, ...]) -> ModelSpec:
    """The specification of the run that a config.json describes.

    Raises:
        InputError: a layer that the network does not have.
    """
    seen = {name: record[name] for name in ("image_size", "crop_mode", "white")}
    spec = seen_as(get_spec(record["model"]), **seen)
    return run_spec(spec if record["layer"] is None else layered_spec(spec, [record["layer"]]), classes)


def seen_as(base: ModelSpec, *, image_size: int, crop_mode: str, white: int | None) -> ModelSpec:
    """The specification for photos that are seen at another size, framed and brightened otherwise.

    Of a photo that is seen whole there is nothing to crop, so that its `crop_pct` is 1.
    """
    share = get_spec(base.name).crop_pct if crop_mode == "center" else 1.0
    return replace(base, input_size=image_size, crop_mode=crop_mode, crop_pct=share, white=white)


def with_head(backbone: Network, spec: ModelSpec, head: Mapping[str, Any]) -> Network:
    """The backbone without its own head and with {"kernel" (D, C), "bias" (C,)} on `embed`."""
    wanted = abstract_variables(spec)
    params = {name: backbone.variables["params"][name] for name in wanted["params"] if name != "head"}
    stats = {name: backbone.variables["batch_stats"][name] for name in wanted["batch_stats"]}
    params["head"] = {name: jnp.asarray(head[name], jnp.float32) for name in ("kernel", "bias")}
    return make_network(spec, {"params": params, "batch_stats": stats}, dtype=backbone.dtype)
