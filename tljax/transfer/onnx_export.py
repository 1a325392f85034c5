"""A network as one ONNX file, from pixels to probabilities, and the proof that ONNX Runtime agrees with it."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

import tljax.onnx
from tljax import __version__
from tljax.data.bundled import bundled_photograph
from tljax.data.sources import photo_source
from tljax.files import replacing
from tljax.models.network import Network, for_inference
from tljax.transfer.export import make_outputs, picture_shape, preprocessing
from tljax.transfer.onnx_file import OnnxFile, read_onnx
from tljax.transfer.prediction import score_source

TOLERANCE = 1e-3
"""By how much a probability may differ between ONNX Runtime and the network."""

_TRIED = ("chelsea.png", "coffee.png", "rocket.jpg", "retina.jpg")
"""Photographs that scikit-image installs: 451 x 300, 600 x 400, 640 x 427 and 1411 x 1411 pixels."""


def export_onnx(net: Network, *, cropped: bool = False, heat: bool = False) -> bytes:
    """A network as an ONNX model, its weights, its preprocessing and its class names inside.

    The input "input_0" is uint8 RGB (b, h, w, 3), upright, of any size: antialiased resize, central crop,
    normalisation, network and softmax are in the model. The resize is Pillow's own arithmetic and equals it to the last
    bit; it is two products of matrices and takes long on large pictures (0.14 s for 640 x 480, 2.8 s for 12
    megapixels). The model computes in float32, also where the network is bfloat16.

    Args:
        net: pretrained, or a trained run.
        cropped: it takes pictures that were resized and cropped outside, (b, s, s, 3) with s = `spec.input_size`.
        heat: it has another output, "heat" (b, y, x) in [0, 1]: the Grad-CAM of the most likely class.
    Returns:
        the model; its output "output" is float32 (b, classes), and of a trained run "unknown" float32 (b,): above 1,
        the photo is none of the classes. Its metadata: "classes" (a JSON list), "preprocessing" (a JSON object),
        "model", "licence", "source", "tljax", and where there is such an output "unknown_threshold".
    Raises:
        InputError: as `tljax.onnx.export`.

    >>> model = tljax.transfer.export_onnx(net, cropped=True)
    >>> type(model).__name__
    'bytes'
    """
    spec = net.spec
    exact = for_inference(net).replace(plain=True, dtype="float32")
    classify = make_outputs(exact, cropped=cropped)

    def function(images):
        warmth = {"heat": grad_cam(exact, images)} if heat else {}
        return {**classify(images), **warmth}

    metadata = {
        "tljax": __version__,
        "model": spec.name,
        "classes": json.dumps(spec.classes, ensure_ascii=False),
        "licence": spec.licence,
        "source": spec.source,
        "preprocessing": json.dumps({**preprocessing(spec, cropped=cropped), "crop_pct": spec.crop_pct}),
    }
    if "unknown" in net.variables:
        metadata["unknown_threshold"] = "1"
    with jax.enable_x64(True):
        return tljax.onnx.export(function, (picture_shape(spec, cropped=cropped), "uint8"), metadata=metadata)


def grad_cam(net: Network, images: UInt8[Array, "b s s 3"]) -> Float[Array, "b y x"]:
    """Where a network looks for the most likely class of cropped pictures: Grad-CAM, scaled to at most 1.

    Source: Selvaraju et al., Grad-CAM, 2017, equations 1 and 2.
    """
    pixels, layer = images.astype(jnp.float32) / 255, net.spec.last_layer

    def best(perturbations):
        return net.scores({**net.variables, "perturbations": {layer: perturbations}}, pixels).max(-1).sum()

    maps = net.intermediates(net.variables, pixels)[layer]
    slopes = jax.grad(best)(jnp.zeros_like(maps)).mean((1, 2), keepdims=True)
    heat = jax.nn.relu((maps * slopes).sum(-1))
    return heat / jnp.maximum(heat.max((1, 2), keepdims=True), 1e-12)


def write_onnx(net: Network, out: str | Path, *, cropped: bool = False, heat: bool = False) -> dict[str, Any]:
    """Writes an ONNX file; where ONNX Runtime is installed, only after it said of photographs what the network says.

    Returns:
        classes, input, output, opset, preprocessing, model, licence; "checked": the largest difference of a probability
        on the photographs that were tried, None where ONNX Runtime is not installed.
    Raises:
        InputError: as `export_onnx`.  OSError: it cannot be written.
        RuntimeError: ONNX Runtime disagrees; the file is not written.
    """
    spec = net.spec
    data = export_onnx(net, cropped=cropped, heat=heat)
    with replacing(Path(out)) as part:
        part.write_bytes(data)
        difference = None
        if importlib.util.find_spec("onnxruntime") is not None:
            difference = largest_difference(net, read_onnx(part))
    shape = ", ".join(map(str, picture_shape(spec, cropped=cropped)))
    return {
        "classes": list(spec.classes),
        "input": f"uint8[{shape}]",
        "output": f"float32[b, {len(spec.classes)}]",
        "opset": tljax.onnx.OPSET,
        **preprocessing(spec, cropped=cropped),
        "model": spec.name,
        "licence": spec.licence,
        "checked": difference,
    }


def largest_difference(net: Network, exported: OnnxFile) -> float:
    """Between the probabilities of a network and of its exported file, on a few photographs.

    Raises:
        RuntimeError: it is more than `TOLERANCE`, or what tells photos of none of the classes differs by a hundredth.
    """
    photos = photo_source([bundled_photograph(name) for name in _TRIED])
    expected, strange, *_ = score_source(net.replace(dtype="float32"), photos)
    found, also_strange, *_ = exported.score_source(photos)
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE:  # nan is none either
        raise RuntimeError(f"ONNX Runtime differs from the network by {difference:.2g}, so nothing was written")
    if not np.allclose(also_strange, strange, rtol=0.01, equal_nan=True):
        raise RuntimeError("ONNX Runtime tells unknown photos otherwise than the network, so nothing was written")
    return difference
