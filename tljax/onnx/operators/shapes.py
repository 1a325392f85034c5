"""Primitives that move, repeat and cut: many emit nothing, and are written down in the `Value` instead."""

from dataclasses import replace
from typing import Any

import numpy as np

from tljax.errors import InputError
from tljax.onnx.graph import Graph
from tljax.onnx.values import Value, common_axes, drop, full, hold, place, tensor, without


def broadcast_in_dim(graph: Graph, eqn: Any, value: Value) -> Value:
    """Emits nothing: new axes are left out of what is held, and so are those that grow from 1."""
    shape, axes = eqn.params["shape"], eqn.params["broadcast_dimensions"]
    grown = [axis for axis in value.axes if value.shape[axis] == 1]
    value = drop(graph, value, grown)
    return place(value, [new for old, new in enumerate(axes) if old not in grown], shape)


def concatenate(graph: Graph, eqn: Any, *values: Value) -> Value:
    """Along an axis, in the order of axes of the largest operand."""
    axis, axes = eqn.params["dimension"], common_axes(values)
    axes = axes if axis in axes else (axis, *axes)
    tensors = [full(graph, value, axes) for value in values]
    return tensor(graph.node("Concat", *tensors, axis=axes.index(axis)), eqn.outvars[0].aval, axes)


def dim_as_value(graph: Graph, eqn: Any) -> Value:
    """A symbolic size as a number."""
    aval = eqn.outvars[0].aval
    return tensor(graph.node("Cast", graph.scalar(eqn.params["dim"]), to=np.dtype(aval.dtype).name), aval)


def iota(graph: Graph, eqn: Any) -> Value:
    """0, 1, ... along an axis of symbolic size."""
    aval, axis = eqn.outvars[0].aval, eqn.params["dimension"]
    zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
    name = graph.node("Range", zero, graph.scalar(aval.shape[axis]), one)
    return tensor(graph.node("Cast", name, to=np.dtype(aval.dtype).name), aval, [axis])


def pad(graph: Graph, eqn: Any, value: Value, filling: Value) -> Value:
    """A value around the array; negative widths cut."""
    widths, axes = eqn.params["padding_config"], value.axes
    if any(inner for _, _, inner in widths):
        raise InputError('the primitive "pad" is known only without padding between elements')
    touched = [axis for axis, (low, high, _) in enumerate(widths) if (low, high) != (0, 0)]
    axes = (*axes, *(axis for axis in touched if axis not in axes))
    pads = [widths[axis][end] for end in (0, 1) for axis in touched]
    where = graph.ints([axes.index(axis) for axis in touched])
    name = graph.node("Pad", full(graph, value, axes), graph.dims(pads), full(graph, filling), where, mode="constant")
    return tensor(name, eqn.outvars[0].aval, axes)


def reshape(graph: Graph, eqn: Any, value: Value) -> Value:
    """Emits no `Reshape` where only axes of size 1 come and go."""
    old, new = value.shape, eqn.params["new_sizes"]
    kept = [axis for axis, size in enumerate(new) if size != 1]
    ones = [axis for axis, size in enumerate(old) if size == 1]
    if [size for size in old if size != 1] == [new[axis] for axis in kept]:
        return place(drop(graph, value, ones), kept, new)
    return tensor(graph.reshape(full(graph, value), old, new), eqn.outvars[0].aval)


def rev(graph: Graph, eqn: Any, value: Value) -> Value:
    """The other way round, along some axes."""
    turned = [i for i, axis in enumerate(value.axes) if axis in eqn.params["dimensions"]]
    last = np.iinfo(np.int64).min
    return _slice(graph, eqn, value, dict.fromkeys(turned, (-1, last, -1)))


def slice_(graph: Graph, eqn: Any, value: Value) -> Value:
    """From start to limit with a stride, along each axis."""
    starts, limits = eqn.params["start_indices"], eqn.params["limit_indices"]
    strides = eqn.params["strides"] or (1,) * len(starts)
    cuts = {
        i: (starts[axis], limits[axis], strides[axis])
        for i, axis in enumerate(value.axes)
        if (starts[axis], limits[axis], strides[axis]) != (0, value.shape[axis], 1)
    }
    return _slice(graph, eqn, value, cuts)


def split(graph: Graph, eqn: Any, value: Value) -> list[Value]:
    """Pieces along an axis."""
    axis, sizes = eqn.params["axis"], [int(size) for size in eqn.params["sizes"]]
    axes = value.axes if axis in value.axes else (axis, *value.axes)
    held = full(graph, value, axes)
    names = graph.nodes_of("Split", held, graph.ints(sizes), outputs=len(sizes), axis=axes.index(axis))
    return [tensor(name, out.aval, axes) for name, out in zip(names, eqn.outvars, strict=True)]


def squeeze(graph: Graph, eqn: Any, value: Value) -> Value:
    """Without some axes of size 1."""
    return drop(graph, value, eqn.params["dimensions"])


def stack(graph: Graph, eqn: Any, *values: Value) -> Value:
    """Arrays along a new axis."""
    axis, axes = eqn.params["axis"], common_axes(values)
    places = graph.ints([0])
    pieces = [graph.node("Unsqueeze", full(graph, value, axes), places) for value in values]
    after = (axis, *(old + (old >= axis) for old in axes))
    return tensor(graph.node("Concat", *pieces, axis=0), eqn.outvars[0].aval, after)


def tile(graph: Graph, eqn: Any, value: Value) -> Value:
    """The array, repeated along each axis."""
    held = full(graph, value)
    return tensor(graph.node("Tile", held, graph.dims(eqn.params["reps"])), eqn.outvars[0].aval)


def transpose(graph: Graph, eqn: Any, value: Value) -> Value:
    """Emits nothing."""
    order = eqn.params["permutation"]
    return place(value, np.argsort(order).tolist(), [value.shape[axis] for axis in order])


def unstack(graph: Graph, eqn: Any, value: Value) -> list[Value]:
    """The arrays that lie along an axis."""
    axis = eqn.params["axis"]
    axes = value.axes if axis in value.axes else (axis, *value.axes)
    held, where = full(graph, value, axes), axes.index(axis)
    indices = [graph.constant(number, np.int64) for number in range(value.shape[axis])]
    return [
        tensor(graph.node("Gather", held, index, axis=where), out.aval, without(axes, [axis]))
        for index, out in zip(indices, eqn.outvars, strict=True)
    ]


def _slice(graph: Graph, eqn: Any, value: Value, cuts: dict[int, tuple[Any, Any, int]]) -> Value:
    """Start, end and step for some axes of what is held."""
    if not cuts:
        return replace(value, shape=eqn.outvars[0].aval.shape)
    starts, ends, steps = zip(*cuts.values(), strict=True)
    held = hold(graph, value, value.axes)
    name = graph.node("Slice", held, graph.dims(starts), graph.dims(ends), graph.ints(list(cuts)), graph.ints(steps))
    return tensor(name, eqn.outvars[0].aval, value.axes)


TABLE = {
    "broadcast_in_dim": broadcast_in_dim,
    "concatenate": concatenate,
    "dim_as_value": dim_as_value,
    "iota": iota,
    "pad": pad,
    "reshape": reshape,
    "rev": rev,
    "slice": slice_,
    "split": split,
    "squeeze": squeeze,
    "stack": stack,
    "tile": tile,
    "transpose": transpose,
    "unstack": unstack,
}
