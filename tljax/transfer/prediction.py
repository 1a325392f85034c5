"""Probabilities of photos, straight through a network: compiled once, memory independent of their number."""

from collections.abc import Callable, Mapping
from functools import cache
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
from tljax.transfer.trust.unknown import unknown_score

_BATCH = 32
_BATCHES = (1, 8, _BATCH)
"""The sizes of batches, few, so that other photos find their program compiled."""


def predict_source(
    net: Network,
    source: Source,
    *,
    batch_size: int = _BATCH,
    track: Track = untracked,
    mesh: Mesh | None = None,
    passes: int = 1,
) -> tuple[Float[np.ndarray, "n k"], Int[np.ndarray, " n"], list[Skipped]]:
    """`score_source` without the scores: probabilities, places, and what could not be read."""
    probs, _, index, skipped = score_source(net, source, batch_size=batch_size, track=track, mesh=mesh, passes=passes)
    return probs, index, skipped


def score_source(
    net: Network,
    source: Source,
    *,
    batch_size: int = _BATCH,
    track: Track = untracked,
    mesh: Mesh | None = None,
    passes: int = 1,
) -> tuple[Float[np.ndarray, "n *h k"], Float[np.ndarray, " n"], Int[np.ndarray, " n"], list[Skipped]]:
    """Probabilities of the pictures of a source; several processes share these, and all get all.

    Args:
        net: a network, or what stands in its place and has a `score_source` of its own: an exported file.
        batch_size: pictures at once, at most.
        mesh: the devices that share each batch; None for all of this process.
        passes: how often the pictures are shown in all, which decides the network's form as `for_inference` does.
    Returns:
        (n, classes) float32 for those that can be read, or of several heads (n, heads, classes), see `judged`; how
        unlike the classes each is, (n,) float32 (above 1: none of them; nan where the network does not tell); their n
        places in the source, ascending; and the others.
    """
    if not isinstance(net, Network):
        return net.score_source(source, track=track)
    return make_predictor(net, source, batch_size=batch_size, mesh=mesh, passes=passes)(net.variables, track)


def make_predictor(
    net: Network, source: Source, *, batch_size: int, mesh: Mesh | None = None, passes: int = 1
) -> Callable:
    """`(variables, track=untracked) -> ` what `score_source` returns; for a network whose variables change."""
    net = net.replace(plain=for_inference(net, images=max(passes * len(source.files), 1)).plain)
    batch_size = min(batch_size, next(size for size in _BATCHES if size >= min(len(source.files), _BATCHES[-1])))
    fast = net.replace(folded=True)
    step = make_eval_step(fast.apply, fast.embed, size=net.spec.input_size)
    mesh = sharding.local_mesh() if mesh is None else mesh
    batch_size = sharding.whole_rows(batch_size, mesh)
    every = np.arange(len(source.files))

    def run(variables: Any, track: Track = untracked):
        folded = for_inference(net.replace(variables=sharding.own(variables))).variables
        folded = sharding.replicate(mesh, folded)
        heads = variables["heads"]["bias"].shape[:-1] if "heads" in variables else ()
        probs, strange = [np.zeros((0, *heads, len(net.spec.classes)), np.float32)], [np.zeros(0, np.float32)]
        index, skipped = [np.zeros(0, np.int64)], []
        mine = every[collectives.share(len(every))]
        feed = batches(source, mine, net.spec, batch_size=batch_size)
        for batch in track(feed, f"predict, in batches of {batch_size}", -(-len(mine) // batch_size)):
            skipped.extend(batch.skipped)
            said = step(folded, sharding.spread(mesh, batch.images))
            for part, values in zip((probs, strange), said, strict=True):
                part.append(np.asarray(values)[batch.mask])
            index.append(batch.index[batch.mask])
        places, *rows = map(np.concatenate, (index, probs, strange))
        places, skipped, probs, strange = together(places, skipped, *rows)
        return probs, strange, places, skipped

    return run


@cache
def make_eval_step(apply: Callable, embed: Callable, *, size: int) -> Callable:
    """A jitted `(variables, images uint8 (b, h, w, 3)) -> (probabilities (b, classes), unknown scores (b,))`, float32.

    One for each network. Variables with "unknown" or "heads", see `judged`, are of a trained run, whose head is linear
    on the features; the scores are nan where they have no "unknown".
    """

    @jax.jit
    def step(variables: Mapping[str, Any], images: UInt8[Array, "b h w c"]):
        pixels = central(images, size)
        if "unknown" not in variables and "heads" not in variables:
            logits = apply(variables, pixels)
            return jax.nn.softmax(logits.astype(jnp.float32)), jnp.full(len(images), jnp.nan, jnp.float32)
        logits, scores = judged(variables, embed(variables, pixels))
        return jax.nn.softmax(logits), scores

    return step


def judged(
    variables: Mapping[str, Any], features: Float[Array, "b d"]
) -> tuple[Float[Array, "b *h k"], Float[Array, " b"]]:
    """The logits of features under a linear head, and their scores by `unknown_score` (nan without "unknown").

    Where the variables have "heads", a kernel (d, h, k) and a bias (h, k), they are taken in the place of the one head.
    """
    head = variables.get("heads", variables["params"]["head"])
    logits = jnp.tensordot(features, head["kernel"], 1) + head["bias"]
    if "unknown" not in variables:
        return logits, jnp.full(len(features), jnp.nan, jnp.float32)
    return logits, unknown_score(variables["unknown"], features)


def together(index: Int[np.ndarray, " n"], skipped: list[Skipped], *arrays: np.ndarray) -> tuple[Any, ...]:
    """What each process has computed of its share of the pictures of a source, in the order of the source.

    Args:
        index: this process's pictures. skipped: those that it could not read. arrays: (n, ...), a row for each picture.
    Returns:
        index, skipped and the arrays of all processes.
    """
    if collectives.alone():
        return index, skipped, *arrays
    rows = [(one.file, one.reason, one.label) for one in skipped]
    skipped = [Skipped(*row) for row in collectives.gather_lists(rows)]
    index, *whole = collectives.gather_rows(index, *arrays)
    order = np.argsort(index)
    return index[order], skipped, *(array[order] for array in whole)
