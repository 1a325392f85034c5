"""From the arrays of a weight file to a model's variables, by rule tables and with a check from both sides."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from tljax.errors import InputError
from tljax.models.rules import Rule
from tljax.models.spec import ModelSpec, get_family
from tljax.trees import flatten, unflatten

_Compiled = tuple[re.Pattern, Rule]

_LISTED = 3


def convert(source: Mapping[str, np.ndarray], spec: ModelSpec, abstract: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of a model from the arrays of a weight file.

    Every array must be taken by a rule and every leaf must be filled, with the right shape and with floats.

    Args:
        source: arrays by the file's names, of any origin that the family has a table for.
        spec: the model; its family and config choose the tables.
        abstract: `{"params": …, "batch_stats": …}` of leaves with a `shape`, as `abstract_variables` gives.
    Returns:
        nested dicts like `abstract`, of contiguous float32 NumPy arrays.
    Raises:
        InputError: one line with the number of mismatches, the first few of them, and both sides of each.
    """
    source = _without_wrapper(source)
    wanted = flatten(abstract)
    converted, misfits = _match(source, _table(source, spec), wanted)
    missing = {
        path: f"{path} {tuple(leaf.shape)} has no source" for path, leaf in wanted.items() if path not in converted
    }
    if misfits or missing:
        raise InputError(_message(spec, misfits, missing))
    return {collection: {} for collection in abstract} | unflatten(converted)


def fits(source: Mapping[str, np.ndarray], spec: ModelSpec) -> bool:
    """Whether the family's rules know every name, and the parameters are as many: cheap, and blind to shapes."""
    source = _without_wrapper(source)
    rules = _table(source, spec)
    targets = {name: rule.target for name in source if (rule := _first(rules, name)[0])}
    count = sum(source[name].size for name, path in targets.items() if path and path.startswith("params/"))
    return len(targets) == len(source) and count == spec.params


def _match(source: Mapping[str, np.ndarray], rules: list[_Compiled], wanted: dict[str, Any]):
    """Leaves by path (None where the array does not fit), and the misfits as (path or "", what is wrong)."""
    converted, misfits = {}, []
    for name, array in source.items():
        rule, match = _first(rules, name)
        if rule is None or match is None:
            misfits.append(("", f"{name[:80]} {array.shape} has no place"))
            continue
        if rule.target is None:
            continue
        path = match.expand(rule.target)
        ours, problem = _transformed(array, rule, wanted.get(path))
        if path in converted:
            problem = "which another tensor fills already"
        if problem:
            misfits.append((path, f"{name} {array.shape} does not fit {path}, {problem}"))
        converted[path] = None if problem else np.ascontiguousarray(ours, np.float32)
    return converted, misfits


def _transformed(array: np.ndarray, rule: Rule, leaf: Any) -> tuple[Any, str]:
    """What the rule makes of an array, and why it does not fit the leaf; "" where it does."""
    if leaf is None:
        return None, "which the model does not have"
    if array.dtype.kind != "f":
        return None, f"for it holds {array.dtype}"
    try:
        ours = rule.transform(array)
    except ValueError:
        ours = None
    fits = ours is not None and ours.shape == tuple(leaf.shape)
    return ours, "" if fits else f"which is {tuple(leaf.shape)}"


def _table(source: Mapping[str, np.ndarray], spec: ModelSpec) -> list[_Compiled]:
    """Of the family's tables, the one that knows most of the names."""
    tables = get_family(spec.family).rules(spec)
    compiled = [[(re.compile(rule.source), rule) for rule in rules] for rules in tables.values()]
    return max(compiled, key=lambda rules: sum(_first(rules, name)[0] is not None for name in source))


def _first(rules: list[_Compiled], name: str) -> tuple[Rule | None, re.Match | None]:
    return next(((rule, match) for pattern, rule in rules if (match := pattern.fullmatch(name))), (None, None))


def _without_wrapper(source: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """torch's DataParallel puts "module." before every name."""
    if all(name.startswith("module.") for name in source):
        return {name.removeprefix("module."): array for name, array in source.items()}
    return source


def _message(spec: ModelSpec, misfits: list[tuple[str, str]], missing: dict[str, str]) -> str:
    """The first few of each side, so that the line stays readable, and how many there are."""
    shown = [text for _, text in misfits[:_LISTED]] + list(missing.values())[:_LISTED]
    count = len(misfits) + len(missing)
    more = f"; and {count - len(shown)} more" if count > len(shown) else ""
    heads = tuple(f"params/{layer}/" for layer in get_family(spec.family).head)
    hint = ""
    if not missing and all(path.startswith(heads[0]) for path, _ in misfits):
        hint = f"; only the classifier differs: {spec.name} has {len(spec.classes)} classes"
    if not misfits and all(path.startswith(heads) for path in missing):
        hint = "; only the classifier is missing: take the file that has one, such as Keras' without _notop in its name"
    counted = "1 mismatch" if count == 1 else f"{count} mismatches"
    return f"not the weights of {spec.name}: {counted}: {'; '.join(shown)}{more}{hint}"
