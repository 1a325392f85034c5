"""Pytrees of nested dicts: path names of leaves, labels by pattern, partition and combine."""

import re
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from tljax.errors import InputError

Tree = Any
Rules = Sequence[tuple[str, Hashable]]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one flat dict: `{"params": {"stem": {"kernel": k}}}` -> `{"params/stem/kernel": k}`."""
    flat = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{name}/"))
        else:
            flat[prefix + name] = value
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return tree


def label(tree: Mapping[str, Any], rules: Rules) -> Tree:
    """A label for each leaf: the first rule whose regular expression matches the whole path wins.

    Args:
        tree: nested dicts of leaves, such as `{"params": ...}`; paths start at its own root.
        rules: (pattern, label) in order, such as `[("params/head/.*", "head"), (".*", "frozen")]`.
    Raises:
        InputError: a leaf that no rule covers, a pattern that covers no leaf, or a pattern that is no
            regular expression.
    """
    try:
        compiled = [(re.compile(pattern), name) for pattern, name in rules]
    except re.error as error:
        raise InputError(f'"{error.pattern}" is no regular expression: {error}') from None
    flat = flatten(tree)
    labels, bare = {}, []
    for path in flat:
        name = next((name for pattern, name in compiled if pattern.fullmatch(path)), None)
        labels[path] = name
        if name is None:
            bare.append(path)
    if bare:
        raise InputError(f'no pattern covers {len(bare)} leaves, such as "{bare[0]}"; end with (".*", label)')
    for pattern, _ in compiled:
        if pattern.pattern != ".*" and not any(pattern.fullmatch(path) for path in flat):
            raise InputError(f'the pattern "{pattern.pattern}" matches no leaf; the first is "{next(iter(flat), "")}"')
    return unflatten(labels)


def partition(tree: Tree, labels: Tree, wanted: Hashable | Collection[Hashable]) -> tuple[Tree, Tree]:
    """Splits `tree` into (leaves whose label is wanted, the others), with None in the other's places.

    None is an empty pytree, so gradients and optimisers see the selected leaves only (as equinox does).
    """
    wanted = set(wanted) if isinstance(wanted, Collection) and not isinstance(wanted, str) else {wanted}
    chosen = jax.tree.map(lambda leaf, name: leaf if name in wanted else None, tree, labels)
    rest = jax.tree.map(lambda leaf, name: None if name in wanted else leaf, tree, labels)
    return chosen, rest


def combine(*trees: Tree) -> Tree:
    """The inverse of `partition`: at each place the one leaf that is not None."""

    def first(*leaves):
        return next((leaf for leaf in leaves if leaf is not None), None)

    return jax.tree.map(first, *trees, is_leaf=lambda leaf: leaf is None)


def select(rows: Bool[Array, " n"], new: Tree, old: Tree) -> Tree:
    """Two trees of arrays mixed along each leaf's first axis: `new` where `rows` is true, `old` elsewhere.

    Args:
        rows: (n,), bool.  new, old: trees of one structure, whose leaves are (n, ...).
    """
    return jax.tree.map(lambda a, b: jnp.where(rows.reshape(-1, *[1] * (a.ndim - 1)), a, b), new, old)
