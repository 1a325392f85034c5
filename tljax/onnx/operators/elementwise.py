"""Primitives that work on each element by itself, whatever the order of axes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tljax.errors import InputError
from tljax.onnx.graph import Graph
from tljax.onnx.values import Value, common_axes, hold, tensor


def elementwise(formula: str | Callable[..., str], **attributes: Any) -> Callable[..., Value]:
    """An entry of the table: an operator, or a formula of (graph, equation, *tensors)."""

    def emit(graph: Graph, eqn: Any, *values: Value) -> Value:
        axes = common_axes(values)
        tensors = [hold(graph, value, axes) for value in values]
        if isinstance(formula, str):
            name = graph.node(formula, *tensors, **attributes)
        else:
            name = formula(graph, eqn, *tensors)
        return tensor(name, eqn.outvars[0].aval, axes)

    return emit


def chain(*operators: str) -> Callable[..., Value]:
    """Operators one after the other; the first takes all operands."""

    def formula(graph: Graph, eqn: Any, *tensors: str) -> str:
        name = graph.node(operators[0], *tensors)
        for operator in operators[1:]:
            name = graph.node(operator, name)
        return name

    return elementwise(formula)


def by_dtype(truth: str, whole: str) -> Callable[..., Value]:
    """One operator for truth values, another for whole numbers."""
    return elementwise(lambda graph, eqn, *tensors: graph.node(truth if _dtype(eqn).kind == "b" else whole, *tensors))


def identity(graph: Graph, eqn: Any, *values: Value) -> tuple[Value, ...]:
    """What changes no value."""
    return values


def _dtype(eqn: Any) -> np.dtype:
    return np.dtype(eqn.invars[0].aval.dtype)


def _like(graph: Graph, eqn: Any, value: Any) -> str:
    """A scalar of the dtype of the operands."""
    return graph.constant(value, _dtype(eqn))


def _max(graph: Graph, eqn: Any, x: str, y: str) -> str:
    zero = _like(graph, eqn, 0)
    if _dtype(eqn).kind == "f" and zero in (x, y):
        return graph.node("Relu", x if y == zero else y)
    if _dtype(eqn).kind == "b":
        return graph.node("Or", x, y)
    return graph.node("Max", x, y)


def _min(graph: Graph, eqn: Any, x: str, y: str) -> str:
    return graph.node("And" if _dtype(eqn).kind == "b" else "Min", x, y)


def _clamp(graph: Graph, eqn: Any, low: str, x: str, high: str) -> str:
    return graph.node("Min", graph.node("Max", x, low), high)


def _select(graph: Graph, eqn: Any, which: str, *cases: str) -> str:
    if _dtype(eqn).kind == "b":
        return graph.node("Where", which, cases[1], cases[0])
    result = cases[-1]
    for number, case in reversed(list(enumerate(cases[:-1]))):
        result = graph.node("Where", graph.node("Equal", which, _like(graph, eqn, number)), case, result)
    return result


def _cast(graph: Graph, eqn: Any, x: str) -> str:
    source, target = _dtype(eqn), np.dtype(eqn.params["new_dtype"])
    return x if source == target else graph.node("Cast", x, to=target.name)


def _integer_pow(graph: Graph, eqn: Any, x: str) -> str:
    power = eqn.params["y"]
    if power == 2:
        return graph.node("Mul", x, x)
    if power == -1:
        return graph.node("Reciprocal", x)
    return graph.node("Pow", x, _like(graph, eqn, power))


def _round(graph: Graph, eqn: Any, x: str) -> str:
    if eqn.params["rounding_method"] == 1:  # to the nearest, a half to the even one
        return graph.node("Round", x)
    size = graph.node("Abs", x)
    whole = graph.node("Floor", size)
    up = graph.node("GreaterOrEqual", graph.node("Sub", size, whole), _like(graph, eqn, 0.5))
    up = graph.node("Cast", up, to=_dtype(eqn).name)
    return graph.node("Mul", graph.node("Sign", x), graph.node("Add", whole, up))


def _log1p(graph: Graph, eqn: Any, x: str) -> str:
    """Goldberg's: log(u) * x / (u - 1) with u = 1 + x rounded; and x itself where u is 1."""
    one = _like(graph, eqn, 1)
    u = graph.node("Add", x, one)
    ratio = graph.node("Div", graph.node("Mul", graph.node("Log", u), x), graph.node("Sub", u, one))
    infinite = graph.node("Equal", u, _like(graph, eqn, np.inf))
    return graph.node("Where", graph.node("Or", graph.node("Equal", u, one), infinite), x, ratio)


