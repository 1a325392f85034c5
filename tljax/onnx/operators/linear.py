"""Products of matrices."""

import math
from typing import Any

import numpy as np

from tljax.onnx.graph import Graph
from tljax.onnx.values import Value, full, tensor


def dot_general(graph: Graph, eqn: Any, left: Value, right: Value) -> Value:
    """`MatMul` of (batch..., free, contracted) and (batch..., contracted, free); axes in the plural are made one."""
    (left_sum, right_sum), (left_batch, right_batch) = eqn.params["dimension_numbers"]
    left_free = _free(left, left_sum, left_batch)
    right_free = _free(right, right_sum, right_batch)
    rows, columns = ([value.shape[i] for i in axes] for value, axes in ((left, left_free), (right, right_free)))
    batch, inner = ([left.shape[i] for i in axes] for axes in (left_batch, left_sum))
    aval = eqn.outvars[0].aval
    left_name = _cast(graph, full(graph, left, (*left_batch, *left_free, *left_sum)), left.dtype, aval.dtype)
    right_name = _cast(graph, full(graph, right, (*right_batch, *right_sum, *right_free)), right.dtype, aval.dtype)
    high = rows if rows and not batch else [math.prod(rows)]  # a matrix takes any number of rows' axes
    wide, deep = math.prod(columns), math.prod(inner)
    name = graph.node(
        "MatMul",
        graph.reshape(left_name, (*batch, *rows, *inner), (*batch, *high, deep)),
        graph.reshape(right_name, (*batch, *inner, *columns), (*batch, deep, wide)),
    )
    return tensor(graph.reshape(name, (*batch, *high, wide), aval.shape), aval)


def _free(value: Value, *taken: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(axis for axis in range(len(value.shape)) if not any(axis in axes for axes in taken))


def _cast(graph: Graph, name: str, dtype: np.dtype, target: Any) -> str:
    return name if dtype == target else graph.node("Cast", name, to=np.dtype(target).name)


TABLE = {"dot_general": dot_general}
