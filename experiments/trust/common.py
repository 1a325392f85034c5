"""What the parts share: features of a set, kept, and probabilities of photos that were held out."""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

import tljax
from tljax.models.network import Network
from tljax.progress import Track
from tljax.transfer import extract, fit_probe
from tljax.transfer.probe import predict_folds


@dataclass(frozen=True)
class Set:
    """The features of the photos of one set.

    Attributes:
        values: (n, d). labels: (n,), 0..len(classes)-1.
    """

    name: str
    classes: Sequence[str]
    values: Float[np.ndarray, "n d"]
    labels: Int[np.ndarray, " n"]


def labelled(net: Network, name: str, data: str, track: Track, *, limit: int | None = None) -> Set:
    """The features of labelled photos, in a random order; of `limit` only so many of each class."""
    source = tljax.data.open_source(data)
    order = np.random.default_rng(0).permutation(np.flatnonzero(source.labels >= 0))
    if limit is not None:
        labels = source.labels[order]
        order = np.concatenate([order[labels == label][:limit] for label in range(len(source.classes))])
    found = extract(net, source.subset(order), cache=True, skip=True, track=track)
    return Set(name, source.classes, found.values, found.labels.astype(np.int64))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what the peers say of themselves, a line for each call."""
    logging.disable(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def held_out(values: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], count: int) -> Float[np.ndarray, "n c"]:
    """What probes say of photos that they did not see, as `check` asks them; each class has two photos or more."""
    strength = fit_probe(values, labels, classes=count).l2
    probs, places = predict_folds(values, labels, classes=count, l2=strength)
    assert len(places) == len(labels)
    return probs.astype(np.float64)
