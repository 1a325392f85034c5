"""Features from within a network: the maps of any of its layers in the place of its own embedding."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp

from tljax.errors import InputError, nearest
from tljax.models.layers import QUARTERS
from tljax.models.network import Network, abstract_variables, make_network
from tljax.models.spec import ModelSpec, get_family


def with_layers(net: Network, *layers: str) -> Network:
    """The network whose `embed` is made of the maps of some layers, and which has no classifier.

    `transfer.with_probe` puts one on it. Earlier layers know less of what photos show, and more of what they look like:
    better for digits, symbols or measurements than for things.

    Args:
        layers: names of `net.intermediates`, each averaged over space; or NAME/2x2, over each of its quarters, which
            keeps where things are. Several stand side by side.
    Raises:
        InputError: no layer; an unknown one (suggests the nearest).

    >>> early = tljax.models.with_layers(net, "block", "block/2x2")
    >>> early.embed(early.variables, images).shape
    (8, 40)
    """
    return net.replace(spec=layered_spec(net.spec, layers))


def layered_spec(spec: ModelSpec, layers: Sequence[str]) -> ModelSpec:
    """The specification of `with_layers`."""
    if not layers:
        raise InputError("no layer: name at least one")
    widths = _widths(replace(spec, layers=()))
    dim = 0
    for place in layers:
        name = place.removesuffix(QUARTERS)
        if name not in widths:
            guesses = " or ".join(nearest(name, list(widths)))
            hint = f"did you mean {guesses}?" if guesses else f"there are {', '.join(widths)}"
            raise InputError(f'no layer named "{name}" in {spec.name}: {hint}')
        dim += widths[name] * (4 if place.endswith(QUARTERS) else 1)
    last = layers[-1].removesuffix(QUARTERS)
    return replace(spec, classes=(), head="linear", layers=tuple(layers), feature_dim=dim, last_layer=last)


def places(spec: ModelSpec) -> list[str]:
    """Where features can be taken from: the last map of each stage, as a whole and by its quarters, in order."""
    names = [name for name in _widths(replace(spec, layers=())) if name not in get_family(spec.family).head]
    last = {re.sub(r"(_block\d+|_\d+)$", "", name): name for name in names}
    return [f"{name}{part}" for name in last.values() for part in ("", QUARTERS)]


@cache
def _widths(spec: ModelSpec) -> dict[str, int]:
    """The channels of every map, in the order of the network."""
    variables = abstract_variables(spec)
    images = jax.ShapeDtypeStruct((1, spec.input_size, spec.input_size, 3), jnp.float32)
    maps = jax.eval_shape(make_network(spec, variables).replace(plain=True).intermediates, variables, images)
    return {name: shape.shape[-1] for name, shape in maps.items()}
