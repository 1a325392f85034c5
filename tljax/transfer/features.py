"""The features of photos: the frozen backbone runs once for each photo, and never again for one that it has seen."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import PIL
from jax.sharding import Mesh
from jaxtyping import Float32, Int

from tljax import trees
from tljax.data import loader
from tljax.data.loader import Batch, Skipped
from tljax.data.source import Source
from tljax.distributed import collectives, join, sharding
from tljax.errors import InputError
from tljax.models.network import Network, for_inference
from tljax.transfer.feature_cache import FeatureCache
from tljax.transfer.prediction import Track, together, untracked
from tljax.weights import fetch

VERSION = 1
"""Raised whenever the same photo and network would give other features than before."""
_PER_QUERY = 500


@dataclass(frozen=True)
class Features:
    """Features of the n photos that could be read, in the order asked for.

    Attributes:
        values: (n, D) float32. index: (n,) their places in the source. labels: (n,), -1 where unknown.
        digests: n content hashes. skipped: the photos that could not be read.
    """

    values: Float32[np.ndarray, "n d"]
    index: Int[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]
    digests: tuple[str, ...]
    skipped: tuple[Skipped, ...]


def extract(
    net: Network,
    source: Source,
    indices: Sequence[int],
    *,
    batch_size: int = 16,
    cache: bool | str | Path | None = True,
    track: Track = untracked,
    threads: int | None = None,
    mesh: Mesh | None = None,
) -> Features:
    """`net.embed` of the photos at `indices`; what the cache holds is not computed again.

    The values are the same, bit for bit, whatever the cache holds. While the device computes a batch, threads decode
    the next; apart from the result, memory does not grow with the number of photos. Several processes share the
    photos, each with a cache of its own, and all get all features.

    Args:
        indices: places in the source, each once.
        batch_size: photos at once, at least; the last batch is padded. More are no faster on a CPU, and take memory.
        cache: True for the folder `features` in tljax's cache folder, or another folder; False or None for none.
        track: sees the batches that are computed.
        threads: how many decode; None for one for each core, at most 8.
        mesh: the devices that share each batch; None for all of this process.
    Raises:
        InputError: an index that repeats or lies outside the source, or a batch size below 1.
    """
    asked = _checked(source, indices, batch_size)
    index = asked[collectives.share(len(asked))]
    mesh = sharding.local_mesh() if mesh is None else mesh
    rows_at_once = sharding.whole_rows(batch_size, mesh)
    digests = loader.digests(source, index, threads=threads)
    values = np.zeros((len(index), net.spec.feature_dim), np.float32)
    row_of = {int(i): row for row, i in enumerate(index)}
    skipped: list[Skipped] = []
    with FeatureCache(_cache_file(cache, net, rows_at_once, mesh.size), net.spec.feature_dim) as store:
        known = _recall(store, digests, values)
        missing = index[~known]
        if len(missing):
            feed = loader.batches(source, missing, net.spec, batch_size=rows_at_once, threads=threads)
            feed = track(feed, "features", -(-len(missing) // rows_at_once))
            for batch, embedded in _one_behind(net, feed, mesh):
                rows = [row_of[int(i)] for i in batch.index[batch.mask]]
                values[rows] = embedded[batch.mask]
                known[rows] = True
                store.put({digests[row]: values[row] for row in rows if digests[row]})
                skipped.extend(batch.skipped)
    kept = tuple(digest for digest, whole in zip(digests, known, strict=True) if whole)
    values = values if known.all() else values[known]
    index = index[known]
    names = np.asarray(kept, "S32")
    index, skipped, values, names = together(asked, index, skipped, values, names)
    return Features(values, index, source.labels[index], tuple(name.decode() for name in names), tuple(skipped))


def variables_digest(variables: Mapping[str, Any]) -> str:
    """A hash of every path, shape, dtype and value of a network's variables, as 32 hexadecimal digits."""
    found = hashlib.blake2b(digest_size=16)
    for path, leaf in sorted(trees.flatten(variables).items()):
        leaf = np.ascontiguousarray(leaf)
        found.update(f"{path} {leaf.dtype.name} {leaf.shape}\n".encode())
        found.update(leaf.reshape(-1).view(np.uint8))
    return found.hexdigest()


@partial(jax.jit, static_argnames="embed")
def _embed(embed, variables, images):
    """uint8 pictures -> float32 features; `embed` is one object for each architecture, so this compiles once."""
    return embed(variables, images.astype(jnp.float32) / 255).astype(jnp.float32)


def _one_behind(net: Network, feed: Iterable[Batch], mesh: Mesh) -> Iterator[tuple[Batch, np.ndarray]]:
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
        found = store.get(some)
        for row, digest in enumerate(some, start):
            if digest in found:
                values[row], known[row] = found[digest], True
    return known


def _cache_file(cache: bool | str | Path | None, net: Network, batch_size: int, devices: int = 1) -> Path | None:
    """One file for all that decides the bits of a feature, apart from the photo."""
    if cache is None or cache is False:
        return None
    folder = fetch.cache_dir() / "features" if cache is True else Path(cache).expanduser()
    spec = net.spec
    decisive = {
        "version": VERSION,
        "versions": [jax.__version__, PIL.__version__, np.__version__],
        "platform": [jax.default_backend(), jax.devices()[0].device_kind, jax.config.jax_default_matmul_precision],
        "network": [spec.name, spec.family, repr(spec.config), net.dtype, net.folded, net.plain],
        "preprocessing": [spec.input_size, spec.crop_pct, spec.interpolation],
        "normalisation": [spec.mean, spec.std, spec.channel_order],
        "weights": variables_digest(net.variables),
        "batch_size": batch_size if devices == 1 else [batch_size, devices],
    }
    key = hashlib.blake2b(json.dumps(decisive, sort_keys=True).encode(), digest_size=16).hexdigest()
    process, processes = join.processes()
    part = f"-{process}of{processes}" if processes > 1 else ""  # a shared folder may be one without locks
    return folder / f"{spec.name}-{key}{part}.sqlite"


def _checked(source: Source, indices: Sequence[int], batch_size: int) -> Int[np.ndarray, " n"]:
    index = np.asarray(indices, np.int64).reshape(-1)
    if batch_size < 1:
        raise InputError(f"batch size {batch_size}: expected at least 1")
    if len(index) and not 0 <= index.min() <= index.max() < len(source.files):
        raise InputError(f"photo {index.min()}..{index.max()} of {source.name}: it has {len(source.files)}, from 0")
    places, counts = np.unique(index, return_counts=True)
    if len(places) < len(index):
        raise InputError(f"photo {places[counts > 1][0]} of {source.name} is asked for twice; give each index once")
    return index
