"""One photo, one class, one map: every attribution behind one function."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image, ImageFilter

from tljax.errors import InputError, refuse
from tljax.models.network import Network, for_inference
from tljax.synth.attribution import grad_cam, integrated_gradients, saliency, smoothgrad
from tljax.synth.occlusion import occlusion

METHODS = ("grad_cam", "saliency", "integrated_gradients", "smoothgrad", "occlusion")
BASELINES = ("black", "grey", "white", "blur")
"""What "nothing" looks like, for integrated_gradients and occlusion."""

_LEVELS = {"black": 0.0, "grey": 0.5, "white": 1.0}
_SQUARES = 7  # that cover a side of the photo, side by side; they move by half of one
_STEPS = {"integrated_gradients": 64, "smoothgrad": 32}


def heat_map(
    net: Network,
    photo: UInt8[np.ndarray, "h w 3"],
    label: int,
    method: str = "grad_cam",
    *,
    layer: str | None = None,
    baseline: str | None = None,
    steps: int | None = None,
    key: Array | None = None,
) -> Float[np.ndarray, "h w"]:
    """One number for each pixel of a photo: how much of the label's score hangs on it.

    Args:
        photo: uint8, at the network's resolution.
        method: "grad_cam", "saliency", "smoothgrad" (the greatest absolute value of a pixel's channels),
            "integrated_gradients" (summed over the channels) or "occlusion".
        layer: of "grad_cam"; by default the last convolutional one.
        baseline: of `BASELINES`; by default black for "integrated_gradients", grey for "occlusion".
        steps: gradients of "integrated_gradients" (64), or copies for "smoothgrad" (32).
        key: of the noise of "smoothgrad".
    Returns:
        (h, w), in the units of the method; of "integrated_gradients" and "occlusion" signed, above 0 for what speaks
        for the label, else >= 0. All zero where nothing was found.
    Raises:
        InputError: an unknown method, layer or baseline, an option that the method does not have, a label that is no
            class, no key for "smoothgrad".

    >>> tljax.synth.heat_map(net, photos[0], label=1, method="saliency").shape
    (32, 32)
    """
    _check(method, layer, baseline, steps)
    steps = _STEPS.get(method, 1) if steps is None else steps
    net = for_inference(net, images=(2 * _SQUARES) ** 2 if method == "occlusion" else 3 * steps)
    images, labels = photo[None].astype(np.float32) / 255, np.array([label])
    given = net.scores, net.variables, images, labels
    if method == "grad_cam":
        layer = layer or net.spec.last_layer
        heat = grad_cam(net.scores, net.intermediates, net.variables, images, labels, layer=layer)
    elif method == "saliency":
        heat = saliency(*given)
    elif method == "smoothgrad":
        if key is None:
            raise InputError("smoothgrad draws noise: give a key, such as jax.random.key(0)")
        heat = jnp.abs(smoothgrad(*given, samples=steps, key=key)).max(-1)
    elif method == "integrated_gradients":
        start = nothing_shown(photo, baseline or "black")
        heat = integrated_gradients(*given, baseline=start, steps=steps).sum(-1)
    else:
        window = max(1, min(photo.shape[:2]) // _SQUARES)
        heat = occlusion(*given, window=window, baseline=nothing_shown(photo, baseline or "grey"))
    return np.asarray(heat)[0]


def nothing_shown(photo: UInt8[np.ndarray, "h w 3"], baseline: str) -> Any:
    """A baseline by its name: a level in [0, 1], or the photo blurred until nothing can be told, (1, h, w, 3)."""
    if baseline in _LEVELS:
        return _LEVELS[baseline]
    blurred = Image.fromarray(photo).filter(ImageFilter.GaussianBlur(min(photo.shape[:2]) / 10))
    return np.asarray(blurred, np.float32)[None] / 255


def _check(method: str, layer: str | None, baseline: str | None, steps: int | None) -> None:
    if method not in METHODS:
        raise InputError(f'no method "{method}": it is one of {", ".join(METHODS)}')
    refuse(
        {
            f"a layer goes with grad_cam, not with {method}": layer is not None and method != "grad_cam",
            f"a baseline goes with integrated_gradients and occlusion, not with {method}": (
                baseline is not None and method not in ("integrated_gradients", "occlusion")
            ),
            f'no baseline "{baseline}": it is one of {", ".join(BASELINES)}': (
                baseline is not None and baseline not in BASELINES
            ),
            f"steps go with integrated_gradients and smoothgrad, not with {method}": (
                steps is not None and method not in _STEPS
            ),
        }
    )
