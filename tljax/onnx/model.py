"""A pure function as the bytes of an ONNX model."""

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import jax
import numpy as np

from tljax import __version__
from tljax.errors import InputError
from tljax.onnx.graph import Graph, Node, known
from tljax.onnx.simplify import simplify
from tljax.onnx.trace import trace

OPSET = 18
"""The version of ONNX's operators that models are written in: of December 2022, ONNX 1.13, ONNX Runtime 1.14."""

_IR_VERSION = 8
_MOST_BYTES = 2**31 - 1  # of a protocol buffer


def export(function: Callable, *shapes: Any, metadata: Mapping[str, str] | None = None) -> bytes:
    """A pure function as an ONNX model; what it closes over, such as weights, is inside.

    A network of tljax in the form that is fast here: `net = for_inference(net)`, then
    `export(lambda images: net.apply(net.variables, images), (("b", 224, 224, 3), "float32"))`.

    Args:
        function: of arrays, one for each of `shapes`; returns an array or a tree of arrays. `jit`, custom derivatives
            and `stop_gradient` in it are looked through, and what depends on no input is computed now.
        shapes: what each argument is: `jax.ShapeDtypeStruct(shape, dtype)`, anything else with a `shape` and a `dtype`,
            or (shape, dtype). A size that is a name, such as "b", may be any number from 1 on when the model runs, and
            is the same wherever the name stands; sizes of `jax.export.symbolic_shape` are taken as well.
        metadata: properties of the model, name -> text.
    Returns:
        the model, in the operators of `OPSET`, checked by `onnx.checker`; the same function gives the same bytes.
        Its inputs are called "input_0", "input_1", ... The output is called "output", those of a tree after
        their place: "logits", "0", "maps/stage1".
    Raises:
        InputError: a primitive of JAX that `operators.TABLE` lacks, by name; a dtype that an operator lacks, such as
            bfloat16 in a convolution; a shape that cannot be read; a model of more than 2 GB; no package `onnx`.
    Source: https://onnx.ai/onnx/repo-docs/IR.html
    """
    onnx = _onnx()
    inputs = {f"input_{i}": spec for i, spec in enumerate(_abstract(shapes))}
    graph, results, outputs = trace(function, inputs)
    named = jax.tree_util.tree_flatten_with_path(outputs)[0]
    names = [jax.tree_util.keystr(path, simple=True, separator="/") or "output" for path, _ in named]
    nodes = simplify(graph, results)
    nodes += [Node("Identity", (result,), (name,), {}) for result, name in zip(results, names, strict=True)]
    proto = onnx.helper.make_graph(
        [_node(onnx, node) for node in nodes],
        getattr(function, "__name__", "function"),
        [_info(onnx, name, spec) for name, spec in inputs.items()],
        [_info(onnx, name, spec) for name, (_, spec) in zip(names, named, strict=True)],
        _initializers(onnx, graph, nodes),
    )
    model = onnx.helper.make_model(
        proto,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="tljax",
        producer_version=__version__,
    )
    onnx.helper.set_model_props(model, dict(sorted((metadata or {}).items())))
    data = model.SerializeToString(deterministic=True)
    try:
        onnx.checker.check_model(data, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise InputError(f"operators of ONNX cannot compute this function: {error}") from error
    return data


def check_installed() -> None:
    """Refuses to begin what could not be written.

    Raises:
        InputError: the package `onnx` is not installed.
    """
    _onnx()


def _onnx() -> ModuleType:
    try:
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
        import onnx.shape_inference
    except ImportError as error:
        raise InputError("writing ONNX needs the package `onnx`: pip install 'tljax[onnx]'") from error
    return onnx


def _abstract(shapes: Sequence[Any]) -> list[jax.ShapeDtypeStruct]:
    """Shapes and dtypes, with names of sizes made symbolic, all in one scope."""
    scope, specs = jax.export.SymbolicScope(), []
    for given in shapes:
        try:
            shape, dtype = (given.shape, given.dtype) if hasattr(given, "shape") else given
            if any(isinstance(size, str) for size in shape):
                shape = jax.export.symbolic_shape(", ".join(map(str, shape)), scope=scope)
            specs.append(jax.ShapeDtypeStruct(tuple(shape), jax.dtypes.canonicalize_dtype(dtype)))
        except (TypeError, ValueError) as error:
            raise InputError(f'{given!r} is no shape and dtype, such as (("b", 224, 224, 3), "float32")') from error
    return specs


def _node(onnx: ModuleType, node: Node) -> Any:
    attributes = dict(node.attributes)
    if node.operator == "Cast":
        attributes["to"] = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(attributes["to"]))
    return onnx.helper.make_node(node.operator, node.inputs, node.outputs, **attributes)


def _info(onnx: ModuleType, name: str, spec: Any) -> Any:
    dtype = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
    shape = [int(size) if known(size) else str(size) for size in spec.shape]
    return onnx.helper.make_tensor_value_info(name, dtype, shape)


def _initializers(onnx: ModuleType, graph: Graph, nodes: Sequence[Node]) -> list[Any]:
    read = dict.fromkeys(name for node in nodes for name in node.inputs if name in graph.constants)
    if sum(graph.constants[name].nbytes for name in read) > _MOST_BYTES:
        raise InputError("the model has more than 2 GB, which an ONNX file cannot hold")
    return [onnx.numpy_helper.from_array(graph.constants[name], name) for name in read]
