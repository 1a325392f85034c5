"""What an image is asked to be: losses and scores, one number per image."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def total_variation(images: Float[Array, "b h w c"]) -> Float[Array, " b"]:
    """Anisotropic total variation: the summed absolute difference of neighbouring pixels, per image.

    Args:
        images: (b, h, w, c), any range; the result scales with it.
    Returns:
        (b,), float32; equal to `tf.image.total_variation`.
    Source: Rudin, Osher and Fatemi, 1992; the lesson weighs it with 0.005.
    """
    rows = jnp.abs(jnp.diff(images, axis=-3)).sum((-3, -2, -1))
    columns = jnp.abs(jnp.diff(images, axis=-2)).sum((-3, -2, -1))
    return rows + columns


def cross_entropy(logits: Float[Array, "b n"], labels: Int[Array, " b"]) -> Float[Array, " b"]:
    """The negative log-probability of each label, in nats.

    Args:
        logits: (b, n), before softmax.
        labels: (b,), indices of classes.
    Returns:
        (b,), >= 0. Written so that the gradient stays exact where the probability rounds to 1: attacks live on it.
    """
    return jax.nn.softplus(jax.nn.logsumexp(_others(logits, labels), -1) - own_score(logits, labels))


def own_score(logits: Float[Array, "b n"], labels: Int[Array, " b"]) -> Float[Array, " b"]:
    """The logit of each label, (b,)."""
    return jnp.take_along_axis(logits, labels[:, None], -1)[:, 0]


def best_other(logits: Float[Array, "b n"], labels: Int[Array, " b"]) -> Float[Array, " b"]:
    """The highest logit of any class but the label, (b,)."""
    return _others(logits, labels).max(-1)


def margin(logits: Float[Array, "b n"], labels: Int[Array, " b"], *, targeted: bool = False) -> Float[Array, " b"]:
    """How far an attack has come: positive exactly when it succeeds.

    Args:
        labels: (b,), the true classes, or with `targeted` the classes aimed at.
    Returns:
        (b,): the best other logit minus the label's; with `targeted` its negative.
    """
    lead = own_score(logits, labels) - best_other(logits, labels)
    return lead if targeted else -lead


def dlr_loss(logits: Float[Array, "b n"], labels: Int[Array, " b"]) -> Float[Array, " b"]:
    """The difference-of-logits ratio: the margin over the gap of first to third, so the scale of logits drops out.

    Args:
        logits: (b, n) of at least three classes.
        labels: (b,), true classes.
    Returns:
        (b,): positive when another class leads.
    Source: Croce and Hein, 2020 (arXiv 2003.01690), equation 6.
    """
    top = jax.lax.top_k(logits, 3)[0]
    return margin(logits, labels) / (top[:, 0] - top[:, 2] + 1e-12)


def targeted_dlr_loss(
    logits: Float[Array, "b n"], labels: Int[Array, " b"], targets: Int[Array, " b"]
) -> Float[Array, " b"]:
    """The targeted form of `dlr_loss`: it grows as the target overtakes the label.

    Args:
        logits: (b, n) of at least four classes.
        labels: (b,), the classes that the originals have.
        targets: (b,), the classes aimed at.
    Source: Croce and Hein, 2020 (arXiv 2003.01690), equation 7.
    """
    top = jax.lax.top_k(logits, 4)[0]
    gap = own_score(logits, targets) - own_score(logits, labels)
    return gap / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)


def _others(logits: Array, labels: Array) -> Array:
    own = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    return jnp.where(own, -jnp.inf, logits)
