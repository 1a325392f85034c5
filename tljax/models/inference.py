"""Variables prepared for inference: batch norm folded into the convolution before it."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from tljax import trees
from tljax.models.spec import ModelSpec


def fold_batch_norm(spec: ModelSpec, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Folds each `norm` into the kernel and the bias beside it (a new one where there is none); in float64.

    Args:
        spec: its config says the eps of batch norm.
        variables: with `params` and `batch_stats`.
    Returns:
        variables for a network that is `folded`: of batch statistics there are only those of norms without a
        convolution before them; what else there was stays as it was.
    """
    params = trees.flatten(variables["params"])
    stats = trees.flatten(variables.get("batch_stats", {}))
    folded = {path: leaf for path, leaf in params.items() if "/norm/" not in path}
    for path in params:
        if path.endswith("/norm/scale"):
            layer = path.removesuffix("/norm/scale")
            scale, bias = (np.asarray(params[f"{layer}/norm/{name}"], np.float64) for name in ("scale", "bias"))
            mean, var = (np.asarray(stats[f"{layer}/norm/{name}"], np.float64) for name in ("mean", "var"))
            factor = scale / np.sqrt(var + spec.config.eps)
            kernel = np.asarray(params[f"{layer}/kernel"], np.float64) * factor
            folded[f"{layer}/kernel"] = kernel.astype(np.float32)
            own = np.asarray(params.get(f"{layer}/bias", 0.0), np.float64)
            folded[f"{layer}/bias"] = (bias + (own - mean) * factor).astype(np.float32)
    kept = {path: leaf for path, leaf in stats.items() if "/norm/" not in path}
    others = {name: value for name, value in variables.items() if name not in ("params", "batch_stats")}
    return {**others, **jax.device_put({"params": trees.unflatten(folded), "batch_stats": trees.unflatten(kept)})}
