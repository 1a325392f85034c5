"""Transfer learning with pretrained CNNs, and looking inside them: pure functions in JAX.

Importing this package does no work and imports no jax; each name below is imported when it is first used.
"""

from typing import TYPE_CHECKING

from tljax.lazy import lazy

if TYPE_CHECKING:
    from tljax import data, errors, models, onnx, report, synth, transfer, trees, weights
    from tljax.data.loader import load_images
    from tljax.models.network import for_inference, init_network
    from tljax.models.spec import get_spec, list_models
    from tljax.transfer.naming import predict
    from tljax.transfer.run import load_run
    from tljax.weights.load import load_pretrained

__version__ = "0.1.0"

_PACKAGES = ("models", "weights", "data", "transfer", "synth", "onnx", "report", "trees", "errors")
_WHERE = {
    "list_models": "models.spec",
    "get_spec": "models.spec",
    "init_network": "models.network",
    "for_inference": "models.network",
    "load_pretrained": "weights.load",
    "load_run": "transfer.run",
    "load_images": "data.loader",
    "predict": "transfer.naming",
    **{name: name for name in _PACKAGES},
}

__all__ = [
    "data",
    "errors",
    "for_inference",
    "get_spec",
    "init_network",
    "list_models",
    "load_images",
    "load_pretrained",
    "load_run",
    "models",
    "onnx",
    "predict",
    "report",
    "synth",
    "transfer",
    "trees",
    "weights",
]
__getattr__ = lazy(__name__, _WHERE)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
