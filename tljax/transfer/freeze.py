"""Which parameters train, and how fast: ordered patterns on parameter paths give each leaf a label."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from tljax import trees
from tljax.errors import InputError
from tljax.models.spec import ModelSpec, get_family

Label = int | str
"""The depth of a part that trains, or `FROZEN` or `BATCH_STATS`."""
FROZEN = "frozen"
BATCH_STATS = "batch_stats"


def blocks(spec: ModelSpec) -> tuple[str, ...]:
    """The parts of a backbone from the image upwards, as patterns of the name after `params/`."""
    parts = get_family(spec.family).blocks
    parts = parts(spec) if callable(parts) else parts
    return tuple(f"(?:{part})" if "|" in part else part for part in parts)


def default_freeze(spec: ModelSpec) -> tuple[str, ...]:
    """Patterns for the earlier half of a backbone, which holds edges and textures that all photographs share.

    The backward pass stops above the highest frozen block, so this also about halves the cost of a step.
    """
    parts = blocks(spec)
    return tuple(f"params/{part}/.*" for part in parts[: len(parts) // 2])


def finetune_rules(spec: ModelSpec, freeze: Sequence[str] | None = None) -> list[tuple[str, Label]]:
    """Rules for `trees.label` over `{"params": ..., "batch_stats": ...}` of a network with a linear head.

    Args:
        spec: the backbone.
        freeze: patterns that must match a whole path, such as "params/stage[1-3].*"; they win over the
            depth below. None freezes `default_freeze(spec)`, an empty sequence nothing.
    Returns:
        (pattern, label): "frozen", "batch_stats", or a depth: 0 is the head, 1 the block under it, ...

    >>> tljax.transfer.finetune_rules(net.spec, freeze=["params/block/norm/.*"])[0]
    ('params/block/norm/.*', 'frozen')
    """
    patterns = default_freeze(spec) if freeze is None else tuple(freeze)
    rules: list[tuple[str, Label]] = [(pattern, FROZEN) for pattern in patterns]
    rules += [("batch_stats/.*", BATCH_STATS), ("params/head/.*", 0)]
    for depth, part in enumerate(reversed(blocks(spec)), start=1):
        rules.append((f"params/{part}/.*", depth))
    return rules


def label_variables(variables: Mapping[str, Any], rules: Sequence[tuple[str, Label]]) -> trees.Tree:
    """The label of each leaf, of the same structure: `trees.label`, but a default rule may stay unused.

    Only patterns for "frozen" must match something: they come from a user, and a slip would train what was
    meant to stay.

    Raises:
        InputError: a freezing pattern that matches nothing; a leaf without a rule; nothing left to train.

    >>> rules = tljax.transfer.finetune_rules(net.spec, freeze=["params/block/.*"])
    >>> kinds = tljax.transfer.label_variables(net.variables, rules)["params"]
    >>> kinds["head"]
    {'bias': 0, 'kernel': 0}
    """
    flat = trees.flatten(variables)
    used = [
        (pattern, name)
        for pattern, name in rules
        if name == FROZEN or any(re.fullmatch(pattern, path) for path in flat)
    ]
    labels = trees.label(variables, used)
    if not trainable_labels(labels):
        raise InputError("the freezing patterns leave nothing to train: freeze less, or use --mode linear_probe")
    return labels


def trainable_labels(labels: trees.Tree) -> tuple[int, ...]:
    """The labels in `labels` that stand for a learning-rate group, such as (0, 1), in ascending order.

    >>> rules = tljax.transfer.finetune_rules(net.spec, freeze=["params/block/.*"])
    >>> kinds = tljax.transfer.label_variables(net.variables, rules)["params"]
    >>> tljax.transfer.trainable_labels(kinds)
    (0,)
    """
    return tuple(sorted({label for label in jax.tree.leaves(labels) if isinstance(label, int)}))


def moving_layers(labels: trees.Tree) -> tuple[str, ...]:
    """The top-level layers whose batch statistics may follow the data: none of their parameters is frozen.

    Args:
        labels: of `{"params": ..., "batch_stats": ...}`.
    """
    layers = labels.get("batch_stats", {})
    flat = {name: trees.flatten(labels["params"][name]).values() for name in layers}
    return tuple(name for name, kinds in flat.items() if FROZEN not in kinds)
