"""From a pure function to a graph: JAX traces it, and each primitive of the trace emits its operators."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from tljax.errors import InputError
from tljax.onnx.graph import Graph, known
from tljax.onnx.operators import TABLE
from tljax.onnx.values import Value, constant, full, tensor

_CALLS = {
    "jit": "jaxpr",
    "checkpoint": "jaxpr",
    "closed_call": "call_jaxpr",
    "composite": "jaxpr",
    "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "remat2": "jaxpr",
}
"""Primitives that call a function, and the parameter that holds it."""

_LAZY = ("broadcast_in_dim", "dim_as_value")
"""Never computed at once: a constant is not repeated, and a symbolic size is not known."""


def trace(function: Callable, inputs: dict[str, jax.ShapeDtypeStruct]) -> tuple[Graph, list[str], Any]:
    """A graph that computes `function(*inputs)`.

    Args:
        inputs: name of the tensor -> its shape and dtype, in the order of the arguments.
    Returns:
        the graph, the tensors that hold the results, and the results' shapes and dtypes as a tree.
    Raises:
        InputError: a primitive that the table lacks, or a form of one that it does not know.
    """
    closed, results = jax.make_jaxpr(function, return_shape=True)(*inputs.values())
    graph = Graph()
    for name, spec in inputs.items():
        for axis, size in enumerate(spec.shape):
            graph.symbols.setdefault(str(size), (name, axis))
    arguments = [tensor(name, aval) for name, aval in zip(inputs, closed.in_avals, strict=True)]
    return graph, [full(graph, value) for value in _run(graph, closed, arguments)], results


def _run(graph: Graph, program: core.ClosedJaxpr | core.Jaxpr, arguments: Sequence[Value]) -> list[Value]:
    """Emits a program, those that it calls included, and computes what does not depend on the inputs."""
    jaxpr, consts = getattr(program, "jaxpr", program), getattr(program, "consts", ())
    values = dict(zip(jaxpr.constvars, map(constant, consts), strict=True))
    values |= zip(jaxpr.invars, arguments, strict=True)

    def read(atom: core.Var | core.Literal) -> Value:
        aval: Any = atom.aval
        return constant(np.asarray(atom.val, aval.dtype)) if isinstance(atom, core.Literal) else values[atom]

    for eqn in jaxpr.eqns:
        operands = [read(atom) for atom in eqn.invars]
        values |= zip(eqn.outvars, _equation(graph, eqn, operands), strict=True)
    return [read(atom) for atom in jaxpr.outvars]


def _equation(graph: Graph, eqn: core.JaxprEqn, operands: list[Value]) -> list[Value]:
    """Looks through a call, computes what is constant, and asks the table for everything else."""
    name = eqn.primitive.name
    if name in _CALLS:
        return _run(graph, eqn.params[_CALLS[name]], operands)
    if name == "platform_index":  # ONNX is none of the platforms that a function may have a form of its own for
        return [constant(np.int32(eqn.params["platforms"].index(None)))]
    if name == "cond" and operands[0].constant:
        branches = eqn.params["branches"]
        return _run(graph, branches[int(np.clip(operands[0].array(), 0, len(branches) - 1))], operands[1:])
    if name not in _LAZY and _static(eqn) and all(operand.constant for operand in operands):
        results = eqn.primitive.bind(*(operand.array() for operand in operands), **eqn.params)
        return list(map(constant, results if eqn.primitive.multiple_results else [results]))
    if name not in TABLE:
        raise InputError(f'no ONNX operator is known for the primitive "{name}" of JAX')
    results = TABLE[name](graph, eqn, *operands)
    return [results] if isinstance(results, Value) else list(results)


def _static(eqn: core.JaxprEqn) -> bool:
    """Whether all shapes are known."""
    avals: list[Any] = [atom.aval for atom in (*eqn.invars, *eqn.outvars)]
    return all(known(size) for aval in avals for size in aval.shape)
