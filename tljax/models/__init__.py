"""Pretrained architectures: families, specifications, and networks as pure functions.

The built-in families are registered here as any other is. Each name is imported when it is first used, so that listing
the models needs no jax.
"""

from tljax.lazy import lazy
from tljax.models import efficientnet_lite, mobilenet, resnet, squeezenet, vgg
from tljax.models.spec import register

_WHERE = {
    "BatchNorm": "layers",
    "Conv": "layers",
    "ConvNorm": "layers",
    "Execution": "layers",
    "Family": "spec",
    "Head": "layers",
    "ModelSpec": "spec",
    "Network": "network",
    "Outputs": "layers",
    "Rule": "rules",
    "Taps": "layers",
    "dropout": "layers",
    "for_inference": "network",
    "get_spec": "spec",
    "init_network": "network",
    "list_models": "spec",
    "register": "spec",
    "spatial_mean": "layers",
}

__all__ = [*_WHERE]
__getattr__ = lazy(__name__, _WHERE)

for _family in (vgg, resnet, mobilenet, efficientnet_lite, squeezenet):
    register(_family.FAMILY)
