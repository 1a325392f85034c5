"""Every fast form of a convolution equals XLA's own, forward and in both gradients."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tljax.models import ops
from tljax.models.conv import dense
from tljax.models.conv.plain import general
from tljax.models.conv.winograd import winograd

pytestmark = pytest.mark.usefixtures("quick_to_compile")

SHAPES = [(8, 8), (9, 7), (5, 10)]


def _arrays(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes]


def _assert_equal_to_plain(x, kernel, **options):
    def forward_and_gradients(x, kernel, seed):
        y, pull = jax.vjp(lambda x, kernel: ops.conv2d(x, kernel, **options), x, kernel)
        dy = jnp.sin(jnp.arange(y.size, dtype=jnp.float32) + seed).reshape(y.shape)
        return y, *pull(dy)

    fast = jax.jit(forward_and_gradients)(x, kernel, 1.0)
    with ops.plain_convolutions():
        plain = jax.jit(lambda *a: forward_and_gradients(*a))(x, kernel, 1.0)
    for got, expected in zip(fast, plain, strict=True):
        assert got.shape == expected.shape
        scale = float(jnp.abs(expected).max()) + 1e-6
        assert float(jnp.abs(got - expected).max()) <= 2e-6 * scale * np.sqrt(x.size)


@pytest.mark.parametrize(
    ("size", "stride", "kernel", "padding"),
    [
        *itertools.product(SHAPES, (1, 2), (3, 5), ("SAME", "VALID")),
        *itertools.product(SHAPES[:2], (1, 2, 3), (3,), (1,)),
        ((7, 7), 2, 3, ((0, 1), (1, 2))),
        ((6, 6), 2, 2, 0),
        ((7, 8), 3, 2, 1),
        ((7, 8), 2, 1, 0),
    ],
)
def test_depthwise(size, stride, kernel, padding):
    x, taps = _arrays(0, (2, *size, 6), (kernel, kernel, 1, 6))
    _assert_equal_to_plain(x, taps, stride=stride, padding=padding, groups=6)


@pytest.mark.parametrize(("size", "stride"), itertools.product([(8, 8), (7, 9)], (1, 2, 3)))
def test_pointwise(size, stride):
    x, kernel = _arrays(1, (2, *size, 5), (1, 1, 5, 4))
    _assert_equal_to_plain(x, kernel, stride=stride)


@pytest.mark.parametrize(
    ("size", "stride", "kernel", "padding"),
    [*itertools.product(SHAPES[1:2], (1, 2), (3, 5), ("SAME", "VALID", 1)), ((13, 12), 2, 7, 3), ((7, 7), 1, 2, 0)],
)
def test_dense(size, stride, kernel, padding):
    x, taps = _arrays(5, (2, *size, 6), (kernel, kernel, 6, 5))
    _assert_equal_to_plain(x, taps, stride=stride, padding=padding)


@pytest.mark.parametrize(
    ("size", "stride", "kernel", "padding"),
    [
        ((9, 7), 2, 3, ((0, 1), (0, 1))),
        ((13, 12), 2, 7, 3),
        ((11, 10), 3, 2, 0),
        ((9, 12), 3, 5, "SAME"),
        ((8, 8), 2, 1, 1),
    ],
)
def test_strides_over_an_image(size, stride, kernel, padding):
    x, taps = _arrays(10, (2, *size, 3), (kernel, kernel, 3, 5))
    _assert_equal_to_plain(x, taps, stride=stride, padding=padding)


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize(
    ("size", "pads"),
    [
        ((8, 8), ((1, 1), (1, 1))),
        ((9, 7), ((0, 0), (0, 1))),
        ((6, 11), ((2, 1), (0, 2))),
        ((9, 7), ((-1, 1), (2, -2))),
    ],
)
def test_winograd(size, pads, tile):
    x, kernel = _arrays(6, (2, *size, 5), (3, 3, 5, 4))
    compiled = jax.jit(winograd, static_argnums=(2, 3), static_argnames="turned")
    expected = general(x, kernel, 1, pads)
    np.testing.assert_allclose(compiled(x, kernel, pads, tile), expected, atol=1e-4)
    x, kernel = _arrays(7, (2, *size, 4), (3, 3, 5, 4))
    expected = general(x, kernel[::-1, ::-1].swapaxes(2, 3), 1, pads)
    np.testing.assert_allclose(compiled(x, kernel, pads, tile, turned=True), expected, atol=1e-4)


@pytest.mark.parametrize(("size", "tile"), [(16, 2), (30, 4)])
def test_large_convolutions_take_winograds_form(size, tile, monkeypatch):
    taken = []
    monkeypatch.setattr(dense, "winograd", lambda *a, **k: taken.append(a[3]) or winograd(*a, **k))
    x, kernel = _arrays(8, (1280 // tile**2 // 16, size, size, 130), (3, 3, 130, 132))
    _assert_equal_to_plain(x, kernel, padding=1)
    assert taken == [tile] * 2  # forward, and to the input


@pytest.mark.parametrize(("dtype", "channels", "taken"), [("float32", 32, 1), ("float32", 64, 0), ("bfloat16", 32, 0)])
def test_first_layers_of_few_channels_are_multiply_adds(dtype, channels, taken, monkeypatch):
    calls, form = [], dense._multiply_adds
    monkeypatch.setattr(dense, "_multiply_adds", lambda *a: calls.append(a) or form(*a))
    x, kernel = (a.astype(dtype) for a in _arrays(11, (1, 9, 9, 3), (3, 3, 3, channels)))
    y = ops.conv2d(x, kernel, stride=2, padding="SAME")
    assert len(calls) == taken
    assert y.dtype == dtype  # sums of many bfloat16 terms are left to XLA
    np.testing.assert_allclose(y, general(x, kernel, 2, ((1, 1), (1, 1))), rtol=1e-5, atol=1e-5)


def test_the_filter_gradient_on_large_maps():
    x, kernel = _arrays(9, (1, 30, 31, 128), (3, 3, 128, 130))
    _assert_equal_to_plain(x, kernel, padding=1)


@pytest.mark.parametrize(("size", "stride", "padding", "ceil"), [(2, 2, 0, False), (3, 2, 1, False), (3, 2, 0, True)])
def test_max_pool_and_its_gradient(size, stride, padding, ceil):
    x = jnp.round(_arrays(10, (2, 9, 12, 3))[0])  # with equal maxima

    def pull(x):
        y, pull = jax.vjp(lambda x: ops.max_pool(x, size, stride, padding=padding, ceil_mode=ceil), x)
        return y, *pull(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    fast = jax.jit(pull)(x)
    with ops.plain_convolutions():
        plain = jax.jit(lambda x: pull(x))(x)
    for got, expected in zip(fast, plain, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_second_derivative_through_fast_forms():
    x, kernel = _arrays(2, (1, 6, 6, 3), (3, 3, 1, 3))

    def slope(kernel):
        return jnp.sum(jax.grad(lambda x: jnp.sum(ops.conv2d(x, kernel, padding=1, groups=3) ** 2))(x) ** 2)

    got = jax.grad(slope)(kernel)
    with ops.plain_convolutions():
        expected = jax.grad(lambda kernel: slope(kernel))(kernel)
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_forward_mode_needs_the_plain_form():
    x, kernel = _arrays(3, (1, 6, 6, 3), (3, 3, 1, 3))

    def tangent():
        return jax.jvp(lambda x: ops.conv2d(x, kernel, padding=1, groups=3), (x,), (x,))[1]

    with pytest.raises(TypeError, match="custom_vjp"):
        tangent()
    with ops.plain_convolutions():
        np.testing.assert_allclose(tangent(), ops.conv2d(x, kernel, padding=1, groups=3), rtol=1e-5)


def test_other_platforms_keep_the_plain_convolution():
    x, kernel = _arrays(4, (1, 8, 8, 4), (3, 3, 1, 4))
    traced = jax.jit(lambda x: ops.conv2d(x, kernel, padding=1, groups=4)).trace(x)
    for platform in ("cuda", "tpu"):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert "stablehlo.convolution" in text
    assert "stablehlo.convolution" not in traced.lower(lowering_platforms=("cpu",)).as_text()


def test_ceil_mode_keeps_the_partial_window():
    x = jnp.arange(6.0).reshape(1, 6, 1, 1)
    x = jnp.broadcast_to(x, (1, 6, 6, 1))
    assert ops.max_pool(x, 3, 2, ceil_mode=True)[0, :, 0, 0].tolist() == [2.0, 4.0, 5.0]
    assert ops.max_pool(x, 3, 2)[0, :, 0, 0].tolist() == [2.0, 4.0]


def test_max_pool_pads_with_minus_infinity():
    assert ops.max_pool(-jnp.ones((1, 2, 2, 1)), 3, 2, padding=1).tolist() == [[[[-1.0]]]]


def test_adaptive_average_of_bins_that_overlap():
    x = jnp.asarray([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
    x = jnp.broadcast_to(x, (1, 3, 3, 1))
    np.testing.assert_allclose(ops.adaptive_avg_pool(x, 2)[0, :, 0, 0], [1.5, 2.5])
    np.testing.assert_allclose(ops.adaptive_avg_pool(x, 3), x)
