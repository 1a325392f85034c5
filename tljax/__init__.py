"""Transfer learning with pretrained CNNs, and looking inside them: pure functions in JAX.

Importing this package does no work and imports no jax; each name below is imported when it is first used.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "list_models": "tljax.models.spec",
    "get_spec": "tljax.models.spec",
    "init_network": "tljax.models.network",
    "for_inference": "tljax.models.network",
    "load_pretrained": "tljax.weights.load",
    "load_run": "tljax.transfer.run",
    "load_images": "tljax.data.loader",
    "predict": "tljax.transfer.prediction",
}
_PACKAGES = ("models", "weights", "data", "transfer", "synth", "report", "trees", "errors")

__all__ = [*_WHERE, *_PACKAGES]


def __getattr__(name: str) -> Any:
    """Imports a public name on first use (PEP 562)."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    if name in _PACKAGES:
        return importlib.import_module(f"tljax.{name}")
    raise AttributeError(f"module 'tljax' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
