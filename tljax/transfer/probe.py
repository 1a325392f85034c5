"""The linear probe: multinomial logistic regression on fixed features, solved to its optimum.

Jitted programs scale the features, walk a path of L2 strengths from strong to weak (each solution starts
the next), score each strength on folds of the training photos, fit a temperature there and pick a strength.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from tljax.distributed import sharding
from tljax.errors import InputError
from tljax.transfer.logistic import fit_path

L2_PATH = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
FOLDS = 5


class Probe(NamedTuple):
    """A linear classifier: `features @ kernel + bias` are calibrated logits.

    kernel: (D, C) float32; bias: (C,) float32. The scaling of the features and the temperature are folded in.
    l2: the strength used. temperature: what the logits of the optimum were divided by.
    path: per strength tried, strong to weak, {l2, val_accuracy, val_loss, temperature}, measured on photos
        held out by the folds (with weights where balanced; None where no photo could be held out).
    gradient_norm: of the objective at the solution; steps: of the solver there.
    classes: C names; "0", "1", ... where `fit_probe` was told only how many.

    >>> features = tljax.transfer.extract(net, photos).values
    >>> probe = tljax.transfer.fit_probe(features, labels, classes=["cat", "dog"])
    >>> probe.kernel.shape, probe.classes
    ((8, 2), ('cat', 'dog'))
    """

    kernel: Float[np.ndarray, "d c"]
    bias: Float[np.ndarray, " c"]
    l2: float
    temperature: float
    path: list[dict[str, float | None]]
    gradient_norm: float
    steps: int
    classes: tuple[str, ...] = ()


def fit_probe(
    features: Float[Array | np.ndarray, "n d"],
    labels: Int[Array | np.ndarray, " n"],
    *,
    classes: int | Sequence[str],
    l2: float | None = None,
    folds: int = FOLDS,
    balanced: bool = False,
    seed: int = 0,
    groups: Int[Array | np.ndarray, " n"] | None = None,
    mesh: Mesh | None = None,
) -> Probe:
    """Fits a linear classifier on features, strength and temperature chosen inside the photos given.

    Minimises mean_i w_i cross_entropy_i + l2/2 |W|^2 (bias not penalised) on features z = (x - mean) / scale,
    scale^2 = std * rms(std): half way, in logarithms, from raw to standardised features. Nearly constant
    dimensions then stay small, which on few photos classifies better than full standardisation; a constant one
    gets weight 0. Equals scikit-learn's `LogisticRegression(C=1 / (n * l2))` on z. The strength is the strongest
    whose held-out loss, after the best temperature, is within one standard error (of the paired differences)
    of the least.

    Args:
        features: (n, D), finite, any scale. labels: (n,), 0..C-1.
        classes: C, or the C names.
        l2: a strength to use as it is; None tries `L2_PATH`.
        folds: stratified parts of the photos, each held out once; at least 2. The only photo of a class is
            never held out.
        balanced: weigh photos by n / (C * photos of the class), as scikit-learn does.
        seed: of the folds. Equal arguments give equal results.
        groups: photos of one number are held out together, such as copies of a picture; -1 for photos on their own.
        mesh: devices that share the photos, where there are more of these than dimensions; None for one device.
    Raises:
        InputError: shapes that do not fit, a feature that is not finite, a label out of range, fewer than two
            classes, a class without a photo, l2 not above 0, fewer than 2 folds.

    >>> features = tljax.transfer.extract(net, photos).values
    >>> probe = tljax.transfer.fit_probe(features, labels, classes=["cat", "dog"])
    >>> tljax.transfer.predict_probs(probe, features).argmax(1).tolist()
    [0, 1, 0, 1, 0, 1, 0, 1]
    """
    count = classes if isinstance(classes, int) else len(classes)
    features, labels = checked(features, labels, count, classes)
    if l2 is not None and not (np.isfinite(l2) and l2 > 0):
        raise InputError(f"l2 is {l2}: expected a number above 0")
    if folds < 2:
        raise InputError(f"folds is {folds}: expected at least 2")
    held_out = stratified_folds(labels, folds, seed=seed, groups=groups)
    strengths = L2_PATH if l2 is None else (l2,)
    if (held_out < 0).all() and l2 is None:
        strengths = (1.0,)  # one photo a class: nothing to choose by
    per_class = np.bincount(labels, minlength=count)
    weights = len(labels) / (count * per_class[labels]) if balanced else np.ones(len(labels))
    photos = (features, labels, held_out, weights.astype(np.float32))
    if mesh is None or len(features) < features.shape[1]:  # solved among the photos' own directions: little work
        mesh = sharding.data_mesh(jax.local_devices()[:1])
    photos, padded = _divided(mesh, photos)
    fitted = fit_path(*photos, strengths=np.asarray(strengths, np.float32), count=count, folds=folds, padded=padded)
    fit = sharding.collect(mesh, fitted)
    if not (np.isfinite(fit["kernel"]).all() and np.isfinite(fit["bias"]).all()):
        raise InputError(f"the probe is not finite: features reach {np.abs(features).max():.1e}; scale them down")
    measured = zip(strengths, fit["accuracy"], fit["loss"], fit["temperature"], strict=True)
    path = [
        {
            "l2": float(strength),
            "val_accuracy": None if np.isnan(accuracy) else float(accuracy),
            "val_loss": None if np.isnan(loss) else float(loss),
            "temperature": float(temperature),
        }
        for strength, accuracy, loss, temperature in measured
    ]
    best = int(fit["best"])
    return Probe(
        fit["kernel"],
        fit["bias"],
        path[best]["l2"],
        path[best]["temperature"],
        path,
        float(fit["gradient_norm"]),
        int(fit["steps"]),
        tuple(map(str, range(count) if isinstance(classes, int) else classes)),
    )


def predict_folds(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    *,
    folds: int = FOLDS,
    seed: int = 0,
    groups: Int[np.ndarray, " n"] | None = None,
    **options: Any,
) -> tuple[Float[np.ndarray, "m c"], Int[np.ndarray, " m"]]:
    """What probes say of the photos of a fold that was held out when they were fitted.

    Args:
        features, labels, folds, seed, groups: as in `fit_probe`, which draws the same folds.
        options: the others of `fit_probe`.
    Returns:
        (m, C) float32, and the m photos' places, ascending: all but the only photo of a class.
    """
    return predict_held_out(fit_folds(features, labels, folds=folds, seed=seed, groups=groups, **options), features)


def fit_folds(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    *,
    folds: int = FOLDS,
    seed: int = 0,
    groups: Int[np.ndarray, " n"] | None = None,
    **options: Any,
) -> list[tuple[Probe, Int[np.ndarray, " _"]]]:
    """For each fold the probe that did not see its photos, and their places; arguments as in `predict_folds`."""
    held_out = stratified_folds(labels, folds, seed=seed, groups=groups)
    fitted = []
    for fold in np.unique(held_out[held_out >= 0]):
        held = held_out == fold
        kept = None if groups is None else groups[~held]
        probe = fit_probe(features[~held], labels[~held], folds=folds, seed=seed, groups=kept, **options)
        fitted.append((probe, np.flatnonzero(held)))
    return fitted


def predict_held_out(
    fitted: Sequence[tuple[Probe, Int[np.ndarray, " _"]]], features: Float[np.ndarray, "n d"]
) -> tuple[Float[np.ndarray, "m c"], Int[np.ndarray, " m"]]:
    """What `predict_folds` returns, from what `fit_folds` does."""
    if not fitted:
        return np.zeros((0, 1)), np.zeros(0, np.int64)
    probs = np.concatenate([predict_probs(probe, features[places]) for probe, places in fitted])
    places = np.concatenate([places for _, places in fitted])
    order = np.argsort(places)
    return probs[order], places[order]


def predict_probs(probe: Probe, features: Float[Array | np.ndarray, "n d"]) -> Float[np.ndarray, "n c"]:
    """The probability of each class, (n, C) float32; rows sum to 1.

    >>> features = tljax.transfer.extract(net, photos).values
    >>> probe = tljax.transfer.fit_probe(features, labels, classes=["cat", "dog"])
    >>> np.allclose(tljax.transfer.predict_probs(probe, features).sum(1), 1)
    True
    """
    return np.asarray(_probs(probe.kernel, probe.bias, jnp.asarray(features, jnp.float32)))


def stratified_folds(
    labels: Int[np.ndarray, " n"], folds: int, *, seed: int = 0, groups: Int[Array | np.ndarray, " n"] | None = None
) -> Int[np.ndarray, " n"]:
    """Which fold holds each photo out: (n,) int32 in 0..folds-1, or -1 for the only photo of its class.

    A class is spread evenly, and so is the whole: each class goes on where the one before it stopped. Photos of a group
    count as one, of the class of the first of them; no class is ever held out as a whole.
    """
    generator = np.random.default_rng(seed)
    first = _first_of_group(groups, len(labels))
    alone = np.flatnonzero(first == np.arange(len(labels)))
    held_out = np.full(len(labels), -1, np.int32)
    start = 0
    for name in np.unique(labels):
        members = generator.permutation(alone[labels[alone] == name])
        if len(members) > 1:
            held_out[members] = (start + np.arange(len(members))) % folds
            start += len(members)
    held_out = held_out[first]
    for name in np.unique(labels) if groups is not None else ():
        members = labels == name
        if len(np.unique(held_out[members])) == 1:
            held_out[np.isin(first, first[members])] = -1
    return held_out


def _first_of_group(groups: Int[Array | np.ndarray, " n"] | None, count: int) -> Int[np.ndarray, " n"]:
    """The place of the first photo of each photo's group; its own where it is in none."""
    own = np.arange(count)
    if groups is None:
        return own
    _, first, which = np.unique(
        np.where(np.asarray(groups) < 0, -1 - own, groups), return_index=True, return_inverse=True
    )
    return first[which]


