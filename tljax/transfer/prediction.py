"""Probabilities of pictures, straight through a network: compiled once, memory independent of their number."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, UInt8

from tljax.data.loader import Skipped, batches
from tljax.data.source import Source
from tljax.distributed import collectives, sharding
from tljax.models.network import Network, for_inference
from tljax.progress import Track, untracked
from tljax.transfer.augment import central


def predict(
    net: Network,
    source: Source,
    indices: Sequence[int],
    *,
    batch_size: int = 32,
    track: Track = untracked,
    mesh: Mesh | None = None,
) -> tuple[Float[np.ndarray, "n k"], Int[np.ndarray, " n"], list[Skipped]]:
    """Probabilities of the pictures at `indices`; several processes share these, and all get all.

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
    step = make_eval_step(net.replace(folded=True).apply, size=net.spec.input_size)
    mesh = sharding.local_mesh() if mesh is None else mesh
    batch_size = sharding.whole_rows(batch_size, mesh)

    def run(variables: Any, track: Track = untracked):
        folded = for_inference(net.replace(variables=sharding.own(variables))).variables
        folded = sharding.replicate(mesh, folded)
        probs = [np.zeros((0, len(net.spec.classes)), np.float32)]
        index, skipped = [np.zeros(0, np.int64)], []
        mine = indices[collectives.share(len(indices))]
        feed = batches(source, mine, net.spec, batch_size=batch_size)
        for batch in track(feed, "predict", -(-len(mine) // batch_size)):
            skipped.extend(batch.skipped)
            probs.append(np.asarray(step(folded, sharding.spread(mesh, batch.images)))[batch.mask])
            index.append(batch.index[batch.mask])
        index, skipped, probs = together(indices, np.concatenate(index), skipped, np.concatenate(probs))
        return probs, index, skipped

    return run


def make_eval_step(apply: Callable, *, size: int) -> Callable:
    """A jitted `(variables, images uint8 (b, h, w, 3)) -> (b, classes) float32 probabilities`."""

    @jax.jit
    def step(variables: Mapping[str, Any], images: UInt8[Array, "b h w c"]) -> Float[Array, "b k"]:
        logits = apply(variables, central(images, size))
        return jax.nn.softmax(logits.astype(jnp.float32))

    return step


def together(
    asked: Sequence[int], index: Int[np.ndarray, " n"], skipped: list[Skipped], *arrays: np.ndarray
) -> tuple[Any, ...]:
    """What each process has found of its share of the pictures `asked` for, in their order.

    Args:
        index: this process's pictures. skipped: those that it could not read. arrays: (n, ...), a row for each picture.
    Returns:
        index, skipped and the arrays of all processes.
    """
    if collectives.alone():
        return index, skipped, *arrays
    skipped = [Skipped(*row) for row in collectives.gather_lists([astuple(one) for one in skipped])]
    index, *arrays = collectives.gather_rows(index, *arrays)
    place = {int(i): n for n, i in enumerate(asked)}
    order = np.argsort([place[int(i)] for i in index])
    return index[order], skipped, *(array[order] for array in arrays)
