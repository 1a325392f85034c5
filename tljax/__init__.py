"""Transfer learning with pretrained CNNs, and looking inside them: pure functions in JAX.

Importing this package does no work and imports no jax; each name below is imported when it is first used.
"""

from tljax.lazy import lazy

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
    "predict": "transfer.prediction",
    **{name: name for name in _PACKAGES},
}

__all__ = [*_WHERE]
__getattr__ = lazy(__name__, _WHERE)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
