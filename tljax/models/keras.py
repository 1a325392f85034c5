"""Keras Applications: the layers of a network as Keras has them, by name or, where names changed, by their order."""

from dataclasses import replace
from operator import methodcaller
from typing import Any, NamedTuple

from tljax.models.rules import Rule, Transform, as_is
from tljax.models.spec import ModelSpec

CAFFE = {
    "mean": (123.68 / 255, 116.779 / 255, 103.939 / 255),
    "std": (1 / 255,) * 3,
    "channel_order": "bgr",
}
depthwise: Transform = methodcaller("swapaxes", 2, 3)  # (k, k, C, 1) to (k, k, 1, C)


class Layer(NamedTuple):
    """One layer of a Keras model: the leaf that each of its arrays becomes, in the order of the file.

    Attributes:
        name: Keras' name.
        leaves: (path, transform).
    """

    name: str
    leaves: tuple[tuple[str, Transform], ...]


def weighted(name: str, target: str, transform: Transform = as_is) -> Layer:
    """A convolution (HWIO, as here) or a dense layer: a kernel and, if there is one, a bias."""
    return Layer(name, ((f"params/{target}/kernel", transform), (f"params/{target}/bias", as_is)))


def normed(name: str, norm: str, target: str, transform: Transform = as_is) -> list[Layer]:
    """A convolution and the batch norm behind it: gamma, beta, moving mean, moving variance."""
    leaves = ("params", "scale"), ("params", "bias"), ("batch_stats", "mean"), ("batch_stats", "var")
    paths = tuple((f"{kind}/{target}/norm/{leaf}", as_is) for kind, leaf in leaves)
    return [weighted(name, target, transform), Layer(norm, paths)]


def rules(layers: list[Layer]) -> dict[str, list[Rule]]:
    """The rules for `layers`, which stand in the order of `model.layers`, by name and by order.

    Keras itself loads its published files by order alone, so a file's names may be those of an older version.
    """
    named, ordered = [], []
    for number, layer in enumerate(layers):
        for i, (path, transform) in enumerate(layer.leaves):
            named.append(Rule(rf"\d+:{layer.name}/{i}", path, transform))
            ordered.append(Rule(rf"{number}:.*/{i}", path, transform))
    return {"keras": named, "keras by order": ordered}


def network(plain: ModelSpec, file: str, **changes: Any) -> ModelSpec:
    """The plain network with the weights of Keras Applications.

    Keras reads a photo with `load_img(target_size=(224, 224))`, which squeezes all of it into the square. Here nothing
    of the short side is lost either, but proportions are kept: what exceeds the square is cut off.
    """
    source = f"https://storage.googleapis.com/tensorflow/keras-applications/{file}"
    return replace(plain, name=f"{plain.name}.keras", sources=(source,), crop_pct=1.0, **changes)
