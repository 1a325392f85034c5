"""The features of photos: the frozen backbone runs once for each photo, and with a cache never again."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float32, Int

from tljax.data import loader
from tljax.data.loader import Batch, Skipped, check_readable
from tljax.data.sources import Photos, photo_source
from tljax.distributed import collectives, sharding
from tljax.errors import InputError
from tljax.models.network import Network, for_inference
from tljax.progress import Track, shows_progress, untracked
from tljax.transfer.feature_cache import FeatureCache, cache_file
from tljax.transfer.prediction import together

_PER_QUERY = 500


@dataclass(frozen=True)
class Features:
    """Features of the n photos that could be read, in the order given.

    Attributes:
        values: (n, D) float32. index: (n,) their places among the photos given. labels: (n,), -1 where unknown.
        digests: n content hashes. skipped: the photos that could not be read.

    >>> features = tljax.transfer.extract(net, tljax.data.open_source("photos"))
    >>> features.values.shape, features.labels.tolist()
    ((8, 8), [0, 0, 0, 0, 1, 1, 1, 1])
    """

    values: Float32[np.ndarray, "n d"]
    index: Int[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]
    digests: tuple[str, ...]
    skipped: tuple[Skipped, ...]


@shows_progress
def extract(
    net: Network,
    photos: Photos,
    *,
    batch_size: int = 32,
    cache: bool | str | Path | None = None,
    skip: bool = False,
    track: Track | bool = untracked,
    threads: int | None = None,
    mesh: Mesh | None = None,
) -> Features:
    """`net.embed` of photos. Several processes share them, and all get all features.

    Args:
        photos: a uint8 array (n, h, w, 3), a list of paths, a `Source`, ... (see `data.sources.photo_source`).
        batch_size: photos at once, at least; the last batch is padded. More than 16 are no faster on a CPU, and take
            memory; another number may change the last bits.
        cache: a folder, where features are kept and found again, or True for the folder `features` in tljax's cache
            folder; None writes nothing. Each of several processes has files of its own there.
        skip: leave photos out that cannot be read; `Features.index` says which are there.
        track: True shows progress on stderr; or a function that sees the batches, as in `tljax.progress`.
        threads: how many decode; None for one for each core, at most 8.
        mesh: the devices that share each batch; None for all of this process.
    Raises:
        InputError: a photo that cannot be read (names the first, and why) unless `skip`; a batch size below 1.

    >>> tljax.transfer.extract(net, photos).values.shape
    (8, 8)
    >>> tljax.transfer.extract(net, ["photos/cat", "photos/dog/1.png"]).values.shape
    (5, 8)
    """
    if batch_size < 1:
        raise InputError(f"batch size {batch_size}: expected at least 1")
    source = photo_source(photos)
    form = for_inference(net, images=max(len(source.files), 1)).plain  # by the whole work, whatever the cache holds
    net = net.replace(spec=dataclasses.replace(net.spec, white=net.spec.white or source.white), plain=form)
    index = np.arange(len(source.files))[collectives.share(len(source.files))]
    mesh = sharding.local_mesh() if mesh is None else mesh
    rows_at_once = sharding.whole_rows(batch_size, mesh)
    digests = loader.digests(source, index, threads=threads)
    values = np.zeros((len(index), net.spec.feature_dim), np.float32)
    row_of = {int(i): row for row, i in enumerate(index)}
    skipped: list[Skipped] = []
    with FeatureCache(cache_file(cache, net, rows_at_once, mesh.size), net.spec.feature_dim) as store:
        known = _recall(store, digests, values)
        missing = index[~known]
        if len(missing):
            feed = loader.batches(source, missing, net.spec, batch_size=rows_at_once, threads=threads)
            shown: Any = track  # a `Track` by now
            feed = shown(feed, f"features, in batches of {rows_at_once}", -(-len(missing) // rows_at_once))
            for batch, vectors in embedded(net, feed, mesh):
                rows = [row_of[int(i)] for i in batch.index[batch.mask]]
                values[rows] = vectors[batch.mask]
                known[rows] = True
                store.put({digests[row]: values[row] for row in rows if digests[row]})
                skipped.extend(batch.skipped)
    kept = tuple(digest for digest, whole in zip(digests, known, strict=True) if whole)
    values = values if known.all() else values[known]
    index = index[known]
    names = np.asarray(kept, "S32")
    index, skipped, values, names = together(index, skipped, values, names)
    if not skip:
        check_readable(skipped, "; skip=True leaves such files out")
    return Features(values, index, source.labels[index], tuple(name.decode() for name in names), tuple(skipped))


@partial(jax.jit, static_argnames="embed")
def _embed(embed, variables, images):
    """uint8 pictures -> float32 features; `embed` is one object for each architecture, so this compiles once."""
    return embed(variables, images.astype(jnp.float32) / 255).astype(jnp.float32)


def embedded(net: Network, feed: Iterable[Batch], mesh: Mesh) -> Iterator[tuple[Batch, np.ndarray]]:
    """Each batch and its features, fetched only after the next batch was given to the devices."""
    net = for_inference(net)
    variables = sharding.replicate(mesh, net.variables)
    waiting = None
    for batch in feed:
        given = batch, _embed(net.embed, variables, sharding.spread(mesh, batch.images))
        if waiting is not None:
            yield waiting[0], np.asarray(waiting[1])
        waiting = given
    if waiting is not None:
        yield waiting[0], np.asarray(waiting[1])


def _recall(store: FeatureCache, digests: Sequence[str], values: Float32[np.ndarray, "n d"]) -> np.ndarray:
    """Fills the rows of `values` that the cache holds; which ones, (n,) bool."""
    known = np.zeros(len(digests), bool)
    for start in range(0, len(digests), _PER_QUERY):
        some = digests[start : start + _PER_QUERY]
        kept = store.get(some)
        for row, digest in enumerate(some, start):
            if digest in kept:
                values[row], known[row] = kept[digest], True
    return known
