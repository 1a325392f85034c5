"""What an exported model is: its names, its sizes, its bytes; and what is refused."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import tljax.onnx
from tests.onnx.runtime import run
from tljax.errors import InputError

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed: pip install 'tljax[onnx]'")


def affine():
    weights = np.arange(12.0, dtype=np.float32).reshape(3, 4)
    return lambda x: jax.nn.relu(x @ weights - 20)


def test_names_sizes_opset_and_metadata():
    data = tljax.onnx.export(affine(), (("b", 3), "float32"), metadata={"classes": "cat, dog"})
    model = onnx.load_from_string(data)
    assert [(x.domain, x.version) for x in model.opset_import] == [("", tljax.onnx.OPSET)]
    assert [x.name for x in model.graph.input] == ["input_0"]
    assert [x.name for x in model.graph.output] == ["output"]
    assert [x.dim_param or x.dim_value for x in model.graph.output[0].type.tensor_type.shape.dim] == ["b", 4]
    assert {x.key: x.value for x in model.metadata_props} == {"classes": "cat, dog"}


def test_outputs_are_named_by_their_place():
    model = tljax.onnx.export(lambda x: {"logits": x, "maps": (x + 1, {"deep": x})}, ((2,), "float32"))
    assert [x.name for x in onnx.load_from_string(model).graph.output] == ["logits", "maps/0", "maps/1/deep"]


def test_the_same_function_gives_the_same_bytes():
    first, second = (tljax.onnx.export(affine(), (("b", 3), "float32")) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_symbolic_sizes(rows):
    def function(x, y):
        doubled = jnp.concatenate([x, x]).reshape(2, -1, 3)
        positions = jnp.arange(x.shape[0], dtype=jnp.float32)
        return doubled.mean(0) @ y, positions * x.shape[0], jnp.ones((x.shape[0] // 2 + 1, 2)), jnp.pad(x, 1)

    x, y = np.ones((rows, 3), np.float32), np.full((3, rows), 2, np.float32)
    for shapes in [((("n", 3), "float32"), ((3, "n"), "float32")), _symbolic(x, y)]:
        results = run(tljax.onnx.export(function, *shapes), x, y)
        for result, expected in zip(results, function(x, y), strict=True):
            np.testing.assert_allclose(result, expected)


def _symbolic(x, y):
    (n,) = jax.export.symbolic_shape("n")
    return jax.ShapeDtypeStruct((n, 3), x.dtype), jax.ShapeDtypeStruct((3, n), y.dtype)


def test_what_depends_on_no_input_is_computed_now():
    table = np.arange(10.0, dtype=np.float32)

    def function(x):
        noise = jax.random.normal(jax.random.key(0), (10,))
        return x + jnp.sin(jnp.cumsum(table))[::-1] + lax.scan(lambda c, y: (c, c + y), 0.0, noise)[1]

    model = tljax.onnx.export(lambda x: x + function(0 * table), ((10,), "float32"))
    assert [node.op_type for node in onnx.load_from_string(model).graph.node] == ["Add", "Identity"]


def test_inner_functions_are_looked_through():
    @jax.custom_vjp
    def doubled(x):
        return 2 * x

    doubled.defvjp(lambda x: (doubled(x), None), lambda _, dy: (dy,))

    def function(x):
        x = jax.jit(jnp.tanh)(doubled(x))
        x = jax.checkpoint(jnp.exp)(jax.nn.relu(lax.composite(lambda x: x + 1, "my.increment")(x)))
        return lax.platform_dependent(x, cpu=lambda x: x * 0, default=lambda x: x * 3)

    x = np.linspace(-1, 1, 5, dtype=np.float32)
    model = tljax.onnx.export(function, x)
    np.testing.assert_allclose(run(model, x)[0], 3 * np.exp(np.maximum(np.tanh(2 * x) + 1, 0)), rtol=1e-6)


@pytest.mark.parametrize("value", [-1.0, 0.0, 3.0, 6.0, 7.0])
def test_bounded_relus(value):
    """Both spellings become one operator, where that is right."""
    x = np.full(2, value, np.float32)

    def function(x):
        relu = jnp.maximum(x, 0)
        return jnp.where(x < 6, relu, 6), jnp.minimum(relu, 6), jnp.where(x < 6, relu, 5), jnp.minimum(relu, -1)

    model = tljax.onnx.export(function, x)
    operators = [node.op_type for node in onnx.load_from_string(model).graph.node]
    assert operators.count("Clip") == 2
    for result, expected in zip(run(model, x), function(x), strict=True):
        np.testing.assert_array_equal(result, expected)


def test_biases_move_into_convolutions_that_nothing_else_reads():
    def convolve(x, seed):
        kernel = np.random.default_rng(seed).normal(size=(1, 1, 2, 2)).astype(np.float32)
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def function(x):
        first, second, bias = convolve(x, 0), convolve(x, 1), np.array([1, 2], np.float32)
        free = lax.conv_general_dilated(x, x, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return first + bias, second, second + bias, free + bias

    x = np.ones((2, 2, 2, 2), np.float32)
    model = tljax.onnx.export(function, x)
    nodes = onnx.load_from_string(model).graph.node
    assert sorted(len(node.input) for node in nodes if node.op_type == "Conv") == [2, 2, 3]
    for result, expected in zip(run(model, x), function(x), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda x: lax.scan(lambda c, y: (c + y, c), 0.0, x)[0], '"scan"'),
        (lambda x: lax.while_loop(lambda y: y.sum() < 9, lambda y: y + 1, x), '"while"'),
        (lambda x: jnp.linalg.qr(x[:, None])[0], '"householder_product"|"qr"|"geqrf"'),
        (lambda x: lax.pad(x, 0.0, ((0, 0, 1),)), '"pad"'),
        (lambda x: lax.cond(x[0] > 0, jnp.sin, jnp.cos, x), '"cond"'),
        (lambda x: x + jax.random.normal(jax.random.key(x[0].astype(int)), (4,)), '"random_seed"'),
        (lambda x: lax.sort((x, x), num_keys=2)[1], '"sort"'),
    ],
    ids=range(7),
)
def test_unknown_primitives_are_refused_by_name(function, named):
    with pytest.raises(InputError, match=named):
        tljax.onnx.export(function, ((4,), "float32"))


@pytest.mark.parametrize("shape", ["float32", ((2, 3),), ((2, "?"), "float32"), ((2,), "no dtype"), 3])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(InputError, match="is no shape and dtype"):
        tljax.onnx.export(jnp.sin, shape)


def test_dtypes_that_an_operator_lacks_are_refused():
    def convolve(x):
        return lax.conv(x, jnp.ones((1, 1, 1, 1), x.dtype), (1, 1), "SAME")

    with pytest.raises(InputError, match="bfloat16"):
        tljax.onnx.export(convolve, ((1, 1, 2, 2), jnp.bfloat16))


def test_half_precision():
    x = np.linspace(-1, 1, 6, dtype=np.float16).reshape(2, 3)
    (result,) = run(tljax.onnx.export(lambda x: jnp.tanh(x) @ jnp.ones((3, 2), x.dtype), x), x)
    assert result.dtype == np.float16
    np.testing.assert_allclose(result, np.tanh(x) @ np.ones((3, 2)), atol=2e-3)


def test_a_size_that_no_input_tells_is_refused():
    (n,) = jax.export.symbolic_shape("n")
    with pytest.raises(InputError, match='the size "n" cannot be read'):
        tljax.onnx.export(lambda x: x.reshape(2, -1).sum() / x.shape[0], jax.ShapeDtypeStruct((2 * n,), "float32"))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "onnx.checker", None)
    with pytest.raises(InputError, match=r"tljax\[onnx\]"):
        tljax.onnx.export(jnp.sin, ((2,), "float32"))
