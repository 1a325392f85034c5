"""A graph of ONNX operators under construction: plain data, without the `onnx` package."""

import ast
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tljax.errors import InputError


def known(size: Any) -> bool:
    """Whether a size is a number; else it is symbolic."""
    return isinstance(size, (int, np.integer))


@dataclass(frozen=True)
class Node:
    """One operator: names of tensors in, names of tensors out."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass
class Graph:
    """Nodes in the order of computation, and the constants that they read.

    The same operator on the same tensors is one node, and the same constant is kept once.

    Attributes:
        nodes: each reads inputs of the graph, constants, or outputs of nodes before it.
        constants: name -> array.
        symbols: name of a symbolic dimension -> (input, axis), where its size is read.
    """

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    symbols: dict[str, tuple[str, int]] = field(default_factory=dict)
    _emitted: dict[Any, tuple[str, ...]] = field(default_factory=dict)

    def nodes_of(self, operator: str, *inputs: str, outputs: int, **attributes: Any) -> tuple[str, ...]:
        """The outputs of an operator; `attributes` are ints, strings, or tuples of ints."""
        key = (operator, inputs, outputs, tuple(sorted(attributes.items())))
        if key not in self._emitted:
            names = tuple(f"%{len(self.nodes)}" + (f".{i}" if i else "") for i in range(outputs))
            self._emitted[key] = names
            self.nodes.append(Node(operator, inputs, names, attributes))
        return self._emitted[key]

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """The one output of an operator."""
        return self.nodes_of(operator, *inputs, outputs=1, **attributes)[0]

    def constant(self, value: Any, dtype: Any = None) -> str:
        """The name of a constant tensor."""
        array = np.asarray(value, dtype)
        array = np.ascontiguousarray(array).reshape(array.shape)  # which makes scalars one-dimensional
        key = (str(array.dtype), array.shape, hashlib.sha256(array.reshape(-1).view(np.uint8).data).digest())
        if key not in self._emitted:
            self._emitted[key] = (f"@{len(self.constants)}",)
            self.constants[self._emitted[key][0]] = array
        return self._emitted[key][0]

    def ints(self, values: Sequence[int] | np.ndarray) -> str:
        """A constant one-dimensional int64 tensor: axes, sizes, positions."""
        return self.constant(values, np.int64)

    def dims(self, shape: Sequence[Any]) -> str:
        """Sizes, some of which may be symbolic, as a one-dimensional int64 tensor."""
        if all(map(known, shape)):
            return self.ints(shape)
        return self.node("Concat", *map(self.dim, shape), axis=0)

    def dim(self, size: Any) -> str:
        """A size, which may be symbolic, as an int64 tensor of shape (1,)."""
        return self._arithmetic(ast.parse(str(size).replace("^", "**"), mode="eval").body)

    def scalar(self, size: Any) -> str:
        """A size, which may be symbolic, as an int64 tensor of shape ()."""
        return self.node("Reshape", self.dim(size), self.ints(()))

    def reshape(self, tensor: str, old: Sequence[Any], new: Sequence[Any]) -> str:
        """A tensor of the sizes `old` with the sizes `new`."""
        if tuple(old) == tuple(new):
            return tensor
        if sum(not known(size) for size in new) == 1:
            new = [size if known(size) else -1 for size in new]
        return self.node("Reshape", tensor, self.dims(new))

    def floor_divide(self, x: str, y: str) -> str:
        """Of whole numbers, rounded down; ONNX rounds towards zero."""
        return self.node("Div", self.node("Sub", x, self.node("Mod", x, y)), y)

    def _arithmetic(self, tree: ast.expr) -> str:
        """A symbolic size, in the notation of `jax.export.symbolic_shape`."""
        match tree:
            case ast.Constant(int(value)):
                return self.ints([value])
            case ast.Name(name):
                if name not in self.symbols:
                    raise InputError(f'the size "{name}" cannot be read from the shape of any input')
                tensor, axis = self.symbols[name]
                return self.node("Shape", tensor, start=axis, end=axis + 1)
            case ast.UnaryOp(ast.USub(), operand):
                return self.node("Neg", self._arithmetic(operand))
            case ast.BinOp(left, operation, right):
                operator = _OPERATIONS[type(operation)]
                return self.node(operator, self._arithmetic(left), self._arithmetic(right))
            case ast.Call(ast.Name("floordiv"), [left, right]):
                return self.floor_divide(self._arithmetic(left), self._arithmetic(right))
            case ast.Call(ast.Name(name), operands):
                return self.node({"mod": "Mod", "max": "Max", "min": "Min"}[name], *map(self._arithmetic, operands))
        raise InputError(f"a size that cannot be computed in the graph: {ast.unparse(tree)}")


_OPERATIONS = {ast.Add: "Add", ast.Sub: "Sub", ast.Mult: "Mul", ast.Pow: "Pow"}
