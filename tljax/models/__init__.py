"""Pretrained architectures: families, specifications, and networks as pure functions.

The built-in families are registered here as any other is. Each name is imported when it is first used, so that listing
the models needs no jax.
"""

from typing import TYPE_CHECKING

from tljax.lazy import lazy
from tljax.models import (
    convnext,
    densenet,
    efficientnet,
    efficientnet_lite,
    efficientnet_v2,
    mobilenet,
    mobilenet_v3,
    resnet,
    squeezenet,
    vgg,
    vit,
)
from tljax.models.spec import register

if TYPE_CHECKING:
    from tljax.models.activations import gelu
    from tljax.models.channels import Dense, LayerNorm, LayerScale
    from tljax.models.gates import SqueezeExcite
    from tljax.models.layered import with_layers
    from tljax.models.layers import (
        BatchNorm,
        Conv,
        ConvNorm,
        Execution,
        Head,
        Outputs,
        Taps,
        dropout,
        pooled,
        spatial_mean,
    )
    from tljax.models.network import Network, for_inference, init_network
    from tljax.models.rules import Rule
    from tljax.models.spec import Family, ModelSpec, get_spec, list_models, register

_WHERE = {
    "BatchNorm": "layers",
    "Conv": "layers",
    "ConvNorm": "layers",
    "Dense": "channels",
    "Execution": "layers",
    "Family": "spec",
    "Head": "layers",
    "LayerNorm": "channels",
    "LayerScale": "channels",
    "ModelSpec": "spec",
    "Network": "network",
    "Outputs": "layers",
    "Rule": "rules",
    "SqueezeExcite": "gates",
    "Taps": "layers",
    "dropout": "layers",
    "for_inference": "network",
    "gelu": "activations",
    "get_spec": "spec",
    "init_network": "network",
    "list_models": "spec",
    "pooled": "layers",
    "register": "spec",
    "spatial_mean": "layers",
    "with_layers": "layered",
}

__all__ = [
    "BatchNorm",
    "Conv",
    "ConvNorm",
    "Dense",
    "Execution",
    "Family",
    "Head",
    "LayerNorm",
    "LayerScale",
    "ModelSpec",
    "Network",
    "Outputs",
    "Rule",
    "SqueezeExcite",
    "Taps",
    "dropout",
    "for_inference",
    "gelu",
    "get_spec",
    "init_network",
    "list_models",
    "pooled",
    "register",
    "spatial_mean",
    "with_layers",
]
__getattr__ = lazy(__name__, _WHERE)

for _family in (
    vgg,
    resnet,
    mobilenet,
    mobilenet_v3,
    efficientnet,
    efficientnet_v2,
    efficientnet_lite,
    densenet,
    squeezenet,
    convnext,
    vit,
):
    register(_family.FAMILY)
