"""Every primitive of the table, in ONNX Runtime, against JAX itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from tests.onnx.runtime import assert_same
from tljax.onnx.operators import TABLE

X = np.random.default_rng(0).normal(size=(3, 4, 6, 5)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(3, 4, 6, 5)).astype(np.float32)
UNIT = np.tanh(X)
WHOLE = np.random.default_rng(2).integers(-9, 9, (3, 4)).astype(np.int32)
OTHER = np.random.default_rng(3).integers(1, 9, (3, 4)).astype(np.int32)
TRUTH = WHOLE > 0

CASES = {
    "abs": (jnp.abs, X),
    "acos": (lax.acos, UNIT),
    "acosh": (lax.acosh, 1 + np.abs(X)),
    "add": (lax.add, X, Y),
    "add_any": (jax.grad(lambda x: (x * jnp.tanh(x)).sum()), X),
    "and": (lambda a, b: (a & b, (a > 0) & (b > 4)), WHOLE, OTHER),
    "argmax": (lambda x: (x.argmax(-1), x.argmax(1)), X),
    "argmin": (lambda x: x.argmin(2), X),
    "asin": (lax.asin, UNIT),
    "asinh": (lax.asinh, X),
    "atan": (lax.atan, X),
    "atanh": (lax.atanh, UNIT * 0.9),
    "broadcast_in_dim": (lambda x: jnp.broadcast_to(x[:, :, :1], (2, *x.shape)), X),
    "ceil": (jnp.ceil, X),
    "clamp": (lambda x: (lax.clamp(-1.0, x, 0.5), lax.clamp(-abs(x) / 2, x, x + 1)), X),
    "concatenate": (lambda x, y: jnp.concatenate([x, y, jnp.ones((x.shape[0], 4, 6, 2))], -1), X, Y),
    "conv_general_dilated": (lambda x: lax.conv(x, np.ones((2, 4, 3, 3), np.float32), (1, 1), "VALID"), X),
    "convert_element_type": (lambda x: (x.astype(int), x.astype(bool), (x > 0).astype(jnp.float32)), X),
    "copy": (lambda x: lax.copy_p.bind(x), X),
    "cos": (jnp.cos, X),
    "cosh": (jnp.cosh, X),
    "cumsum": (lambda x: (x.cumsum(1), lax.cumsum(x, 3, reverse=True)), X),
    "device_put": (lambda x: jax.device_put(x), X),
    "dim_as_value": (lambda x: x.sum((0, 1)) / (x.shape[0] * 2 + 1), X),
    "div": (lambda x, a, b: (x / 3, lax.div(a, b)), X, WHOLE, OTHER),
    "dot_general": (lambda x, y: jnp.einsum("bijk,blmk->bijlm", x, y), X, Y),
    "dynamic_slice": (lambda x, i: lax.dynamic_slice(x, (0, i[0, 0], 5, 0), (1, 2, 3, 5)), X, OTHER),
    "eq": (lambda a, b: a == b, WHOLE, OTHER),
    "erf": (lax.erf, X),
    "erfc": (lax.erfc, X),
    "exp": (jnp.exp, X),
    "exp2": (jnp.exp2, X),
    "expm1": (lambda x: jnp.expm1(x) / x, X * 1e-3),
    "floor": (jnp.floor, X),
    "gather": (lambda x: jnp.take(x, np.array([2, 0, 2]), axis=1), X),
    "ge": (lambda x, y: x >= y, X, Y),
    "gt": (lambda x, y: x > y, X, Y),
    "integer_pow": (lambda x: (x**3, lax.integer_pow(x, 2), lax.integer_pow(x, -1)), X),
    "iota": (lambda x: lax.broadcasted_iota(jnp.float32, x.shape, 0) + jnp.arange(5.0), X),
    "is_finite": (jnp.isfinite, np.array([1.0, np.inf, -np.inf, np.nan], np.float32)),
    "le": (lambda x, y: x <= y, X, Y),
    "log": (jnp.log, np.abs(X)),
    "log1p": (lambda x: jnp.log1p(x) / x, np.abs(X) * 1e-3),
    "logistic": (jax.nn.sigmoid, X),
    "lt": (lambda x, y: x < y, X, Y),
    "max": (lambda x, y: (jnp.maximum(x, y), jnp.maximum(0.0, x), jnp.maximum(x > 0, y > 0)), X, Y),
    "min": (lambda x, y: (jnp.minimum(x, y), jnp.minimum(x, 0.5), jnp.minimum(x > 0, y > 0)), X, Y),
    "mul": (lax.mul, X, Y),
    "name": (lambda x: checkpoint_name(x, "map"), X),
    "ne": (lambda a, b: a != b, WHOLE, OTHER),
    "neg": (jnp.negative, X),
    "not": (lambda a: (~a, ~(a > 0)), WHOLE),
    "optimization_barrier": (lambda x, y: lax.optimization_barrier((x, y)), X, Y),
    "or": (lambda a, b: (a | b, (a > 0) | (b > 4)), WHOLE, OTHER),
    "pad": (lambda x: lax.pad(x, 2.0, ((0, 0, 0), (-1, 2, 0), (0, 0, 0), (1, 0, 0))), X),
    "pow": (lambda x, y: jnp.abs(x) ** y, X, Y),
    "reduce_and": (lambda x: (x > -1).all(-1), X),
    "reduce_max": (lambda x: (x.max(), x.max((1, 3))), X),
    "reduce_min": (lambda x: x.min(2), X),
    "reduce_or": (lambda x: (x > 1).any((1, 2)), X),
    "reduce_prod": (lambda x: x.prod(3), X),
    "reduce_sum": (lambda x: (x.sum(), x.sum((1, 2)), x.mean(0, keepdims=True)), X),
    "reduce_window_max": (
        lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 0), (0, 2), (0, 0))),
        X,
    ),
    "reduce_window_min": (
        lambda x: lax.reduce_window(x, jnp.inf, lax.min, (1, 1, 3, 2), (1, 1, 2, 1), "VALID"),
        X,
    ),
    "reduce_window_sum": (
        lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 1, 3, 2), (1, 1, 1, 1), ((0, 0), (0, 0), (1, 1), (0, 1))),
        X,
    ),
    "rem": (lambda x, y, a, b: (lax.rem(x, y), lax.rem(a, b), a % b, a // b), X, Y, WHOLE, OTHER),
    "reshape": (lambda x: (x.reshape(x.shape[0], -1), x.reshape(-1, 5), x[:, None].reshape(x.shape)), X),
    "rev": (lambda x: jnp.flip(x, (1, 3)), X),
    "round": (lambda x: (jnp.round(x), lax.round(x)), np.array([0.5, 1.5, -0.5, 0.49999997, -2.3], np.float32)),
    "rsqrt": (lax.rsqrt, np.abs(X)),
    "select_n": (lambda x, a: (jnp.where(x > 0, x, 7.0), lax.select_n(a % 3, a, a + 1, -a)), X, WHOLE),
    "shift_left": (lambda a: a << 3, WHOLE),
    "shift_right_arithmetic": (lambda a: a >> 2, WHOLE),
    "sign": (jnp.sign, WHOLE),
    "sin": (jnp.sin, X),
    "sinh": (jnp.sinh, X),
    "slice": (lambda x: (x[:, 1:4:2, 1:], lax.slice_in_dim(x, 1, 3, axis=2)), X),
    "sort": (lambda x: (jnp.sort(x, 1), jnp.argsort(jnp.round(x), stable=True)), X),
    "split": (lambda x: jnp.split(x, (1, 3), 2), X),
    "sqrt": (jnp.sqrt, np.abs(X)),
    "square": (jnp.square, X),
    "squeeze": (lambda x: (lax.squeeze(x[:, :1], (1,)), jnp.squeeze(x.sum(1, keepdims=True), 1)), X),
    "stack": (
        lambda x, y: (jnp.stack([x, y], 2), jnp.stack([x.transpose(0, 3, 1, 2), y.reshape(-1, 5, 4, 6)], 4)),
        X,
        Y,
    ),
    "stop_gradient": (lax.stop_gradient, X),
    "sub": (lax.sub, X, Y),
    "tan": (jnp.tan, UNIT),
    "tanh": (jnp.tanh, X),
    "tile": (lambda x: jnp.tile(x, (1, 2, 1, 3)), X),
    "top_k": (lambda x: (lax.top_k(x, 3), lax.top_k(jnp.zeros_like(x), 2)), X),
    "transpose": (lambda x: x.transpose(0, 3, 1, 2), X),
    "unstack": (lambda x: jnp.unstack(x.transpose(0, 2, 3, 1), axis=2), X),
    "xor": (lambda a, b: (a ^ b, (a > 0) ^ (b > 4)), WHOLE, OTHER),
}


def test_every_entry_has_a_case():
    assert set(CASES) == set(TABLE)


@pytest.mark.parametrize("primitive", CASES)
def test_primitive(primitive):
    function, *arrays = CASES[primitive]
    traced = str(jax.make_jaxpr(function)(*arrays))
    assert f" {primitive}" in traced or primitive == "dim_as_value"
    assert_same(function, *arrays)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(0, 2),
    st.integers(1, 2),
    st.sampled_from([1, 2, 4]),
    st.booleans(),
)
def test_convolution(size, stride, pad, dilation, groups, first):
    kernel = np.random.default_rng(size).normal(size=(size, size, 4 // groups, 8)).astype(np.float32)
    order = ("NCHW", "HWIO", "NHWC") if first else ("NHWC", "HWIO", "NHWC")
    images = X if first else X.transpose(0, 2, 3, 1)

    def convolve(x):
        pads = ((pad, 2), (1, pad))
        return lax.conv_general_dilated(
            x, kernel, (stride, 1), pads, None, (1, dilation), order, feature_group_count=groups
        )

    assert_same(convolve, images)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(3)), st.permutations(range(3)), st.integers(0, 3), st.integers(0, 2))
def test_products(left_order, right_order, shared, batch):
    batch = min(batch, shared)
    left, right = left_order[:shared], right_order[:shared]
    numbers = ((left[batch:], right[batch:]), (left[:batch], right[:batch]))
    right_shape, left_shape = [2, 3, 4], [2, 3, 4]
    for a, b in zip(left, right, strict=True):
        right_shape[b] = left_shape[a]
    x = np.random.default_rng(4).normal(size=left_shape).astype(np.float32)
    y = np.random.default_rng(5).normal(size=right_shape).astype(np.float32)
    assert_same(lambda x, y: lax.dot_general(x, y, numbers), x, y, symbolic=False)


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(4)), st.permutations(range(4)), st.sets(st.integers(0, 3)), st.booleans())
def test_orders_of_axes_meet(first, second, reduced, keep):
    """Transposed, broadcast and reduced arrays in one sum: what is written down about axes is right."""

    def function(x, y):
        back = np.argsort(second).tolist()
        y = jnp.tanh(y.transpose(first)).transpose(np.argsort(first).tolist())
        mean = x.transpose(second).mean(tuple(reduced), keepdims=True).transpose(back)
        kept = x.sum(tuple(reduced), keepdims=keep)
        return x + y * mean - jnp.concatenate([mean, mean], 1)[:, :1], kept, mean.transpose(first), y

    assert_same(function, X, Y, symbolic=False)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, i: x[:, 1],
        lambda x, i: x[0],
        lambda x, i: x[..., ::-1],
        lambda x, i: x[:, i[0] % 4],
        lambda x, i: x[:, :, i[0] % 6, i[1] % 5],
        lambda x, i: x[jnp.arange(x.shape[0]), 1],
        lambda x, i: jnp.take(x, i - 4, axis=2),
        lambda x, i: jnp.take(x, i[0], axis=3, mode="clip"),
        lambda x, i: jnp.take(x, i[0, 0] % 9, axis=1),
        lambda x, i: x[:, i[1, 1] % 4][:, ::2, 2:],
        lambda x, i: jnp.take_along_axis(x, x.argmax(2, keepdims=True), 2),
        lambda x, i: jnp.take_along_axis(x, jnp.argsort(x, 1), 1),
        lambda x, i: lax.dynamic_slice_in_dim(x, i[0, 0], 2, 1),
        lambda x, i: x[:, None, 2:, :, None],
    ],
    ids=range(14),
)
def test_indexing(function):
    assert_same(function, X, OTHER)
