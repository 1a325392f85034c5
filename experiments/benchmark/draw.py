"""Seeded weights and images for the parity tests, from names and shapes alone. NumPy only.

Every number comes from the raw bits of a PCG64 stream (which NumPy promises never to change) by exact float32
arithmetic, so the arrays are the same bits on every machine. The stream of a tensor depends on the seed and on its
name only, never on the order of the names. "Spread" below is a standard deviation; the distribution is uniform.
"""

import math
import re
import zlib
from collections.abc import Mapping

import numpy as np

Shapes = Mapping[str, tuple[int, ...]]

_BLOCK = 2**18  # even
_TOKENS = ("cls_token", "reg_token", "pos_embed")
_GATES = r"(features\.[\d.]+\.block\.\d\.fc[12]|se\.(conv_(reduce|expand)|fc[12]))\.(weight|bias)$"
_SMALL_NORM = 0.2  # scale of the last norm of a residual block
_STEM_NORM = 3.0  # of the networks with ReLU6, so that it clips there too
_AFTER_CAFFE = ("conv1/kernel", "block1_conv1/kernel", "conv1_conv/kernel")  # whose input has a spread near 80
_GATE = 3.0  # gates are much wider open for one channel than for another, and every one of their layers counts
_PLAIN_NORM = 1.0  # the same place in a block whose output no shortcut carries on


def draw_state(shapes: Shapes, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights for a torch state dict, or for the names of `ndf` or Keras with kernels in HWIO order.

    Convolutions and dense layers are He-scaled (spread sqrt(2 / fan in)); running means lie around 0, running variances
    in [0.5, 2]; norm weights lie around 1, and around 0.2 for the last norm of a residual block, so that no block
    drowns its shortcut. The result keeps activations and logits of order 1 through 152 layers.

    Args:
        shapes: name -> shape; `num_batches_tracked` has shape ().
    Returns:
        name -> float32 array (int64 for `num_batches_tracked`), in the order of `shapes`.
    """
    return {name: _draw_tensor(name, shapes, seed) for name in shapes}


def draw_images(height: int, width: int, batch: int = 2, seed: int = 0) -> np.ndarray:
    """Image-like inputs: smooth colour fields at four scales plus pixel noise, in steps of 1/255.

    Returns:
        (batch, height, width, 3) float32 in [0, 1], RGB.
    """
    images = np.full((batch, height, width, 3), 0.5)
    for cells, spread in ((2, 0.16), (5, 0.12), (11, 0.08), (23, 0.05)):
        grid = _uniform(f"images/{cells}", (batch, cells, cells, 3), seed, spread)
        rows, columns = _interpolation(cells, height), _interpolation(cells, width)
        images += np.einsum("hi,bijc,wj->bhwc", rows, grid.astype(np.float64), columns)
    images += _uniform("images/noise", (batch, height, width, 3), seed, 0.05)
    return (np.round(images.clip(0, 1) * 255) / 255).astype(np.float32)


def draw_projection(classes: int, seed: int = 0) -> np.ndarray:
    """The weights (classes,), float32, of the one number whose gradient the parity tests compare."""
    return _uniform("projection", (classes,), seed)


def _draw_tensor(name: str, shapes: Shapes, seed: int) -> np.ndarray:
    shape = tuple(shapes[name])
    if name.endswith("num_batches_tracked"):
        return np.array(1000, np.int64)
    if name.endswith(("running_mean", "moving_mean")):
        return _uniform(name, shape, seed, 0.2)
    if name.endswith(("running_var", "moving_variance")):
        return _uniform(name, shape, seed, 0.75 / math.sqrt(3)) + np.float32(1.25)
    if name.endswith(_TOKENS):
        return _uniform(name, shape, seed, 0.5)
    gate = _GATE if re.search(_GATES, name) else 1.0
    if name.endswith(("bias", "beta")):
        return _uniform(name, shape, seed, 0.1 * gate)
    if len(shape) == 1 or name.endswith("layer_scale"):
        scale = _norm_scale(name, shapes)
        return _uniform(name, shape, seed, 0.2 * scale) + np.float32(scale)
    fan_in = math.prod(shape[:2] if "depthwise/" in name else shape[:-1] if name.endswith("/kernel") else shape[1:])
    gain = 2 / 80**2 if name in _AFTER_CAFFE else 2
    return _uniform(name, shape, seed, gate * math.sqrt(gain / fan_in))


def _norm_scale(name: str, shapes: Shapes) -> float:
    """The mean of a norm's weight: small for the last norm of a residual block, large for some stems, else 1."""
    if re.fullmatch(r"conv\d_block\d_3_bn/gamma", name):  # Keras' ResNet
        return _SMALL_NORM
    if re.search(r"\.gamma$|grn\.weight$|layer_scale$", name):  # ConvNeXt, DINOv2
        return _SMALL_NORM
    if match := re.fullmatch(r"(layer\d\.\d+\.bn)(\d)\.weight", name):  # ResNet: bn2 or, of a bottleneck, bn3
        return 1.0 if f"{match[1]}{int(match[2]) + 1}.weight" in shapes else _SMALL_NORM
    if match := re.fullmatch(r"(features\.\d+\.conv)\.\d+\.weight", name):  # torchvision's MobileNetV2
        expand = f"{match[1]}.0.0.weight"
    elif match := re.fullmatch(r"(_blocks\.\d+)\._bn2\.weight", name):  # EfficientNet-Lite
        expand = f"{match[1]}._expand_conv.weight"
    elif match := re.fullmatch(r"(block_\d+)_project_BN/gamma", name):  # Keras' MobileNetV2
        return _SMALL_NORM if shapes[f"{match[1]}_expand/kernel"][2] == shapes[name][0] else _PLAIN_NORM
    else:
        return _STEM_NORM if name in ("features.0.1.weight", "_bn0.weight", "bn_Conv1/gamma") else 1.0
    has_shortcut = expand in shapes and shapes[expand][1] == shapes[name][0]
    return _SMALL_NORM if has_shortcut else _PLAIN_NORM


def _uniform(name: str, shape: tuple[int, ...], seed: int, spread: float = 1.0) -> np.ndarray:
    """Float32, uniform with mean 0 and the given standard deviation; drawn from (seed, name), in blocks for speed."""
    stream = np.random.PCG64([seed, zlib.crc32(name.encode())])
    values = np.empty(math.prod(shape), np.float32)
    for start in range(0, values.size, _BLOCK):
        part = values[start : start + _BLOCK]
        bits = stream.random_raw((part.size + 1) // 2).astype("<u8", copy=False).view("<u4")
        part[:] = bits[: part.size] >> np.uint32(8)
        part -= np.float32(2**23)
        part *= np.float32(spread * math.sqrt(3) / 2**23)
    return values.reshape(shape)


def _interpolation(cells: int, size: int) -> np.ndarray:
    """(size, cells): linear interpolation from `cells` knots to `size` pixels."""
    position = np.arange(size) * (cells - 1) / (size - 1)
    return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(cells)))
