"""Pretrained architectures: families, specifications, and networks as pure functions.

The built-in families are registered here as any other is. What needs jax is imported when it is first used.
"""

import importlib
from typing import Any

from tljax.models import efficientnet_lite, mobilenet, resnet, squeezenet, vgg
from tljax.models.rules import Rule
from tljax.models.spec import Family, ModelSpec, get_spec, list_models, register

__all__ = [
    "BatchNorm",
    "Conv",
    "ConvNorm",
    "Execution",
    "Family",
    "Head",
    "ModelSpec",
    "Network",
    "Outputs",
    "Rule",
    "Taps",
    "dropout",
    "for_inference",
    "get_spec",
    "init_network",
    "list_models",
    "register",
    "spatial_mean",
]

for _family in (vgg, resnet, mobilenet, efficientnet_lite, squeezenet):
    register(_family.FAMILY)

_NETWORK = ("Network", "for_inference", "init_network")


def __getattr__(name: str) -> Any:
    """Imports a public name that needs jax on first use (PEP 562)."""
    if name in __all__:
        return getattr(importlib.import_module(f"tljax.models.{'network' if name in _NETWORK else 'layers'}"), name)
    raise AttributeError(f"module 'tljax.models' has no attribute '{name}'")