def _divided(mesh: Mesh, photos: tuple[np.ndarray, ...]) -> tuple[Any, bool]:
    """(features, labels, fold, weights) over the devices, and whether rows of weight 0 were added to divide them."""
    features, missing = photos[0], -len(photos[0]) % mesh.size
    if missing:
        fill = (np.repeat(features[:1], missing, 0), [0] * missing, [-1] * missing, [0] * missing)
        photos = tuple(np.concatenate([a, np.asarray(b, a.dtype)]) for a, b in zip(photos, fill, strict=True))
    return sharding.divide(mesh, photos), bool(missing)


@jax.jit
def _probs(kernel, bias, features):
    return jax.nn.softmax(jnp.matmul(features, kernel, precision="highest") + bias)


def checked(
    features: Any, labels: Any, count: int, classes: int | Sequence[str]
) -> tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"]]:
    """Features and labels that `fit_probe` can use, as float32 and int32.

    Raises:
        InputError: as `fit_probe`, of these.
    """
    features, labels = np.asarray(features, np.float32), np.asarray(labels)
    if features.ndim != 2 or labels.shape != features.shape[:1] or 0 in features.shape:
        raise InputError(f"features {features.shape} and labels {labels.shape}: expected (n, D) and (n,)")
    if count < 2:
        raise InputError(f"{count} class to tell apart: expected at least 2")
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"labels are {labels.dtype}: expected integers from 0")
    wrong = np.flatnonzero(~np.isfinite(features).all(1))
    if len(wrong):
        raise InputError(f"row {wrong[0]} of the features is not finite ({len(wrong)} rows are not); leave it out")
    wrong = np.flatnonzero((labels < 0) | (labels >= count))
    if len(wrong):
        raise InputError(f"row {wrong[0]} has label {labels[wrong[0]]}: there are {count} classes, counted from 0")
    bare = np.flatnonzero(np.bincount(labels, minlength=count) == 0)
    if len(bare):
        name = bare[0] if isinstance(classes, int) else f'"{classes[bare[0]]}"'
        raise InputError(f"class {name} has no photo to learn from; add some, or leave the class out")
    return features, labels.astype(np.int32)
