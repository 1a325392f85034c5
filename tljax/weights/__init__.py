"""Pretrained weights: where files come from, what they hold, and whose parameters they become.

`fetch` finds the file, `read` gives a flat dict of arrays, `convert` (with the rules of a family) gives variables, and
`load.load_pretrained` does all three. Each name is imported when it is first used, so that `fetch` stays free of jax.
"""

from typing import TYPE_CHECKING

from tljax.lazy import lazy

if TYPE_CHECKING:
    from tljax.weights.fetch import cache_dir, weights_digest
    from tljax.weights.load import load_pretrained
    from tljax.weights.read import read_weights

_WHERE = {"cache_dir": "fetch", "load_pretrained": "load", "read_weights": "read", "weights_digest": "fetch"}

__all__ = [
    "cache_dir",
    "load_pretrained",
    "read_weights",
    "weights_digest",
]
__getattr__ = lazy(__name__, _WHERE)
