"""What more photos would bring: probes on parts of the training photos, and where their mistakes lead.

What was foretold from n photos and what 2 n brought, in points, mean of 40 draws, on EfficientNet-Lite0 features: of
500 digits 1.8 and 2.0, of 500 cats and dogs 0.17 and 0.12; of 400 of five Gaussians that overlap 0.96 and 0.88. The
interval held that mean in all draws. A power law that falls to zero, by maximum likelihood, says 2.2, 0.19 and 1.24,
and its interval, from resampled photos, holds the mean in 85, 88 and 42 % of them.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from tljax.errors import InputError
from tljax.metrics import wilson
from tljax.transfer.logistic import predict_by_parts
from tljax.transfer.probe import FOLDS, checked, stratified_folds

_SHARES = (0.125, 0.25, 0.5, 1.0)
_MOST, _LEAST_JUDGED = 5000, 20
_LAWS = 10_000
_EXPONENTS, _LASTING = np.linspace(0.05, 2, 40), np.linspace(0, 0.95, 20)


class LearningCurve(NamedTuple):
    """How good the probe is with fewer photos, and what twice as many would bring.

    sizes: (s,) photos trained on, ascending. accuracy: (s,) in [0, 1], the mean of the draws; low, high: (s,) its
        95 % interval.
    photos: n, all that there are; twice: the accuracy expected of 2 n.
    gain: the share of photos that these would turn from wrong to right (0.012 is 1.2 points), and gain_interval:
        [low, high], 95 %.

    >>> features = np.random.default_rng(0).normal(size=(80, 4)) + np.arange(80)[:, None] % 2
    >>> tljax.transfer.learning_curve(features, np.arange(80) % 2, classes=2, l2=1.0).sizes.tolist()
    [8, 16, 32, 64]
    """

    sizes: Int[np.ndarray, " s"]
    accuracy: Float[np.ndarray, " s"]
    low: Float[np.ndarray, " s"]
    high: Float[np.ndarray, " s"]
    photos: int
    twice: float
    gain: float
    gain_interval: tuple[float, float]

    def entries(self) -> dict[str, Any]:
        """The same as numbers and lists, which JSON can hold."""
        return {name: np.asarray(value).tolist() for name, value in self._asdict().items()}


def learning_curve(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    *,
    val: tuple[Float[np.ndarray, "m d"], Int[np.ndarray, " m"]] | None = None,
    classes: int,
    l2: float,
    balanced: bool = False,
    draws: int = FOLDS,
    seed: int = 0,
) -> LearningCurve | None:
    """Measures probes on an eighth, a quarter, half and all of the photos, and follows the curve to twice as many.

    The parts are drawn at random: of each class the same share, but at least 2 photos; a size that is much too large
    for that reason is left out. Their L2 strength is l2 * sqrt(n / photos of the part), half way between an equal
    strength and an equal one for each photo: so a part is as good as where it chooses its own (within 0.3 points on
    cats and dogs and on 37 breeds).

    The share of mistakes is taken to fall as a ((1 - f) n^-b + f), where no number of photos mends f. The gain is the
    mean over all such laws, each as likely as it makes the mistakes, with b uniform up to 2 and f of density 2 (1 - f)
    beforehand: so a few mistakes, or none, have a wide interval. Of more than 5,000 photos as many are used, and the
    laws lead on from there.

    Args:
        features, labels: the training photos, as in `fit_probe`.
        val: the same of photos kept aside, which then judge.
        classes: C.
        l2: the strength that suits all photos, above 0.
        balanced: see `fit_probe`.
        draws: parts of each size. Without `val` each draw keeps another fold of the photos aside, to be judged.
        seed: of parts, folds and laws. Equal arguments give equal results.
    Returns:
        None where fewer than 20 photos judge, or too few train for two sizes.
    Raises:
        InputError: as `fit_probe`; fewer than 2 draws.
    Source: Viering and Loog, "The shape of learning curves: a review", arXiv 2103.10948, 2021.

    >>> features = np.random.default_rng(0).normal(size=(80, 4)) + np.arange(80)[:, None] % 2
    >>> curve = tljax.transfer.learning_curve(features, np.arange(80) % 2, classes=2, l2=1.0)
    >>> bool(curve.accuracy[0] < curve.accuracy[-1] <= curve.twice)
    True
    """
    features, labels = checked(features, labels, classes, classes)
    if not (np.isfinite(l2) and l2 > 0):
        raise InputError(f"l2 is {l2}: expected a number above 0")
    if draws < 2:
        raise InputError(f"draws is {draws}: expected at least 2")
    photos, generator = len(labels), np.random.default_rng(seed)
    features, labels = _at_most(_MOST, features, labels, generator)
    if val is None:
        judged, truth = None, labels
        judges = stratified_folds(labels, draws, seed=seed) == np.arange(draws)[:, None]
        trains = ~judges
    else:
        judged, truth = _at_most(_MOST, *val, generator)
        judges, trains = np.ones((draws, len(truth)), bool), np.ones((draws, len(labels)), bool)
    parts = _parts(labels, trains, generator)
    if len(parts) < 2 or judges.any(0).sum() < _LEAST_JUDGED:
        return None
    sizes = parts.sum(-1).mean(1)
    weights = parts.reshape(-1, len(labels)).astype(np.float32)
    if balanced:
        weights /= np.maximum(weights @ np.eye(classes)[labels], 1)[:, labels]
    strengths = np.repeat(l2 * np.sqrt(photos / sizes), draws).astype(np.float32)
    predicted = np.asarray(predict_by_parts(features, labels, judged, weights, strengths, count=classes))
    wrong = (predicted.reshape(*parts.shape[:2], -1) != truth) & judges
    errors = wrong.sum((1, 2)) / judges.sum()
    return _followed(sizes, errors, int(judges.any(0).sum()), photos, generator)


def _parts(
    labels: Int[np.ndarray, " n"], trains: Bool[np.ndarray, "draws n"], generator: np.random.Generator
) -> Bool[np.ndarray, "s draws n"]:
    """Which photos are in the part of each size and draw; the smaller of a draw lies in the larger."""
    parts = []
    keys = np.where(trains, generator.random(trains.shape), np.inf)
    places = [_places(labels, of_draw) for of_draw in keys]
    for share in _SHARES:
        part = [place < _quota(labels[train], labels, share) for place, train in zip(places, trains, strict=True)]
        if np.sum(part) <= 1.25 * share * trains.sum():
            parts.append(part)
    return np.array(parts)


def _at_most(
    most: int, features: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], generator: np.random.Generator
) -> tuple[Float[np.ndarray, "m d"], Int[np.ndarray, " m"]]:
    """About `most` of the photos, where there are more: of each class the same share, but at least 2."""
    if len(labels) <= most:
        return features, labels
    kept = _places(labels, generator.random(len(labels))) < _quota(labels, labels, most / len(labels))
    return features[kept], labels[kept]


def _places(labels: Int[np.ndarray, " n"], keys: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The place of each photo among those of its class, by ascending key."""
    order = np.lexsort((keys, labels))
    counts = np.bincount(labels)
    places = np.empty(len(labels), np.int64)
    places[order] = np.arange(len(labels)) - (np.cumsum(counts) - counts)[labels[order]]
    return places