def _expm1(graph: Graph, eqn: Any, x: str) -> str:
    """exp(x) - 1 = 2 sinh(x/2) exp(x/2), which loses nothing near 0."""
    half = graph.node("Mul", x, _like(graph, eqn, 0.5))
    return graph.node("Mul", graph.node("Mul", graph.node("Sinh", half), _like(graph, eqn, 2)), graph.node("Exp", half))


def _shift(operator: str) -> Callable[..., Value]:
    """By a constant number of bits, as a product or a quotient: ONNX shifts only numbers without a sign."""

    def formula(graph: Graph, eqn: Any, x: str, bits: str) -> str:
        if bits not in graph.constants:
            raise InputError(f'the primitive "{eqn.primitive.name}" is known only for a constant number of bits')
        factor = graph.constant(np.left_shift(np.ones((), _dtype(eqn)), graph.constants[bits]))
        return graph.node("Mul", x, factor) if operator == "Mul" else graph.floor_divide(x, factor)

    return elementwise(formula)


TABLE = {
    "abs": elementwise("Abs"),
    "acos": elementwise("Acos"),
    "acosh": elementwise("Acosh"),
    "add": elementwise("Add"),
    "add_any": elementwise("Add"),
    "and": by_dtype("And", "BitwiseAnd"),
    "asin": elementwise("Asin"),
    "asinh": elementwise("Asinh"),
    "atan": elementwise("Atan"),
    "atanh": elementwise("Atanh"),
    "ceil": elementwise("Ceil"),
    "clamp": elementwise(_clamp),
    "convert_element_type": elementwise(_cast),
    "copy": identity,
    "cos": elementwise("Cos"),
    "cosh": elementwise("Cosh"),
    "device_put": identity,
    "div": elementwise("Div"),
    "eq": elementwise("Equal"),
    "erf": elementwise("Erf"),
    "erfc": elementwise(lambda graph, eqn, x: graph.node("Sub", _like(graph, eqn, 1), graph.node("Erf", x))),
    "exp": elementwise("Exp"),
    "exp2": elementwise(lambda graph, eqn, x: graph.node("Pow", _like(graph, eqn, 2), x)),
    "expm1": elementwise(_expm1),
    "floor": elementwise("Floor"),
    "ge": elementwise("GreaterOrEqual"),
    "gt": elementwise("Greater"),
    "integer_pow": elementwise(_integer_pow),
    "is_finite": elementwise(lambda graph, eqn, x: graph.node("Equal", graph.node("Sub", x, x), _like(graph, eqn, 0))),
    "le": elementwise("LessOrEqual"),
    "log": elementwise("Log"),
    "log1p": elementwise(_log1p),
    "logistic": elementwise("Sigmoid"),
    "lt": elementwise("Less"),
    "max": elementwise(_max),
    "min": elementwise(_min),
    "mul": elementwise("Mul"),
    "name": identity,
    "ne": chain("Equal", "Not"),
    "neg": elementwise("Neg"),
    "not": by_dtype("Not", "BitwiseNot"),
    "optimization_barrier": identity,
    "or": by_dtype("Or", "BitwiseOr"),
    "pow": elementwise("Pow"),
    "rem": elementwise("Mod", fmod=1),
    "round": elementwise(_round),
    "rsqrt": chain("Sqrt", "Reciprocal"),
    "select_n": elementwise(_select),
    "shift_left": _shift("Mul"),
    "shift_right_arithmetic": _shift("Div"),
    "sign": elementwise("Sign"),
    "sin": elementwise("Sin"),
    "sinh": elementwise("Sinh"),
    "sqrt": elementwise("Sqrt"),
    "square": elementwise(lambda graph, eqn, x: graph.node("Mul", x, x)),
    "stop_gradient": identity,
    "sub": elementwise("Sub"),
    "tan": elementwise("Tan"),
    "tanh": elementwise("Tanh"),
    "xor": by_dtype("Xor", "BitwiseXor"),
}
