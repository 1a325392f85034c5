"""A pretrained network by name."""

from pathlib import Path

import jax

from tljax.errors import InputError
from tljax.models.network import Network, abstract_variables, make_network
from tljax.models.spec import get_spec, list_models
from tljax.weights.convert import convert, fits
from tljax.weights.fetch import fetch, weights_digest
from tljax.weights.read import read_weights

__all__ = ["load_pretrained", "weights_digest"]


def load_pretrained(name: str, weights: str | Path | None = None) -> Network:
    """A network with the weights that its authors published, or with those of a file.

    Args:
        name: one of `list_models()`.
        weights: a `.safetensors` file or a torch state dict with the names of torchvision, timm or the
            installed packages, for `*.keras` a `.h5` of Keras; None: the spec's own sources (`tljax.weights.fetch`).
    Returns:
        the network; its variables are float32 jax arrays.
    Raises:
        InputError: an unknown name; weights that are missing, unreadable, hostile or of another architecture.

    >>> loaded = tljax.load_pretrained("toy", weights="toy.safetensors")
    >>> loaded.spec.classes
    ('cat', 'dog')
    """
    spec = get_spec(name)
    path = fetch(spec) if weights is None else Path(weights).expanduser()
    source = read_weights(path)
    try:
        variables = convert(source, spec, abstract_variables(spec))
    except InputError as error:
        alike = next((name for name in list_models() if fits(source, get_spec(name))), "")
        hint = f"; it looks like {alike}" if alike else ""
        raise InputError(f'"{path}": {error}{hint}') from None
    return make_network(spec, jax.device_put(variables))
