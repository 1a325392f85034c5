"""What networks say of made pictures, shown whole: those that had no part in the making above all."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from tljax.data.images import preprocess
from tljax.data.png import Picture
from tljax.errors import InputError, match_name
from tljax.models.network import Network, for_inference
from tljax.models.spec import ModelSpec
from tljax.progress import Track, untracked
from tljax.weights.fetch import cached_models

_BATCH = 32


def default_judges(makers: Sequence[str]) -> list[str]:
    """The pretrained models whose weights are on this machine, but for the makers.

    >>> "efficientnet_lite0" in tljax.synth.default_judges(makers=["efficientnet_lite0"])
    False
    """
    return [name for name in cached_models() if name not in makers]


def uncropped(image: Picture, spec: ModelSpec) -> UInt8[np.ndarray, "s s 3"]:
    """A square picture at a network's resolution, whole: resized as the spec says, but without its crop.

    `tljax classify` cuts a margin off photos; a picture made at a network's resolution is all picture, and one that
    holds for its exact pixels alone would already lose its maker by that cut.

    Args:
        image: uint8 (h, w, 3); of one that is not square, the middle.
    Returns:
        uint8 (s, s, 3), s = `spec.input_size`; the picture itself where it has that size.

    >>> tljax.synth.uncropped(np.zeros((64, 64, 3), np.uint8), net.spec).shape
    (32, 32, 3)
    """
    return preprocess(image, replace(spec, crop_pct=1.0))


def probabilities(net: Network, images: Sequence[Picture] | UInt8[np.ndarray, "n h w 3"]) -> Float[np.ndarray, "n c"]:
    """The probability of each class for each picture, `uncropped`; (n, classes) float32.

    >>> probs = tljax.synth.probabilities(net, photos)
    >>> probs.shape, np.allclose(probs.sum(1), 1)
    ((8, 2), True)
    """
    net, rows = for_inference(net, images=max(len(images), 1)), [np.zeros((0, len(net.spec.classes)), np.float32)]
    for start in range(0, len(images), _BATCH):
        batch = np.stack([uncropped(image, net.spec) for image in images[start : start + _BATCH]])
        rows.append(np.asarray(_probs(net.apply, net.variables, batch)))
    return np.concatenate(rows)


@partial(jax.jit, static_argnums=0)
def _probs(apply, variables, batch):
    return jax.nn.softmax(apply(variables, batch.astype(jnp.float32) / 255))


def top_class(net: Network, image: Picture) -> tuple[int, float]:
    """The most likely class of a picture, `uncropped`, and its probability.

    >>> label, prob = tljax.synth.top_class(net, photos[0])
    >>> label in (0, 1) and prob >= 0.5
    True
    """
    (probs,) = probabilities(net, [image])
    return int(probs.argmax()), float(probs.max())


def find_class(name: str | int, own: Sequence[str], other: Sequence[str]) -> int:
    """The index in `other` of a class of the table `own`, given by name or by its index in `own`.

    A name that a table has more than once (ImageNet: crane, the bird and the machine; maillot) stands in both tables in
    the same order.

    Raises:
        InputError: `own` has no such class, or several of that name where no index is given; `other` has it not as
            often as `own`.

    >>> tljax.synth.find_class("dog", ["cat", "dog"], ["bird", "cat", "dog"])
    2
    """
    index = match_name(name, own)
    name, places = own[index], [i for i, other_name in enumerate(own) if other_name == own[index]]
    if len(places) == 1:
        return match_name(name, other)
    others = [i for i, other_name in enumerate(other) if other_name == name]
    if len(others) != len(places):
        raise InputError(f'"{name}" ({index}) is one of {len(places)} classes of that name, and here are {len(others)}')
    return others[places.index(index)]


def judge(
    nets: Mapping[str, Network],
    images: Sequence[Picture] | UInt8[np.ndarray, "n h w 3"],
    classes: Sequence[str | int],
    *,
    table: Sequence[str] | None = None,
    track: Track = untracked,
) -> list[dict[str, dict[str, float]]]:
    """How likely each network finds the class that each picture is meant to show.

    Args:
        nets: name -> network.
        images: uint8 (h, w, 3) each, of any size; `uncropped` for each network.
        classes: one for each picture, by name or index.
        table: the classes from which these come, for names that it has twice: see `find_class`. By default those of
            each network.
    Returns:
        for each picture {network: {"prob": of the class, "rank": 1 where it comes first}}.

    Raises:
        InputError: a network does not know one of the classes.

    >>> opinions = tljax.synth.judge({"toy": net}, photos[:2], ["cat", "dog"])
    >>> sorted(opinions[0]["toy"])
    ['prob', 'rank']
    """
    opinions: list[dict[str, dict[str, float]]] = [{} for _ in images]
    for name, net in track(nets.items(), "judges", len(nets)):
        known = net.spec.classes
        wanted = [find_class(name, known if table is None else table, known) for name in classes]
        for probs, c, opinion in zip(probabilities(net, images), wanted, opinions, strict=True):
            opinion[name] = {"prob": float(probs[c]), "rank": int(1 + np.sum(probs > probs[c]))}
    return opinions


def judge_ideals(
    makers: Mapping[str, Network],
    judges: Mapping[str, Network],
    images: Sequence[Picture] | UInt8[np.ndarray, "n h w 3"],
    classes: Sequence[str | int],
    *,
    table: Sequence[str] | None = None,
    track: Track = untracked,
) -> list[dict[str, Any]]:
    """What the makers of ideal pictures and other networks say of them, as `report.synth_page.ideal_blocks` takes it.

    Args, Raises: as `judge`; no network is both maker and judge.
    Returns:
        for each picture {class, image, prob: the mean of its makers', judges: {network: {prob, rank}}}.

    >>> judged = tljax.synth.judge_ideals({"maker": net}, {"judge": net}, list(photos[:1]), ["cat"])
    >>> sorted(judged[0]), list(judged[0]["judges"])
    (['class', 'image', 'judges', 'prob'], ['judge'])
    """
    opinions = judge({**makers, **judges}, images, classes, table=table, track=track)
    return [
        {
            "class": name if table is None else table[match_name(name, table)],
            "image": image,
            "prob": float(np.mean([opinion.pop(maker)["prob"] for maker in makers])),
            "judges": opinion,
        }
        for name, image, opinion in zip(classes, images, opinions, strict=True)
    ]
