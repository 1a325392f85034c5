"""Sums, products and extremes along axes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tljax.errors import InputError
from tljax.onnx.graph import Graph
from tljax.onnx.values import Value, full, tensor, without


def with_axes(graph: Graph, value: Value, wanted: Sequence[int]) -> tuple[str, tuple[int, ...]]:
    """What is held of `value`, grown to full size along the axes `wanted`, and its axes."""
    axes = (*value.axes, *(axis for axis in wanted if axis not in value.axes))
    return full(graph, value, axes), axes


def reduction(operator: str, through: str | None = None) -> Callable[..., Value]:
    """An entry of the table. `through`: the dtype to compute in, where the operator lacks the operand's own."""

    def emit(graph: Graph, eqn: Any, value: Value) -> Value:
        gone, aval = eqn.params["axes"], eqn.outvars[0].aval
        name, axes = with_axes(graph, value, gone)
        where = graph.ints([axes.index(axis) for axis in gone])
        name = graph.node("Cast", name, to=through) if through else name
        if gone:
            name = graph.node(operator, name, where, keepdims=0)
        name = graph.node("Cast", name, to=np.dtype(aval.dtype).name) if through else name
        return tensor(name, aval, without(axes, gone))

    return emit


def extreme_index(operator: str) -> Callable[..., Value]:
    """Where the largest or the smallest lies; the first of equal ones."""

    def emit(graph: Graph, eqn: Any, value: Value) -> Value:
        (axis,) = eqn.params["axes"]
        name, axes = with_axes(graph, value, [axis])
        name = graph.node(operator, name, axis=axes.index(axis), keepdims=0)
        name = graph.node("Cast", name, to=np.dtype(eqn.params["index_dtype"]).name)
        return tensor(name, eqn.outvars[0].aval, without(axes, [axis]))

    return emit


def cumsum(graph: Graph, eqn: Any, value: Value) -> Value:
    """Running sums along an axis."""
    name, axes = with_axes(graph, value, [eqn.params["axis"]])
    axis = graph.constant(axes.index(eqn.params["axis"]), np.int64)
    return tensor(graph.node("CumSum", name, axis, reverse=int(eqn.params["reverse"])), eqn.outvars[0].aval, axes)


def top_k(graph: Graph, eqn: Any, value: Value) -> list[Value]:
    """The k largest along an axis, in falling order, and where they lie; of equal ones the first comes first."""
    axis, k = eqn.params["axis"], eqn.params["k"]
    name, axes = with_axes(graph, value, [axis])
    values, indices = _ordered(graph, name, axes.index(axis), k, largest=1)
    indices = graph.node("Cast", indices, to=np.dtype(eqn.outvars[1].aval.dtype).name)
    return [tensor(name, out.aval, axes) for name, out in zip((values, indices), eqn.outvars, strict=True)]


def sort(graph: Graph, eqn: Any, *values: Value) -> list[Value]:
    """In rising order of the first operand, stable; other operands go along."""
    if eqn.params["num_keys"] != 1:
        raise InputError('the primitive "sort" is known only for one key')
    axis, rank = eqn.params["dimension"], len(values[0].shape)
    key, *others = (full(graph, value) for value in values)
    ordered, indices = _ordered(graph, key, axis, values[0].shape[axis], largest=0)
    moved = [graph.node("GatherElements", other, indices, axis=axis) for other in others]
    return [tensor(name, out.aval, range(rank)) for name, out in zip((ordered, *moved), eqn.outvars, strict=True)]


def _ordered(graph: Graph, name: str, axis: int, count: Any, *, largest: int) -> tuple[str, ...]:
    return graph.nodes_of("TopK", name, graph.dims([count]), outputs=2, axis=axis, largest=largest, sorted=1)


TABLE = {
    "argmax": extreme_index("ArgMax"),
    "argmin": extreme_index("ArgMin"),
    "cumsum": cumsum,
    "reduce_and": reduction("ReduceMin", through="int32"),
    "reduce_max": reduction("ReduceMax"),
    "reduce_min": reduction("ReduceMin"),
    "reduce_or": reduction("ReduceMax", through="int32"),
    "reduce_prod": reduction("ReduceProd"),
    "reduce_sum": reduction("ReduceSum"),
    "sort": sort,
    "top_k": top_k,
}
