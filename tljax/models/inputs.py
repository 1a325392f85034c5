"""What a network is shown: images in [0, 1], normalised as it was trained; and refusals of anything else."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from tljax.errors import InputError, refuse
from tljax.models.spec import ModelSpec, get_family

_LEAST, _GREATEST = -0.5, 1.5  # room for what is added to an image, and for a resampling that overshoots
_OF_PHOTOS = ": tljax.load_images(photos, net.spec) makes them of photos"
_NORMALISED = "normalised by a mean and a standard deviation: leave that out, for the network does it itself"


def normalise(spec: ModelSpec, images: Float[Array | np.ndarray, "b h w 3"]) -> Float[Array, "b h w 3"]:
    """Images in [0, 1] as the network was trained on them: mean and std per channel, then the channel order.

    Raises:
        InputError: another rank, dtype or number of channels; too small for the architecture.
    """
    given = getattr(images, "dtype", None)
    images = jnp.asarray(images)
    smallest = get_family(spec.family).min_input_size
    expected = "images must be (b, h, w, 3) float32 RGB in [0, 1]"
    if images.ndim != 4:
        raise InputError(f"{expected}: got {images.ndim} axes, shape {images.shape}")
    _, height, width, channels = images.shape
    refuse(
        {
            f"{expected}: got {channels} channels, shape {images.shape}": channels != 3,
            f"{expected}: got dtype {given or images.dtype}{_OF_PHOTOS if images.dtype == jnp.uint8 else ''}": (
                images.dtype != jnp.float32
            ),
            f"{spec.name} needs images of at least {smallest} pixels a side, got {images.shape}": (
                min(height, width) < smallest
            ),
        }
    )
    images = (images - jnp.asarray(spec.mean, jnp.float32)) / jnp.asarray(spec.std, jnp.float32)
    return images[..., ::-1] if spec.channel_order == "bgr" else images


def check_classifier(spec: ModelSpec) -> None:
    """Refuses to make logits where no class is known.

    Raises:
        InputError: the network has no classifier.
    """
    if not spec.classes:
        raise InputError(
            f"{spec.name} has no classifier: train one (tljax train DATA --model {spec.name}, or "
            "tljax.transfer.fit_probe and with_probe), or use embed"
        )


def check_range(images: Any) -> None:
    """Refuses floats far outside [0, 1] where they lie in the memory of a CPU. NaN is passed over.

    Args:
        images: anything; tracers, arrays on an accelerator and other dtypes are not looked at.
    Raises:
        InputError: the least is below -0.5 or the greatest above 1.5; says which of the usual ranges it seems to be,
            0 to 255 or that of normalised images.
    """
    parts = [part for part in _on_cpu(images) if part.size and part.dtype in (np.float32, np.float64)]
    if not parts:
        return
    least, greatest = (float(f.reduce([f.reduce(part, axis=None) for part in parts])) for f in (np.fmin, np.fmax))
    refuse_range(least, greatest, _LEAST, _GREATEST)


def refuse_range(least: float, greatest: float, low: float, high: float) -> None:
    """Refuses images whose `least` or `greatest` pixel is not within `low` and `high`.

    Raises:
        InputError: says which of the usual ranges it seems to be, 0 to 255 or that of normalised images.
    """
    if not (least < low or greatest > high):  # NaN is neither
        return
    if least > -0.25 and greatest < 1.25:
        advice = "clip them"
    elif greatest > 4 and least > -greatest / 4:  # with some room for noise
        advice = "these look like 0 to 255: divide by 255"
    else:
        advice = f"these look {_NORMALISED}"
    raise InputError(f"images must be in [0, 1], got {least:.4g} to {greatest:.4g}: {advice}")


def _on_cpu(images: Any) -> list[np.ndarray]:
    """What this process holds of an array, without a copy; nothing of a tracer, or of an array on an accelerator."""
    if isinstance(images, np.ndarray):
        return [images]
    if not isinstance(images, jax.Array) or isinstance(images, Tracer):
        return []
    return [np.asarray(shard.data) for shard in images.addressable_shards if shard.device.platform == "cpu"]
