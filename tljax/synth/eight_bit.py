"""Images as 8-bit files hold them: multiples of 1/255, inside an attack's budget."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from tljax.errors import InputError, refuse

Images = Float[Array, "b h w c"]
ImagesLike = Float[Array | np.ndarray, "b h w c"]
Budget = float | Float[Array | np.ndarray, "..."]
"""One number, or one for each image; in units of the pixel range."""

LEVELS = 255
_NEAR = 1e-3  # float32 multiples of 1/255 are within this of a whole level
_BISECTIONS = 12


def check_budget(eps: Budget, norm: str, *, quantized: bool = True) -> None:
    """Refuses a budget that no attack can use. A traced `eps` is let through.

    Args:
        eps: in units of the pixel range [0, 1]; a number, or an array with one for each image.
        norm: "linf" or "l2".
        quantized: whether only 8-bit images count, none of which is nearer to another than 1/255.

    Raises:
        InputError: another norm; eps <= 0, or where `quantized` below one 8-bit step; for "linf", eps > 1.

    >>> tljax.synth.check_budget(4 / 255, "linf")
    >>> tljax.synth.check_budget(4, "linf")
    Traceback (most recent call last):
    tljax.errors.InputError: eps must be at most 1, got 4: pixels are in [0, 1], so try 4/255
    """
    if norm not in ("linf", "l2"):
        raise InputError(f'norm must be "linf" or "l2", got "{norm}"')
    if isinstance(eps, Tracer):
        return
    least, greatest = (
        float(f(np.asarray(eps, np.float64), initial=edge)) for f, edge in ((np.min, np.inf), (np.max, 0))
    )
    refuse(
        {
            f"eps must be above 0, got {least:g}: try 4/255": not least > 0,
            f"eps must be at most 1, got {greatest:g}: pixels are in [0, 1], so try {greatest:g}/255": (
                norm == "linf" and greatest > 1
            ),
            f"eps {least:g} is below one 8-bit step (1/255 = {1 / LEVELS:.5f}), so no 8-bit image can change: "
            "give at least 1/255, or in Python quantized=False": quantized and least * LEVELS < 1 - _NEAR,
        }
    )


def per_image(numbers: Budget) -> Float[Array, "*b"]:
    """A number, or (b,) of them, in a shape that goes with images: (), or (b, 1, 1, 1); float32."""
    numbers = jnp.asarray(numbers, jnp.float32)
    return numbers[:, None, None, None] if numbers.ndim == 1 else numbers


def parse_budget(text: str) -> float:
    """A number such as "0.03" or "4/255".

    Raises:
        InputError: not a number.

    >>> tljax.synth.parse_budget("51/255")
    0.2
    """
    top, _, bottom = text.strip().partition("/")
    try:
        return float(top) / (float(bottom) if bottom else 1.0)
    except (ValueError, ZeroDivisionError):
        raise InputError(f'"{text}" is no budget: give a number such as 4/255 or 0.02') from None


def to_bytes(images: ImagesLike) -> Array:
    """Images in [0, 1] as uint8, rounded to the nearest level: what is written into a PNG.

    >>> tljax.synth.to_bytes(jnp.array([[[[0.0, 0.5, 1.0]]]])).tolist()
    [[[[0, 128, 255]]]]
    """
    return jnp.clip(jnp.round(images * LEVELS), 0, LEVELS).astype(jnp.uint8)


def norms(x: Images) -> Float[Array, "b 1 1 1"]:
    """The L2 norm of each image."""
    return jnp.sqrt(jnp.sum(x * x, (-3, -2, -1), keepdims=True))


def lengths(x: Images, norm: str) -> Float[Array, "b 1 1 1"]:
    """The greatest absolute pixel of each image ("linf"), or its L2 norm ("l2")."""
    return jnp.abs(x).max((-3, -2, -1), keepdims=True) if norm == "linf" else norms(x)


def project(images: ImagesLike, originals: ImagesLike, eps: Budget, norm: str) -> Images:
    """The nearest images in the ball of radius `eps` around `originals` (L2: by scaling), clipped to [0, 1].

    Args:
        eps: as `per_image` gives it.
    """
    change = images - originals
    if norm == "linf":
        change = jnp.clip(change, -eps, eps)
    else:
        change = change * jnp.minimum(1.0, eps / jnp.maximum(norms(change), 1e-12))
    return jnp.clip(originals + change, 0.0, 1.0)


def quantize(images: ImagesLike, originals: ImagesLike, eps: Budget, norm: str = "linf") -> Images:
    """`images` at the 8-bit levels k / 255, still within `eps` of `originals` and in [0, 1].

    L∞ rounds to the nearest level in the budget. L2 would lose most of a small change to rounding, or gain by it:
    there the levels nearer to the original are taken, except for the fractions above a threshold, which is as low as
    the norm of the unrounded change allows.

    Args:
        images: (b, h, w, c), float32 in [0, 1]; what is farther than `eps` is brought back first.
        originals: (b, h, w, c), float32 in [0, 1]. For L2 at 8-bit levels: else rounding can cost more than `eps`.
        eps: radius, in units of the pixel range; a number, or (b,), one for each image.
        norm: "linf" or "l2".
    Returns:
        (b, h, w, c), float32; `round(255 x)` gives the levels exactly.

    >>> kept = tljax.synth.quantize(images + 0.01, images, eps=2 / 255)  # 0.01 is 2.55 levels
    >>> jnp.round((kept - images) * 255).max().item()
    2.0
    """
    eps = per_image(eps)
    if norm == "linf":
        low = jnp.ceil((originals - eps) * LEVELS - _NEAR)
        high = jnp.floor((originals + eps) * LEVELS + _NEAR)
        levels = jnp.clip(jnp.clip(jnp.round(images * LEVELS), low, high), 0, LEVELS)
        return levels / LEVELS
    return _quantize_l2(images, originals, eps)


def _quantize_l2(images: ImagesLike, originals: ImagesLike, eps: Budget) -> Images:
    images = project(images, originals, eps, "l2")
    start, levels = _snap(originals * LEVELS), _snap(images * LEVELS)
    below = jnp.floor(levels)
    toward, away = jnp.where(levels >= start, below, below + 1), jnp.where(levels >= start, below + 1, below)
    fraction = jnp.abs(levels - toward)
    radius = norms(levels - start) * (1 + 1e-6)

    def bisect(_, bounds):
        low, high = bounds
        middle = (low + high) / 2
        fits = norms(jnp.where(fraction > middle, away, toward) - start) <= radius
        return jnp.where(fits, low, middle), jnp.where(fits, middle, high)

    ones = jnp.ones_like(radius)
    _, threshold = jax.lax.fori_loop(0, _BISECTIONS, bisect, (0 * ones, ones))
    return jnp.clip(jnp.where(fraction > threshold, away, toward), 0, LEVELS) / LEVELS


def _snap(levels: Array | np.ndarray) -> Array:
    nearest = jnp.round(levels)
    return jnp.where(jnp.abs(levels - nearest) < _NEAR, nearest, levels)
