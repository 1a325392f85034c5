"""Elements and windows at positions that are computed."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jax import lax

from tljax.errors import InputError
from tljax.onnx.graph import Graph, known
from tljax.onnx.values import Value, constant, drop, full, hold, tensor


def dynamic_slice(graph: Graph, eqn: Any, value: Value, *starts: Value) -> Value:
    """A window whose place is computed; it is moved to lie inside."""
    sizes = eqn.params["slice_sizes"]
    axes = [axis for axis, size in enumerate(sizes) if size != value.shape[axis]]
    if not axes:
        return value
    places = [graph.reshape(_int64(graph, starts[axis]), (), (1,)) for axis in axes]
    return _window(graph, value, axes, graph.node("Concat", *places, axis=0), sizes, eqn.outvars[0].aval.dtype)


def gather(graph: Graph, eqn: Any, value: Value, indices: Value) -> Value:
    """Single elements along some axes and all along the others, or one window: what `x[i]` and `jnp.take` make."""
    numbers, sizes, mode, aval = *map(eqn.params.get, ("dimension_numbers", "slice_sizes", "mode")), eqn.outvars[0].aval
    indexed = numbers.start_index_map
    fills = mode == lax.GatherScatterMode.FILL_OR_DROP and not _inside(indices, value, indexed, sizes)
    if len(indices.shape) == 1 and not fills:
        window = _window(graph, value, indexed, _int64(graph, indices), sizes, aval.dtype)
        return drop(graph, window, numbers.collapsed_slice_dims)
    value, indices, indexed = _cut(graph, eqn, value, indices)
    places = _int64(graph, indices)
    within = places
    if mode != lax.GatherScatterMode.PROMISE_IN_BOUNDS:
        last = graph.dims([value.shape[axis] - 1 for axis in indexed])
        within = graph.node("Max", graph.node("Min", places, last), graph.ints([0]))
    found = [axis for axis in range(len(aval.shape)) if axis not in numbers.offset_dims]
    result = _elements(graph, eqn, value, within, indexed, found)
    if not fills:
        return result
    inside = graph.node("Cast", graph.node("Equal", places, within), to="int32")
    inside = graph.node("Cast", graph.node("ReduceMin", inside, graph.ints([-1]), keepdims=0), to="bool")
    mask = hold(graph, Value(aval.shape, np.dtype(bool), tuple(found), inside), result.axes)
    filling = graph.constant(_filling(eqn.params["fill_value"], result.dtype), result.dtype)
    return replace(result, held=graph.node("Where", mask, result.held, filling))


def _cut(graph: Graph, eqn: Any, value: Value, indices: Value) -> tuple[Value, Value, tuple[int, ...]]:
    """What is left once axes are cut of which a constant part is taken: the array, the positions, and their axes."""
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    indexed, single = numbers.start_index_map, numbers.collapsed_slice_dims
    wide = [place for place, axis in enumerate(indexed) if axis not in single]
    rest = [axis for axis in range(len(sizes)) if axis not in (*indexed, *numbers.operand_batching_dims)]
    places = indices.array() if indices.constant else None
    scattered = wide and (places is None or np.ptp(places[..., wide].reshape(-1, len(wide)), axis=0).any())
    if scattered or any(sizes[axis] != value.shape[axis] for axis in rest):
        raise InputError('the primitive "gather" is known only for single elements, and for one window')
    if not wide or places is None:
        return value, indices, indexed
    starts = graph.ints(places.reshape(-1, len(indexed))[0, wide])
    value = _window(graph, value, [indexed[place] for place in wide], starts, sizes, value.dtype)
    left = [place for place in range(len(indexed)) if place not in wide]
    return value, constant(places[..., left]), tuple(indexed[place] for place in left)


def _elements(
    graph: Graph, eqn: Any, value: Value, places: str, indexed: tuple[int, ...], found: Sequence[int]
) -> Value:
    """The elements at `places`, (..., axes `indexed`), all inside; `found` are the axes of the result for `...`."""
    numbers, shape = eqn.params["dimension_numbers"], eqn.invars[1].aval.shape
    batch, others = numbers.operand_batching_dims, numbers.offset_dims
    if len(indexed) == 1 and not batch:
        (axis,) = indexed
        places = graph.reshape(places, (*shape[:-1], 1), shape[:-1])
        name = graph.node("Gather", full(graph, value), places, axis=axis)
        return tensor(name, eqn.outvars[0].aval, (*others[:axis], *found, *others[axis:]))
    together = numbers.start_indices_batching_dims
    order = (*together, *(axis for axis in range(len(found)) if axis not in together))
    if order != tuple(range(len(order))):
        places = graph.node("Transpose", places, perm=(*order, len(order)))
    rest = [axis for axis in range(len(value.shape)) if axis not in (*indexed, *batch)]
    name = graph.node("GatherND", full(graph, value, (*batch, *indexed, *rest)), places, batch_dims=len(batch))
    return tensor(name, eqn.outvars[0].aval, (*(found[axis] for axis in order), *others))


def _window(graph: Graph, value: Value, axes: Sequence[int], starts: str, sizes: Sequence[Any], dtype: Any) -> Value:
    """`sizes` elements along each of `axes`, from `starts` on, moved to lie inside."""
    wide = [sizes[axis] for axis in axes]
    last = graph.dims([value.shape[axis] - sizes[axis] for axis in axes])
    starts = graph.node("Max", graph.node("Min", starts, last), graph.ints([0]))
    name = full(graph, value)
    name = graph.node("Slice", name, starts, graph.node("Add", starts, graph.dims(wide)), graph.ints(axes))
    shape = tuple(sizes[axis] if axis in axes else size for axis, size in enumerate(value.shape))
    return Value(shape, np.dtype(dtype), tuple(range(len(shape))), name)


def _inside(indices: Value, value: Value, axes: Sequence[int], sizes: Sequence[Any]) -> bool:
    """Whether all positions are known to lie inside."""
    if not indices.constant:
        return False
    places = indices.array()
    rooms = [value.shape[axis] - sizes[axis] for axis in axes]
    return all(map(known, rooms)) and bool(((places >= 0) & (places <= rooms)).all())


def _int64(graph: Graph, value: Value) -> str:
    if value.constant and all(map(known, value.shape)):
        return graph.constant(value.array(), np.int64)
    return graph.node("Cast", full(graph, value), to="int64")


def _filling(given: Any, dtype: np.dtype) -> Any:
    """What JAX puts where a position lies outside."""
    if given is not None:
        return given
    if np.issubdtype(dtype, np.inexact):
        return np.nan
    if dtype.kind == "b":
        return True
    return np.iinfo(dtype).min if np.issubdtype(dtype, np.signedinteger) else np.iinfo(dtype).max


TABLE = {"dynamic_slice": dynamic_slice, "gather": gather}
