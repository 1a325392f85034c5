"""What attacks and attributions are given: functions, images, labels and keys; and refusals of anything else."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Int

from tljax.errors import InputError, refuse
from tljax.models.inputs import refuse_range
from tljax.synth.eight_bit import Images, ImagesLike

Labels = Int[Array | np.ndarray, " b"]
Scores = Callable[[Any, Array], Array]
Variables = Mapping[str, Any]
_ROOM = 1e-3  # by which an image may overshoot [0, 1]


def check_images(images: ImagesLike) -> Images:
    """The images as float32, after a refusal of what is none; traced ones are let through unseen.

    Raises:
        InputError: another rank than 4, integers, a pixel outside [0, 1] or not finite.
    """
    images = jnp.asarray(images)
    refuse(
        {
            f"images must be (b, h, w, c), got {images.ndim} axes, shape {images.shape}: one image is images[None]": (
                images.ndim != 4
            ),
            f"images must be float32 in [0, 1], got {images.dtype}": not jnp.issubdtype(images.dtype, jnp.floating),
        }
    )
    if not isinstance(images, Tracer) and images.size:
        seen = np.asarray(images)  # also where a program that is being traced closes over them
        least, greatest = float(seen.min()), float(seen.max())
        if not np.isfinite([least, greatest]).all():
            raise InputError("images must be finite: there is a NaN or an infinity among their pixels")
        refuse_range(least, greatest, -_ROOM, 1 + _ROOM)
    return images.astype(jnp.float32)


def check_labels(scores: Scores, variables: Variables, images: ImagesLike, labels: Labels) -> None:
    """Refuses labels that are not classes of these images; of traced ones only shape and dtype are looked at.

    Raises:
        InputError: not integers of shape (b,), or not from 0 to the number of classes less one.
    """
    if labels.shape != images.shape[:1] or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise InputError(
            f"labels must be {len(images)} integers, one for each image: got {labels.dtype} of shape {labels.shape}"
        )
    if isinstance(labels, Tracer):
        return
    classes = jax.eval_shape(scores, variables, images).shape[-1]
    wrong = [int(label) for label in np.asarray(labels) if not 0 <= label < classes]
    if wrong:
        raise InputError(f"no class with index {wrong[0]}: there are {classes}, counted from 0")


def image_keys(key: Array, n: int) -> Array:
    """A key for each of n images, so that what is drawn for one does not hang on the others.

    Args:
        key: of `jax.random.key`; or (n,) of them, which are returned as they are.
    Raises:
        InputError: no key, or another number of keys.
    """
    key = check_key(key)
    if key.ndim == 0:
        return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(n))
    if key.shape != (n,):
        raise InputError(f"key must be one key, or {n}, one for each image: got shape {key.shape}")
    return key


def check_key(key: Array) -> Array:
    """The key as one of `jax.random.key`.

    Raises:
        InputError: anything else than a key.
    """
    dtype = getattr(key, "dtype", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return key
    if dtype == jnp.uint32 and key.shape[-1:] == (2,):  # of jax.random.PRNGKey
        return jax.random.wrap_key_data(key)
    raise InputError(f"key must be a jax.random.key(0), say, got {type(key).__name__}")
