"""The weights that torchvision publishes, by its names: `torchvision/resnet50.imagenet1k_v2`.

URLs, sizes and accuracies are those of torchvision 0.29, `torchvision.models.get_model_weights(NAME)`. The first
version is what the plain name means, too: where both were looked at, its features serve other tasks better than those
of the second, which were trained for ImageNet's accuracy.
"""

from dataclasses import replace
from typing import Any, NamedTuple

from tljax.models.spec import ModelSpec, torchvision_url


class Weights(NamedTuple):
    """One version of the weights of an architecture.

    Attributes:
        file: without its end; the hexadecimal digits are how its SHA-256 starts.
        top1: on ImageNet, in percent.
        size, resize: pixels of the crop's side, and of a photo's short side before it.
    """

    file: str
    top1: float
    size: int = 224
    resize: int = 256
    interpolation: str = "bilinear"
    changes: tuple[tuple[str, Any], ...] = ()


def published(plain: ModelSpec, *versions: Weights) -> tuple[ModelSpec, ...]:
    """The specifications of all versions: the plain one first, then those that say "torchvision/".

    Args:
        plain: the architecture; what `Weights` says is filled in.
        versions: `imagenet1k_v1`, `imagenet1k_v2`, in this order.
    """
    made = [_with(plain, weights) for weights in versions]
    first = replace(made[0], sources=(*plain.sources, *made[0].sources))
    named = [replace(first, name=f"torchvision/{plain.name}")]
    for number, spec in enumerate((first, *made[1:]), start=1):
        named.append(replace(spec, name=f"torchvision/{plain.name}.imagenet1k_v{number}"))
    return (first, *named)


def _with(plain: ModelSpec, weights: Weights) -> ModelSpec:
    return replace(
        plain,
        top1=weights.top1,
        licence="BSD-3-Clause",
        sources=(torchvision_url(*weights.file.rsplit("-", 1)),),
        input_size=weights.size,
        crop_pct=weights.size / weights.resize,
        interpolation=weights.interpolation,
        **dict(weights.changes),
    )
