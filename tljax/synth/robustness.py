"""Robust accuracy: the share of photos that stay right, as an attack's budget grows."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from tljax.data.loader import batches
from tljax.data.source import Source
from tljax.distributed import sharding
from tljax.errors import InputError, match_name
from tljax.metrics import wilson
from tljax.models.network import Network
from tljax.progress import Track, untracked
from tljax.synth.auto_attack import AttackResult
from tljax.synth.photo_attack import ATTACKS
from tljax.synth.problem import fooled, hidden_gradients


def robust_accuracy(
    net: Network,
    source: Source,
    budgets: Sequence[float],
    *,
    method: str = "apgd_ce",
    steps: int = 20,
    limit: int | None = None,
    batch_size: int = 32,
    seed: int = 0,
    track: Track = untracked,
    mesh: Mesh | None = None,
) -> dict[str, Any]:
    """Attacks every photo with each budget, untargeted; a photo that fell once counts as fallen for larger budgets.

    Args:
        source: labelled photos, whose classes are among the network's (by name or index).
        budgets: largest changes of a pixel, in [0, 1] units, rising; 0 is no attack.
        method: "apgd_ce", "apgd_dlr", "pgd", "auto_attack", ...; the images that count are 8-bit ones.
        steps: see the method.
        limit: at most this many photos, drawn by `seed`.
        batch_size: photos at once, at least.
        mesh: the devices that share each batch; None for all of this process.
    Returns:
        {"curve": [{"eps", "accuracy", "interval"}], "images": photos measured, "skipped": [{"file", "reason"}],
        "masked_gradients": photos that no gradient but zero was found for, and that withstood}. The accuracies are
        upper bounds of the robust accuracy, with 95 % intervals for the choice of photos. An image or a logit that is
        not finite fools nobody; a photo whose logits are not finite before any attack counts as wrong.

    Raises:
        InputError: a class that the network does not have; not one photo that can be read.

    >>> source = tljax.data.open_source("photos")
    >>> result = tljax.synth.robust_accuracy(net, source, [0.0, 8 / 255], method="pgd", steps=2)
    >>> result["images"], [point["eps"] > 0 for point in result["curve"]]
    (8, [False, True])
    """
    own = np.array([match_name(name, net.spec.classes) for name in source.classes], np.int32)
    indices = np.flatnonzero(source.labels >= 0)
    if limit is not None and limit < len(indices):
        indices = np.sort(np.random.default_rng(seed).choice(indices, limit, replace=False))
    mesh = sharding.local_mesh() if mesh is None else mesh
    net = net.replace(variables=sharding.replicate(mesh, net.variables))
    size = sharding.whole_rows(max(1, min(batch_size, len(indices))), mesh)
    right, count, hidden, skipped = np.zeros(len(budgets), int), 0, 0, []
    feed = batches(source, indices, net.spec, batch_size=size)
    for batch in track(feed, f"{method}, in batches of {size}", -(-len(indices) // size)):
        skipped += [{"file": one.file, "reason": one.reason} for one in batch.skipped]
        count += int(batch.mask.sum())
        keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(batch.index)
        images, labels = sharding.spread(mesh, (batch.images, np.where(batch.mask, own[batch.labels], 0)))
        counts, blind = _survivors(net, images, labels, batch.mask, budgets, method, steps, keys)
        right, hidden = right + counts, hidden + blind
    if not count:
        raise InputError(f'no labelled photo in "{source.name}" can be read')
    curve = [
        {"eps": float(eps), "accuracy": float(n / count), "interval": list(wilson(int(n), count))}
        for eps, n in zip(budgets, right, strict=True)
    ]
    return {"curve": curve, "images": count, "skipped": skipped, "masked_gradients": hidden}


def _survivors(
    net: Network, images: Any, labels: Any, mask: Any, budgets: Sequence[float], method: str, steps: int, keys: Any
) -> tuple[list[int], int]:
    """For each budget, how many of the photos in `mask` are still right; and of how many of these no gradient shows."""
    labels, images = jnp.asarray(labels), jnp.asarray(images, jnp.float32) / 255
    logits = net.scores(net.variables, images)
    standing, counts = mask & np.asarray((logits.argmax(-1) == labels) & jnp.isfinite(logits).all(-1)), []
    for number, eps in enumerate(budgets):
        if standing.any() and eps > 0:
            settings = {"eps": eps, "steps": steps, "key": jax.vmap(jax.random.fold_in, (0, None))(keys, number)}
            attacked = ATTACKS[method](net.scores, net.variables, images, labels, **settings)
            attacked = attacked.images if isinstance(attacked, AttackResult) else attacked
            standing &= ~np.asarray(fooled(net.scores(net.variables, attacked), labels))
        counts.append(int(standing.sum()))
    hidden = standing.any() and np.asarray(hidden_gradients(net.scores, net.variables, images, labels))
    return counts, int((standing & hidden).sum())
