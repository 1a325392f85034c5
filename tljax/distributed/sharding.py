"""Many devices: the rows of a batch are spread over a mesh, and everything else is on each of its devices.

The mesh has one axis, "data". A second one, for parameters, would not pay: the largest head here (2,048 features,
1,000 classes) is 8 MB. With one device nothing is placed anywhere: what runs is what would run without this module.
"""

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Tree = Any
Devices = Sequence[jax.Device]  # pyright: ignore[reportInvalidTypeForm]: to JAX's own files a variable, not a class

DATA = "data"
"""The axis that rows are spread over."""


def data_mesh(devices: Devices | None = None) -> Mesh:
    """A mesh of one axis, `DATA`, over `devices`; by default over all, those of other processes too."""
    return Mesh(np.asarray(jax.devices() if devices is None else devices), (DATA,))


def local_mesh(devices: Devices | None = None, *, dividing: int = 0) -> Mesh:
    """A mesh over the devices of this process: all of them, or the most that `dividing` rows fill evenly."""
    devices = jax.local_devices() if devices is None else devices
    count = max(n for n in range(1, len(devices) + 1) if dividing % n == 0)
    return data_mesh(devices[:count])


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what is whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of what has its leading axis spread over the devices, in order."""
    return NamedSharding(mesh, PartitionSpec(DATA))


def whole_rows(rows: int, mesh: Mesh) -> int:
    """The least number of rows, at least `rows`, that this process's devices in the mesh share evenly."""
    own = mesh.local_mesh.size
    return -(-rows // own) * own


def pad_rows(tree: Tree, rows: int) -> Tree:
    """Every array with zeros (False) below, up to `rows` rows: a "mask" among them says which are real."""

    def pad(leaf):
        missing = rows - len(leaf)
        return np.pad(leaf, [(0, missing)] + [(0, 0)] * (np.ndim(leaf) - 1)) if missing else leaf

    return jax.tree.map(pad, tree)


def spread(mesh: Mesh, tree: Tree) -> Tree:
    """Arrays with their rows over the devices; each process gives its own rows, in the order of the processes.

    Args:
        tree: arrays of (rows, ...), the same number in all; padded (see `pad_rows`) where they do not divide.
    """
    if mesh.size == 1:
        return tree
    tree = pad_rows(tree, whole_rows(len(jax.tree.leaves(tree)[0]), mesh))
    if mesh.is_multi_process:
        return jax.tree.map(partial(jax.make_array_from_process_local_data, batch_sharding(mesh)), tree)
    return jax.device_put(tree, batch_sharding(mesh))


def divide(mesh: Mesh, tree: Tree) -> Tree:
    """Arrays with their rows over the devices, where every process has all rows; they must divide."""

    def place(leaf):
        return jax.make_array_from_callback(leaf.shape, batch_sharding(mesh), leaf.__getitem__)

    return tree if mesh.size == 1 else jax.tree.map(place, tree)


def collect(mesh: Mesh, tree: Tree) -> Tree:
    """Arrays that lie anywhere on the mesh, as NumPy arrays in every process."""
    return jax.device_get(tree if mesh.size == 1 else _same(tree, replicated(mesh)))


def replicate(mesh: Mesh, tree: Tree) -> Tree:
    """Arrays on every device of the mesh; every process gives the same."""
    if mesh.is_multi_process:  # `device_put` would compare what the processes give, leaf by leaf
        whole = replicated(mesh)
        return jax.tree.map(lambda x: jax.make_array_from_callback(x.shape, whole, np.asarray(x).__getitem__), tree)
    return jax.device_put(tree) if mesh.size == 1 else jax.device_put(tree, replicated(mesh))


def own(tree: Tree) -> Tree:
    """Arrays that are whole on every device, those of other processes too, as they are on one of this process."""

    def local(leaf):
        return leaf.addressable_data(0) if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable else leaf

    return jax.tree.map(local, tree)


def align(tree: Tree, like: jax.Array) -> Tree:
    """The tree on the mesh that `like` is spread over: what has as many rows beside these, the rest on every device."""
    mesh = getattr(getattr(like, "sharding", None), "mesh", None)
    if mesh is None or mesh.size == 1:
        return tree

    def place(leaf):
        rows = leaf.shape[:1] == like.shape[:1]
        return jax.device_put(leaf, batch_sharding(mesh) if rows else replicated(mesh))

    return jax.tree.map(place, tree)


def on(mesh: Mesh, function: Callable) -> Callable:
    """The function with the mesh in use while it is traced, which `sum_over_rows` needs."""
    if mesh.size == 1:
        return function

    @wraps(function)
    def run(*args, **kwargs):
        if jax.sharding.get_abstract_mesh() == mesh.abstract_mesh:  # it is part of a larger program
            return function(*args, **kwargs)
        with jax.set_mesh(mesh):
            return function(*args, **kwargs)

    return run


def sum_over_rows(function: Callable, *rows: jax.Array) -> jax.Array:
    """`function(*rows)`, which sums over rows: with a mesh in use each device sums its own, and then all are added.

    For loops over rows. Left to itself, XLA brings all rows to every device before such a loop.
    """
    mesh = jax.sharding.get_abstract_mesh()
    devices = mesh.shape.get(DATA, 1)
    if devices == 1 or DATA in mesh.manual_axes or len(rows[0]) % devices:
        return function(*rows)
    return jax.shard_map(
        lambda *own: jax.lax.psum(function(*own), DATA),
        in_specs=PartitionSpec(DATA),
        out_specs=PartitionSpec(),
        check_vma=False,
    )(*rows)


@partial(jax.jit, static_argnums=1)
def _same(tree: Tree, sharding: NamedSharding) -> Tree:
    return jax.lax.with_sharding_constraint(tree, sharding)
