"""Keras Applications: the layers of a network as Keras has them, by name or, where names changed, by their order."""

from typing import NamedTuple

from tljax.weights.rules.table import Rule


class Layer(NamedTuple):
    """One layer of a Keras model: the leaf that each of its arrays becomes, in the order of the file.

    Attributes:
        name: Keras' name.
        leaves: (path, name of the transform).
    """

    name: str
    leaves: tuple[tuple[str, str], ...]


def weighted(name: str, target: str, transform: str = "as_is") -> Layer:
    """A convolution (HWIO, as here) or a dense layer: a kernel and, if there is one, a bias."""
    return Layer(name, ((f"params/{target}/kernel", transform), (f"params/{target}/bias", "as_is")))


def batch_norm(name: str, target: str) -> Layer:
    """Gamma, beta, moving mean, moving variance."""
    leaves = ("params", "scale"), ("params", "bias"), ("batch_stats", "mean"), ("batch_stats", "var")
    return Layer(name, tuple((f"{kind}/{target}/norm/{leaf}", "as_is") for kind, leaf in leaves))


def normed(name: str, norm: str, target: str, transform: str = "as_is") -> list[Layer]:
    """A convolution and the batch norm behind it."""
    return [weighted(name, target, transform), batch_norm(norm, target)]


def tables(layers: list[Layer]) -> dict[str, list[Rule]]:
    """The rules for `layers`, which stand in the order of `model.layers`, by name and by order.

    Keras itself loads its published files by order alone, so a file's names may be those of an older version.
    """
    named, ordered = [], []
    for number, layer in enumerate(layers):
        for i, (path, transform) in enumerate(layer.leaves):
            named.append(Rule(rf"\d+:{layer.name}/{i}", path, transform))
            ordered.append(Rule(rf"{number}:.*/{i}", path, transform))
    return {"keras": named, "keras by order": ordered}
