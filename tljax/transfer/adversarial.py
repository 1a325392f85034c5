"""Training pictures changed against the network that learns from them: the inner attack of adversarial training."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

STEPS = 3
"""Gradients of the attack in a training step; each costs about as much as the step itself."""


def perturbed(
    loss: Callable[[Float[Array, "b h w c"]], Float[Array, ""]],
    images: Float[Array, "b h w c"],
    *,
    eps: float,
    steps: int = STEPS,
    key: jax.Array,
) -> Float[Array, "b h w c"]:
    """The images moved up `loss` by projected gradient ascent, no pixel by more than `eps`, from a random start.

    The last image is taken, and at no 8-bit levels: what is to be learned from, not what counts as fooled, for which
    there is `synth.pgd`.

    Args:
        loss: a sum over the images, each of which has its own part in it; only its gradient's signs matter.
        images: float32 in [0, 1].
        eps: the largest change of a pixel, in (0, 1].
        steps: gradients taken; each moves a pixel by 2.5 `eps` / `steps`, or not at all where its gradient is zero or
            NaN.
        key: of the random start.
    Returns:
        float32 in [0, 1], within `eps` of `images`. What `loss` closes over is not differentiated.
    Source: Madry et al., 2017 (arXiv 1706.06083).

    >>> from tljax.transfer.adversarial import perturbed
    >>> def loss(x):
    ...     return -jax.nn.log_softmax(net.scores(net.variables, x))[:, 0].sum()
    >>> moved = perturbed(loss, jnp.asarray(images), eps=2 / 255, key=jax.random.key(0))
    >>> bool(loss(moved) > loss(images)), bool(jnp.abs(moved - images).max() <= 2 / 255 + 1e-6)
    (True, True)
    """
    low, high = jnp.maximum(images - eps, 0.0), jnp.minimum(images + eps, 1.0)
    size = 2.5 * eps / steps

    def climb(x, _):
        uphill = jnp.nan_to_num(jnp.sign(jax.grad(loss)(x)))
        return jnp.clip(x + size * uphill, low, high), None

    noise = jax.random.uniform(key, images.shape, images.dtype, minval=-eps, maxval=eps)
    return jax.lax.scan(climb, jnp.clip(images + noise, low, high), length=steps)[0]
