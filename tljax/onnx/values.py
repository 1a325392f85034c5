"""How a graph holds the arrays of a traced function: transposed and broadcast only where an operator needs it.

Networks here have their channels last, operators of ONNX have them second. A transposition is written down in
`Value.axes` and emitted when an operator insists on an order: a network of convolutions, activations and sums then
keeps its maps channels first from its first convolution to its pooling, without one transposition in between.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from tljax.onnx.graph import Graph


@dataclass(frozen=True)
class Value:
    """An array of the traced function.

    Attributes:
        shape: of the array; some sizes may be symbolic.
        dtype: of the array.
        axes: for each axis of what is held, the axis of the array that it is. The array is constant along the axes that
            are left out: what is held is to be broadcast along them.
        held: the name of a tensor, or a constant.
    """

    shape: tuple[Any, ...]
    dtype: np.dtype
    axes: tuple[int, ...]
    held: Any

    @property
    def constant(self) -> bool:
        """Known while the graph is built."""
        return not isinstance(self.held, str)

    def array(self) -> np.ndarray:
        """The array itself, of a constant whose shape is known."""
        if self.axes == tuple(range(len(self.shape))):
            return self.held
        return np.broadcast_to(_arranged(self, range(len(self.shape))), self.shape)


def tensor(name: str, aval: Any, axes: Sequence[int] | None = None) -> Value:
    """The value of shape and dtype `aval` that the tensor `name` holds in full."""
    return Value(aval.shape, np.dtype(aval.dtype), tuple(range(len(aval.shape)) if axes is None else axes), name)


def constant(array: Any) -> Value:
    """The value of an array that is known."""
    if not jax.numpy.issubdtype(array.dtype, jax.dtypes.extended):  # such as keys, which NumPy has not
        array = np.asarray(array)
    return Value(array.shape, array.dtype, tuple(range(array.ndim)), array)


def common_axes(values: Sequence[Value]) -> tuple[int, ...]:
    """The order of axes in which values meet: that of the largest, if it has all axes that any of them has."""
    first = max(values, key=lambda value: (len(value.axes), not value.constant))
    union = {axis for value in values for axis in value.axes}
    return first.axes if union == set(first.axes) else tuple(sorted(union))


def hold(graph: Graph, value: Value, axes: Sequence[int]) -> str:
    """The tensor that broadcasts to `value` among tensors with the axes `axes`, in this order."""
    if value.constant:
        return graph.constant(_arranged(value, axes))
    mine = [axis for axis in axes if axis in value.axes]
    name, order = value.held, tuple(value.axes.index(axis) for axis in mine)
    if order != tuple(range(len(order))):
        name = graph.node("Transpose", name, perm=order)
    return _unsqueeze(graph, name, _gaps(mine, axes)[1])


def full(graph: Graph, value: Value, axes: Sequence[int] | None = None) -> str:
    """The tensor of `value` with exactly the axes `axes` (by default all of them), in this order and of full size."""
    axes = range(len(value.shape)) if axes is None else axes
    shape = [value.shape[axis] for axis in axes]
    name = hold(graph, value, axes)
    if all(value.shape[axis] == 1 for axis in axes if axis not in value.axes):
        return _unsqueeze(graph, name, range(_gaps(value.axes, axes)[0]))
    return graph.node("Expand", name, graph.dims(shape))


def drop(graph: Graph, value: Value, axes: Collection[int]) -> Value:
    """`value` without axes of size 1."""
    held = tuple(i for i, axis in enumerate(value.axes) if axis in axes)
    name = value.held
    if held:
        name = np.squeeze(name, held) if value.constant else graph.node("Squeeze", name, graph.ints(held))
    shape = tuple(size for axis, size in enumerate(value.shape) if axis not in axes)
    return replace(value, shape=shape, axes=without(value.axes, axes), held=name)


def place(value: Value, axes: Sequence[int], shape: Sequence[Any]) -> Value:
    """`value` as an array of shape `shape`: its axes become `axes`, and it is constant along all others."""
    return replace(value, shape=tuple(shape), axes=tuple(axes[axis] for axis in value.axes))


def without(axes: Sequence[int], removed: Collection[int]) -> tuple[int, ...]:
    """Axes as they are counted once some are removed."""
    return tuple(axis - sum(gone < axis for gone in removed) for axis in axes if axis not in removed)


def _gaps(mine: Collection[int], axes: Sequence[int]) -> tuple[int, list[int]]:
    """How many of `axes` come before the first of `mine`, and where others lie among the rest."""
    start = next((i for i, axis in enumerate(axes) if axis in mine), len(axes))
    return start, [i for i, axis in enumerate(axes[start:]) if axis not in mine]


def _arranged(value: Value, axes: Sequence[int]) -> np.ndarray:
    mine = [axis for axis in axes if axis in value.axes]
    array = np.transpose(value.held, [value.axes.index(axis) for axis in mine])
    return np.expand_dims(array, tuple(_gaps(mine, axes)[1]))


def _unsqueeze(graph: Graph, name: str, where: Sequence[int]) -> str:
    return graph.node("Unsqueeze", name, graph.ints(where)) if where else name
