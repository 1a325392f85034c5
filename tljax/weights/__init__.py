"""Pretrained weights: where files come from, what they hold, and whose parameters they become.

`fetch` finds the file, `read` gives a flat dict of arrays, `convert` (with the rules of a family) gives variables, and
`load.load_pretrained` does all three. Each name is imported when it is first used, so that `fetch` stays free of jax.
"""

import importlib
from typing import Any

_WHERE = {"load_pretrained": "load", "read_weights": "read", "weights_digest": "fetch", "cache_dir": "fetch"}

__all__ = ["cache_dir", "load_pretrained", "read_weights", "weights_digest"]


def __getattr__(name: str) -> Any:
    """Imports a public name on first use (PEP 562)."""
    if name in _WHERE:
        return getattr(importlib.import_module(f"tljax.weights.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'tljax.weights' has no attribute '{name}'")
