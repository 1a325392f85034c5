"""Scores, losses and penalties: one number for each image, from arrays."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from tljax.errors import InputError
from tljax.models.statistics import Moments
from tljax.synth.eight_bit import ImagesLike
from tljax.synth.inputs import Labels

Logits = Float[Array | np.ndarray, "b n"]


def total_variation(images: ImagesLike) -> Float[Array, " b"]:
    """Anisotropic total variation: the summed absolute difference of neighbouring pixels, per image.

    Args:
        images: (b, h, w, c), any range; the result scales with it.
    Returns:
        (b,), float32; equal to `tf.image.total_variation`.
    Source: Rudin, Osher and Fatemi, 1992; the lesson weighs it with 0.005.

    >>> stripes = jnp.zeros((1, 2, 4, 1)).at[:, :, ::2].set(1.0)
    >>> tljax.synth.total_variation(stripes).tolist()  # three steps in each of two rows
    [6.0]
    """
    rows = jnp.abs(jnp.diff(images, axis=-3)).sum((-3, -2, -1))
    columns = jnp.abs(jnp.diff(images, axis=-2)).sum((-3, -2, -1))
    return rows + columns


def cross_entropy(logits: Logits, labels: Labels) -> Float[Array, " b"]:
    """The negative log-probability of each label, in nats.

    Args:
        logits: (b, n), before softmax.
        labels: (b,), indices of classes.
    Returns:
        (b,), >= 0. Written so that the gradient stays exact where the probability rounds to 1: attacks live on it.

    >>> np.allclose(tljax.synth.cross_entropy(jnp.zeros((1, 4)), jnp.array([2])), np.log(4))
    True
    """
    return jax.nn.softplus(log_odds(logits, labels))


def log_odds(logits: Logits, labels: Labels) -> Float[Array, " b"]:
    """The log of the probability of all other classes over that of the label, (b,)."""
    return jax.nn.logsumexp(_others(logits, labels), -1) - own_score(logits, labels)


def own_score(logits: Logits, labels: Labels) -> Float[Array, " b"]:
    """The logit of each label, (b,)."""
    return jnp.take_along_axis(logits, labels[:, None], -1)[:, 0]


def margin(logits: Logits, labels: Labels, *, targeted: bool = False) -> Float[Array, " b"]:
    """How far an attack has come: positive exactly when it succeeds.

    Args:
        labels: (b,), the true classes, or with `targeted` the classes aimed at.
    Returns:
        (b,): the best other logit minus the label's; with `targeted` its negative.

    >>> logits = jnp.array([[3.0, 1.0, 0.0]], jnp.float32)
    >>> tljax.synth.margin(logits, jnp.array([0])).tolist()  # negative: still seen as class 0
    [-2.0]
    >>> tljax.synth.margin(logits, jnp.array([1]), targeted=True).tolist()
    [-2.0]
    """
    lead = own_score(logits, labels) - _others(logits, labels).max(-1)
    return lead if targeted else -lead


def dlr_loss(logits: Logits, labels: Labels) -> Float[Array, " b"]:
    """The difference-of-logits ratio: the margin over the gap of first to third, so the scale of logits drops out.

    Args:
        logits: (b, n) of at least three classes.
        labels: (b,), true classes.
    Returns:
        (b,): positive when another class leads.
    Raises:
        InputError: fewer than three classes.
    Source: Croce and Hein, 2020 (arXiv 2003.01690), equation 6.

    >>> logits = jnp.array([[4.0, 2.0, 0.0]], jnp.float32)
    >>> tljax.synth.dlr_loss(logits, jnp.array([0])).tolist()
    [-0.5]
    >>> tljax.synth.dlr_loss(128 * logits, jnp.array([0])).tolist()  # no scale changes it
    [-0.5]
    """
    top = _top(logits, 3, "dlr_loss")
    return margin(logits, labels) / (top[:, 0] - top[:, 2] + 1e-12)


def targeted_dlr_loss(logits: Logits, labels: Labels, targets: Labels) -> Float[Array, " b"]:
    """The targeted form of `dlr_loss`: it grows as the target overtakes the label.

    Args:
        logits: (b, n) of at least four classes.
        labels: (b,), the classes that the originals have.
        targets: (b,), the classes aimed at.
    Raises:
        InputError: fewer than four classes.
    Source: Croce and Hein, 2020 (arXiv 2003.01690), equation 7.

    >>> logits = jnp.array([[3.0, 1.0, 0.0, -2.0]], jnp.float32)
    >>> tljax.synth.targeted_dlr_loss(logits, jnp.array([0]), jnp.array([1])).tolist()
    [-0.5]
    """
    top = _top(logits, 4, "targeted_dlr_loss")
    gap = own_score(logits, targets) - own_score(logits, labels)
    return gap / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)


def channel_mean(maps: Float[Array, "b y x c"], channels: Int[Array | np.ndarray, " b"]) -> Float[Array, " b"]:
    """The mean over space of one channel of each image's map, (b,)."""
    return own_score(maps.mean((1, 2)), channels)


def batch_norm_distance(moments: dict[str, Moments]) -> Float[Array, ""]:
    """How far mean and deviation of the batch's activations are from those that batch norm remembers of training.

    Squared, in units of the remembered deviation, averaged over channels (those that are scaled down count less) and
    layers; 0 without batch norm.

    Source: Yin et al., "Dreaming to distill", 2020 (arXiv 1912.08795).

    >>> float(tljax.synth.batch_norm_distance({}))  # a network without batch norm
    0.0
    """
    if not moments:
        return jnp.zeros((), jnp.float32)
    share = jnp.concatenate([jnp.full_like(scale, 1 / (len(scale) * len(moments))) for *_, scale in moments.values()])
    means, squares, scales = (jnp.concatenate(column, -1) for column in zip(*moments.values(), strict=True))
    mean, square = means.mean(0), squares.mean(0)
    deviation = jnp.sqrt(jnp.maximum(square - mean**2, 1e-8))
    return jnp.sum(share * (scales / (scales + 0.1)) ** 2 * (mean**2 + (deviation - 1) ** 2))


def similarity(images: ImagesLike, variants: int) -> Float[Array, " n"]:
    """For each image, the mean cosine of its coarse form (an eighth of the size) with those of its fellow variants.

    Args:
        images: (n, h, w, 3), square; the variants of one class follow each other.
        variants: how many images each class has, at least 2.
    Returns:
        (n,), from -1 to 1.

    >>> twins = jnp.concatenate([images[:1], images[:1]])
    >>> tljax.synth.similarity(twins, variants=2).round(2).tolist()
    [1.0, 1.0]
    """
    n, size = images.shape[:2]
    coarse = jax.image.resize(images, (n, size // 8, size // 8, 3), "linear").reshape(
        -1, variants, 3 * (size // 8) ** 2
    )
    coarse -= coarse.mean(-1, keepdims=True)
    coarse /= jnp.sqrt(jnp.sum(coarse**2, -1, keepdims=True) + 1e-6)
    cosines = jnp.einsum("cid,cjd->cij", coarse, coarse) * (1 - jnp.eye(variants, dtype=jnp.float32))
    return cosines.sum(-1).reshape(n) / (variants - 1)


def _top(logits: Logits, n: int, name: str) -> Array:
    if logits.shape[-1] < n:
        raise InputError(f"{name} needs at least {n} classes, and there are {logits.shape[-1]}: take cross_entropy")
    return jax.lax.top_k(logits, n)[0]


def _others(logits: Logits, labels: Labels) -> Array:
    """The logits, with that of the label at minus infinity."""
    own = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    return jnp.where(own, -jnp.inf, logits)
