"""Probabilities of pictures, straight through a network: compiled once, memory independent of their number."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from tljax import parallel
from tljax.data.loader import Skipped, batches
from tljax.data.source import Source
from tljax.models.network import Network, for_inference
from tljax.progress import Track, untracked
from tljax.transfer.finetune import make_eval_step


def predict(
    net: Network,
    source: Source,
    indices: Sequence[int],
    *,
    batch_size: int = 32,
    track: Track = untracked,
    mesh: Mesh | None = None,
) -> tuple[Float[np.ndarray, "n k"], Int[np.ndarray, " n"], list[Skipped]]:
    """Probabilities of the pictures at `indices`.

    Args:
        batch_size: pictures at once, at least.
        mesh: the devices that share each batch; None for all of this process.
    Returns:
        (n, classes) float32 for those that can be read, their n indices in the order given, and the others.
    """
    return make_predictor(net, source, indices, batch_size=batch_size, mesh=mesh)(net.variables, track)


def make_predictor(
    net: Network, source: Source, indices: Sequence[int], *, batch_size: int, mesh: Mesh | None = None
) -> Callable:
    """`(variables, track=untracked) -> ` what `predict` returns; for a network whose variables change."""
    step = make_eval_step(for_inference(net).apply, size=net.spec.input_size)
    mesh = parallel.local_mesh() if mesh is None else mesh
    batch_size = parallel.whole_rows(batch_size, mesh)

    def run(variables: Any, track: Track = untracked):
        folded = parallel.replicate(mesh, for_inference(net.replace(variables=variables)).variables)
        probs = [np.zeros((0, len(net.spec.classes)), np.float32)]
        index, skipped = [np.zeros(0, np.int64)], []
        feed = batches(source, indices, net.spec, batch_size=batch_size)
        for batch in track(feed, "predict", -(-len(indices) // batch_size)):
            skipped.extend(batch.skipped)
            probs.append(np.asarray(step(folded, parallel.spread(mesh, batch.images)))[batch.mask])
            index.append(batch.index[batch.mask])
        return np.concatenate(probs), np.concatenate(index), skipped

    return run
