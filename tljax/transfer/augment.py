"""Random crops, mirror images and colours, made on the device inside the training step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from tljax.errors import InputError


class Augment(NamedTuple):
    """How far a training picture may stray from the photo.

    Attributes:
        area: (least, most) share of the stored picture's area that a crop covers.
        ratio: the most that a crop's width may exceed its height, or the reverse (1: squares only).
        colour: brightness, contrast and saturation are each scaled by a factor in [1 - colour, 1 + colour].
        flip: whether half of the pictures are mirrored. Wrong for letters and digits.
    """

    area: tuple[float, float]
    ratio: float
    colour: float
    flip: bool


def augmentation(strength: str, *, flip: bool) -> Augment | None:
    """The setting named "none" (the central crop, as in prediction), "light" or "full".

    "light" keeps the subject whole, for small sets and symbols; "full" is the usual ImageNet recipe with a
    milder crop, for long training.

    Raises:
        InputError: another name.

    >>> tljax.transfer.augmentation("none", flip=False) is None
    True
    """
    if strength == "none":
        return None
    if strength == "light":
        return Augment(area=(0.6, 1.0), ratio=1.15, colour=0.1, flip=flip)
    if strength == "full":
        return Augment(area=(0.25, 1.0), ratio=4 / 3, colour=0.4, flip=flip)
    raise InputError(f'no augmentation named "{strength}": give none, light or full')


def central(images: UInt8[Array, "b h w c"], size: int) -> Float[Array, "b s s c"]:
    """The central `size` square, in [0, 1]: what prediction sees. The picture is at least that large."""
    top, left = (images.shape[-3] - size) // 2, (images.shape[-2] - size) // 2
    return images[:, top : top + size, left : left + size].astype(jnp.float32) / 255


def augment(
    images: UInt8[Array, "b h w c"], size: int, setting: Augment | None, *, key: jax.Array
) -> Float[Array, "b s s c"]:
    """Pictures for one training step: a random resized crop, perhaps mirrored, with changed colours.

    Args:
        images: stored pictures, a little larger than `size`, so that a crop loses little detail and needs no
            antialiasing.
        size: side of the result in pixels.
        setting: None gives `central`.
        key: the same key gives the same pictures, whatever came before.
    Returns:
        (b, size, size, c) float32 in [0, 1].
    Source: random resized crop, Szegedy et al. 2015 (arXiv 1409.4842).
    """
    if setting is None:
        return central(images, size)
    batch, height, width, _ = images.shape
    key_area, key_ratio, key_place, key_flip, key_colour = jax.random.split(key, 5)
    area = jax.random.uniform(key_area, (batch,), jnp.float32, minval=setting.area[0], maxval=setting.area[1])
    stretch = jnp.log(setting.ratio) / 2
    root = jnp.exp(jax.random.uniform(key_ratio, (batch,), jnp.float32, minval=-stretch, maxval=stretch))
    extents = jnp.stack([jnp.sqrt(area) / root, jnp.sqrt(area) * root], -1).clip(max=1.0)
    starts = jax.random.uniform(key_place, (batch, 2), jnp.float32) * (1 - extents)
    flips = jnp.zeros(batch, bool)
    if setting.flip:
        flips = jax.random.bernoulli(key_flip, jnp.float32(0.5), (batch,))
    boxes = jnp.concatenate([starts, extents], -1) * jnp.array([height, width, height, width])
    pictures = jax.vmap(_crop, in_axes=(0, 0, 0, None))(images, boxes, flips, size)
    return _colour(pictures, setting.colour, key=key_colour)


def _crop(image: UInt8[Array, "h w c"], box: Float[Array, "4"], flip: Array, size: int) -> Float[Array, "s s c"]:
    """The box (top, left, height, width) on `size` x `size` pixels, bilinearly, in [0, 1]."""
    places = jnp.arange(size)
    columns = jnp.where(flip, size - 1 - places, places)
    picture = image.astype(jnp.float32) / 255
    for axis, (at, start, extent) in enumerate(((places, box[0], box[2]), (columns, box[1], box[3]))):
        centres = jnp.clip(start + (at + 0.5) * extent / size - 0.5, 0, image.shape[axis] - 1)
        low = jnp.floor(centres).astype(jnp.int32)
        high = jnp.minimum(low + 1, image.shape[axis] - 1)
        share = jnp.expand_dims(centres - low, (1, 2) if axis == 0 else (0, 2))
        picture = jnp.take(picture, low, axis) * (1 - share) + jnp.take(picture, high, axis) * share
    return picture


def _colour(images: Float[Array, "b h w c"], amount: float, *, key: jax.Array) -> Float[Array, "b h w c"]:
    """Saturation, contrast and brightness, each by its own factor for each picture."""
    factors = jax.random.uniform(key, (3, images.shape[0], 1, 1, 1), jnp.float32, minval=1 - amount, maxval=1 + amount)
    saturation, contrast, brightness = factors
    grey = images.mean(-1, keepdims=True)
    mean = grey.mean((-3, -2), keepdims=True)
    coloured = saturation * images + (1 - saturation) * grey
    return jnp.clip(brightness * (contrast * coloured + (1 - contrast) * mean), 0.0, 1.0)
