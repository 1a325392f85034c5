"""Which parts of an image a score hangs on, without a gradient: what covering them takes away."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from tljax.errors import refuse
from tljax.synth.eight_bit import ImagesLike
from tljax.synth.inputs import Labels, Scores, check_images, check_labels
from tljax.synth.losses import own_score


def occlusion(
    scores: Scores,
    variables: Any,
    images: ImagesLike,
    labels: Labels,
    *,
    window: int = 32,
    stride: int | None = None,
    baseline: ImagesLike | float = 0.5,
) -> Float[Array, "b h w"]:
    """How much the label's score falls when a square is covered; for each pixel the mean over squares that cover it.

    Args:
        window: side of the square, in pixels.
        stride: between squares, at most `window`; by default half of it. The last ones end at the edge.
        baseline: what covers: mid-grey by default; a number, or images of a shape that broadcasts.
        scores, variables, images, labels: as `saliency`.
    Returns:
        (b, h, w), signed, in units of score: above 0 where the square spoke for the label.
    Raises:
        InputError: a window larger than the image, a stride that leaves gaps; otherwise as `saliency`.
    Source: Zeiler and Fergus, 2013 (arXiv 1311.2901).

    >>> tljax.synth.occlusion(net.scores, net.variables, images, labels, window=16).shape
    (8, 32, 32)
    """
    images, labels = check_images(images), jnp.asarray(labels)
    check_labels(scores, variables, images, labels)
    stride = max(1, window // 2) if stride is None else stride
    shorter = min(images.shape[1:3])
    refuse(
        {
            f"window must be from 1 to {shorter} pixels, got {window}": not 1 <= window <= shorter,
            f"stride must be from 1 to the window's {window}, got {stride}": not 1 <= stride <= window,
        }
    )
    rows, columns = (np.append(np.arange(0, n - window, stride), n - window) for n in images.shape[1:3])
    corners = jnp.stack(jnp.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
    cover = jnp.broadcast_to(jnp.asarray(baseline, images.dtype), images.shape)
    return _occlude(scores, variables, images, labels, cover, corners, window)


@partial(jax.jit, static_argnames=("scores", "window"))
def _occlude(scores, variables, images, labels, cover, corners, window):
    whole, height, width = own_score(scores(variables, images), labels), *images.shape[1:3]

    def add(sums, corner):
        fall, times = sums
        y, x = jnp.arange(height)[:, None] - corner[0], jnp.arange(width)[None, :] - corner[1]
        inside = (y >= 0) & (y < window) & (x >= 0) & (x < window)
        lost = whole - own_score(scores(variables, jnp.where(inside[..., None], cover, images)), labels)
        return (fall + inside * lost[:, None, None], times + inside), None

    sums = jnp.zeros(images.shape[:3], jnp.float32), jnp.zeros((height, width), jnp.float32)
    (fall, times), _ = jax.lax.scan(add, sums, corners)
    return fall / times