def _quota(available: Int[np.ndarray, " m"], labels: Int[np.ndarray, " n"], share: float) -> Float[np.ndarray, " n"]:
    """For each of the labels how many photos of that class are a share of those available."""
    counts = np.bincount(available, minlength=labels.max() + 1)
    return np.minimum(counts, np.maximum(np.rint(share * counts), 2))[labels]


def _followed(
    sizes: Float[np.ndarray, " s"],
    errors: Float[np.ndarray, " s"],
    count: int,
    photos: int,
    generator: np.random.Generator,
) -> LearningCurve:
    """The curve and where it leads, from the share of mistakes among the `count` photos that judge each size."""
    scale, exponent, lasting = _power_laws(np.log(sizes / photos), errors, count, generator)
    last, now, doubled = (
        scale * ((1 - lasting) * size**-exponent + lasting) for size in (sizes[-1] / photos, 1.0, 2.0)
    )
    gains, accuracy = now - doubled, 1 - errors
    bounds = np.array([wilson(round(share * count), count) for share in accuracy])
    return LearningCurve(
        np.rint(sizes).astype(int),
        accuracy,
        bounds[:, 0],
        bounds[:, 1],
        photos,
        min(float(accuracy[-1] + (last - doubled).mean()), 1.0),
        float(gains.mean()),
        tuple(np.quantile(gains, (0.025, 0.975)).tolist()),
    )


def _power_laws(
    depths: Float[np.ndarray, " s"], errors: Float[np.ndarray, " s"], count: int, generator: np.random.Generator
) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, " r"], Float[np.ndarray, " r"]]:
    """Laws a ((1 - f) exp(-b depth) + f) of the error, drawn as likely as they are: a, b and f of each.

    How mistakes divide among the sizes says what b and f may be. The number of all of them, which is Poisson, says it
    of a, and there the sizes count as one, since the same photos judge them all.
    """
    exponents, lasting = (grid.ravel() for grid in np.meshgrid(_EXPONENTS, _LASTING, indexing="ij"))
    shapes = (1 - lasting) * np.exp(-np.outer(depths, exponents)) + lasting
    shares = shapes / shapes.sum(0)
    likely = np.log(1 - lasting) + count * errors @ np.log(shares)
    weights = np.exp(likely - likely.max())
    drawn = generator.choice(len(weights), _LAWS, p=weights / weights.sum())
    level = generator.gamma(count * errors.mean() + 0.5, size=_LAWS) / count  # Jeffreys' prior
    return level / shapes.mean(0)[drawn], exponents[drawn], lasting[drawn]
