"""Convolution and pooling, for which ONNX wants (batch, channels, spatial axes...)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tljax.errors import InputError
from tljax.onnx.graph import Graph, known
from tljax.onnx.values import Value, full, tensor


def convolution(graph: Graph, eqn: Any, images: Value, kernel: Value) -> Value:
    """`lax.conv_general_dilated`: strides, pads, dilated kernels, groups; any order of axes."""
    params, orders = eqn.params, eqn.params["dimension_numbers"]
    if any(step != 1 for step in params["lhs_dilation"]) or params["batch_group_count"] != 1:
        raise _unknown(eqn, "a dilated input or groups of the batch")
    tensors = full(graph, images, orders.lhs_spec), full(graph, kernel, orders.rhs_spec)
    name = graph.node(
        "Conv",
        *tensors,
        kernel_shape=tuple(kernel.shape[axis] for axis in orders.rhs_spec[2:]),
        strides=tuple(params["window_strides"]),
        pads=_pads(eqn, params["padding"]),
        dilations=tuple(params["rhs_dilation"]),
        group=params["feature_group_count"],
    )
    return tensor(name, eqn.outvars[0].aval, orders.out_spec)


def pool(emit: Callable[..., str]) -> Callable[..., Value]:
    """An entry for windows: axes that a window does not span are put in front, the first two of them as they are."""

    def entry(graph: Graph, eqn: Any, value: Value) -> Value:
        params, rank = eqn.params, len(value.shape)
        if any(step != 1 for step in params["base_dilation"]):
            raise _unknown(eqn, "a dilated input")
        windows = list(zip(params["window_dimensions"], params["window_strides"], params["padding"], strict=True))
        idle = [axis for axis in range(rank) if windows[axis] == (1, 1, (0, 0))]
        if len(idle) < 2:
            raise _unknown(eqn, "windows that span all axes, or all but one")
        axes = (*idle[:2], *(axis for axis in range(rank) if axis not in idle[:2]))
        size, strides, pads, dilations = (
            [params[key][axis] for axis in axes[2:]]
            for key in ("window_dimensions", "window_strides", "padding", "window_dilation")
        )
        options = {"kernel_shape": tuple(size), "strides": tuple(strides), "pads": _pads(eqn, pads)}
        name = emit(graph, eqn, full(graph, value, axes), **options, dilations=tuple(dilations))
        return tensor(name, eqn.outvars[0].aval, axes)

    return entry


def _max(graph: Graph, eqn: Any, images: str, **options: Any) -> str:
    return graph.node("MaxPool", images, **options)


def _min(graph: Graph, eqn: Any, images: str, **options: Any) -> str:
    return graph.node("Neg", graph.node("MaxPool", graph.node("Neg", images), **options))


def _sum(graph: Graph, eqn: Any, images: str, *, dilations: tuple[int, ...], **options: Any) -> str:
    if any(step != 1 for step in dilations):  # `AveragePool` knows them from opset 19 on
        raise _unknown(eqn, "dilated windows")
    mean = graph.node("AveragePool", images, count_include_pad=1, **options)
    return graph.node("Mul", mean, graph.constant(np.prod(options["kernel_shape"]), eqn.outvars[0].aval.dtype))


def _pads(eqn: Any, pads: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """All that come before an axis, then all that come after."""
    if not all(known(width) and width >= 0 for pair in pads for width in pair):
        raise _unknown(eqn, f"pads {tuple(pads)}, which are negative or symbolic")
    return tuple(int(width) for width in (*(low for low, _ in pads), *(high for _, high in pads)))


def _unknown(eqn: Any, what: str) -> InputError:
    return InputError(f'no ONNX operator is known for the primitive "{eqn.primitive.name}" with {what}')


TABLE = {
    "conv_general_dilated": convolution,
    "reduce_window_max": pool(_max),
    "reduce_window_min": pool(_min),
    "reduce_window_sum": pool(_sum),
}
