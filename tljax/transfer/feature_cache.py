"""Features kept on disk: a SQLite file for each way to compute them, a checksummed row for each photo.

Losing the cache costs time, never a result: a damaged row counts as absent, a damaged file is moved aside, and where
the disk is full or the file locked the work goes on without, after one warning.
"""

import hashlib
import json
import os
import sqlite3
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np
import PIL
from jaxtyping import Float32

from tljax import trees
from tljax.distributed import join
from tljax.files import cache_dir
from tljax.models.network import Network

VERSION = 1
"""Raised whenever the same photo and network would give other features than before."""
_TABLE = "CREATE TABLE IF NOT EXISTS features (digest TEXT PRIMARY KEY, value BLOB, checksum BLOB) WITHOUT ROWID"
_LOCKED_SECONDS = 20


class FeatureCache:
    """Feature vectors by the digest of a photo's content; a context manager.

    Args:
        path: the SQLite file; its folder is made. None keeps nothing.
        dim: length of a vector.
    """

    def __init__(self, path: Path | None, dim: int):
        self._keeps, self._path, self._dim = path is not None, path or Path(), dim
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> "FeatureCache":
        if self._keeps:
            try:
                self._open()
            except (sqlite3.Error, OSError) as error:
                self._fail(error)
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def get(self, digests: Iterable[str]) -> dict[str, Float32[np.ndarray, " d"]]:
        """The vectors that are known and undamaged, by digest; at most 30,000 at once."""
        vectors: dict[str, np.ndarray] = {}
        if self._connection is None:
            return vectors
        wanted = list(dict.fromkeys(digests))
        marks = ",".join("?" * len(wanted))
        query = f"SELECT digest, value, checksum FROM features WHERE digest IN ({marks})"
        try:
            for digest, value, checksum in self._connection.execute(query, wanted):
                if self._whole(digest, value, checksum):
                    vectors[digest] = np.frombuffer(value, "<f4").astype(np.float32)
        except sqlite3.Error as error:
            self._fail(error)
        return vectors

    def put(self, values: Mapping[str, Float32[np.ndarray, " d"]]) -> None:
        """Keeps vectors by digest, all or none; replaces what is there."""
        if self._connection is None:
            return
        rows = [(digest, np.asarray(value, "<f4").tobytes()) for digest, value in values.items()]
        rows = [(digest, value, _checksum(digest, value)) for digest, value in rows]
        try:
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            self._fail(error)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connect()
        except sqlite3.DatabaseError as error:
            if not _damaged(error):
                raise
            self._set_aside()
            self._connect()

    def _connect(self) -> None:
        self._connection = sqlite3.connect(self._path, timeout=_LOCKED_SECONDS)
        self._connection.execute("PRAGMA synchronous = NORMAL")
        with self._connection:
            self._connection.execute(_TABLE)

    def _fail(self, error: Exception) -> None:
        """Goes on after an error: with a new file if this one is damaged, else without a cache."""
        if _damaged(error):
            try:
                self._set_aside()
                self._connect()
                return
            except (sqlite3.Error, OSError) as another:
                error = another
        self._close()
        warnings.warn(f'features are not cached in "{self._path}": {error}', RuntimeWarning, stacklevel=3)

    def _set_aside(self) -> None:
        self._close()
        for suffix in ("-journal", "-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        with suppress(FileNotFoundError):  # another process was faster
            os.replace(self._path, f"{self._path}.damaged")

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _whole(self, digest: str, value: object, checksum: object) -> bool:
        return isinstance(value, bytes) and len(value) == 4 * self._dim and checksum == _checksum(digest, value)


def cache_file(cache: bool | str | Path | None, net: Network, batch_size: int, devices: int = 1) -> Path | None:
    """The file of a cache (see `features.extract`): one for all that decides the bits of a feature but the photo.

    Args:
        batch_size, devices: photos at once, and the devices that share them.
    Returns:
        its path; None where there is no cache.
    """
    if cache is None or cache is False:
        return None
    folder = cache_dir() / "features" if cache is True else Path(cache).expanduser()
    spec = net.spec
    decisive = {
        "version": VERSION,
        "versions": [jax.__version__, PIL.__version__, np.__version__],
        "platform": [
            jax.default_backend(),
            jax.devices()[0].device_kind,
            jax.config.jax_default_matmul_precision,  # pyright: ignore[reportAttributeAccessIssue]: an attribute at run time
        ],
        "network": [spec.name, spec.family, repr(spec.config), net.dtype, net.folded, net.plain, *spec.layers],
        "preprocessing": [spec.input_size, spec.crop_pct, spec.interpolation, spec.crop_mode, spec.white],
        "normalisation": [spec.mean, spec.std, spec.channel_order],
        "weights": variables_digest({name: net.variables[name] for name in ("params", "batch_stats")}),
        "batch_size": batch_size if devices == 1 else [batch_size, devices],
    }
    key = hashlib.blake2b(json.dumps(decisive, sort_keys=True).encode(), digest_size=16).hexdigest()
    process, processes = join.processes()
    part = f"-{process}of{processes}" if processes > 1 else ""  # a shared folder may be one without locks
    return folder / f"{spec.name}-{key}{part}.sqlite"


def variables_digest(variables: Mapping[str, Any], *, digest: Any = None) -> str:
    """A hash of every path, shape, dtype and value of a network's variables, in hexadecimal digits.

    Args:
        digest: a new object of `hashlib`; None is BLAKE2b of 128 bits.
    """
    digest = digest or hashlib.blake2b(digest_size=16)
    for path, leaf in sorted(trees.flatten(variables).items()):
        leaf = np.ascontiguousarray(leaf)
        digest.update(f"{path} {leaf.dtype.name} {leaf.shape}\n".encode())
        digest.update(leaf.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _checksum(digest: str, value: bytes) -> bytes:
    return hashlib.blake2b(digest.encode() + b"\0" + value, digest_size=16).digest()


def _damaged(error: Exception) -> bool:
    """Whether SQLite says that the file is no (whole) database, rather than locked, full or read-only."""
    codes = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in codes
