import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tljax.synth import Transforms, random_transform
from tljax.synth.transforms import _affine_forward, affine, reach

STILL = Transforms(shift=0.0, zoom=(1.0, 1.0), rotate=0.0, flip=False, noise=0.0, tint=0.0)
IMAGES = jax.random.uniform(jax.random.key(0), (3, 16, 16, 3))
IDENTITY = jnp.broadcast_to(jnp.eye(2), (3, 2, 2))


def test_nothing_asked_for_changes_nothing():
    np.testing.assert_allclose(random_transform(IMAGES, STILL, key=jax.random.key(1)), IMAGES, atol=1e-5)


def test_whole_shifts_move_pixels_and_leave_zero_behind():
    moved = affine(IMAGES, IDENTITY, jnp.tile(jnp.array([[2.0, -3.0]]), (3, 1)), 2)
    np.testing.assert_allclose(moved[:, :-2, 3:], IMAGES[:, 2:, :-3], atol=1e-5)
    assert float(jnp.abs(moved[:, -2:]).max()) == 0
    assert float(jnp.abs(moved[:, :, :3]).max()) == 0


def test_half_a_pixel_averages_neighbours():
    moved = affine(IMAGES, IDENTITY, jnp.tile(jnp.array([[0.5, 0.0]]), (3, 1)), 2)
    np.testing.assert_allclose(moved[:, :-1], (IMAGES[:, 1:] + IMAGES[:, :-1]) / 2, atol=1e-5)


def test_quarter_turns_and_mirrors_are_exact():
    turn = jnp.broadcast_to(jnp.array([[0.0, 1.0], [-1.0, 0.0]]), (3, 2, 2))
    np.testing.assert_allclose(affine(IMAGES, turn, jnp.zeros((3, 2)), 2), jnp.rot90(IMAGES, 1, (1, 2)), atol=1e-5)
    keys = jax.random.split(jax.random.key(2), 8)
    still = replace(STILL, flip=True)
    results = np.concatenate([random_transform(IMAGES, still, key=key) for key in keys])
    same = np.abs(results - np.tile(IMAGES, (8, 1, 1, 1))).max((1, 2, 3)) < 1e-4
    mirrored = np.abs(results - np.tile(IMAGES[:, :, ::-1], (8, 1, 1, 1))).max((1, 2, 3)) < 1e-4
    assert (same | mirrored).all()
    assert same.any()
    assert mirrored.any()


@pytest.mark.parametrize("transforms", [Transforms(), Transforms(0.2, (0.6, 1.7), 25.0, tint=0.2)])
def test_the_gathered_gradient_is_the_exact_transpose(transforms):
    key = jax.random.key(4)
    x, y = jax.random.normal(jax.random.key(5), (2, 3, 16, 16, 3))
    moved, pull = jax.vjp(lambda x: random_transform(x, transforms, key=key), x)
    constant = random_transform(jnp.zeros_like(x), transforms, key=key)
    np.testing.assert_allclose(jnp.vdot(moved - constant, y), jnp.vdot(x, pull(y)[0]), rtol=1e-4)


def test_each_pixel_gets_the_gradient_of_the_results_that_took_from_it():
    key = jax.random.key(8)
    angle = jax.random.uniform(key, (4, 1), minval=-0.26, maxval=0.26)
    zoom = jnp.array([0.6, 0.9, 1.2, 1.3])[:, None, None]
    turn = jnp.hstack([jnp.cos(angle), jnp.sin(angle), -jnp.sin(angle), jnp.cos(angle)]).reshape(4, 2, 2) / zoom
    x, y = jax.random.normal(key, (2, 4, 90, 70, 3))
    shift = jax.random.uniform(key, (4, 2), minval=-20.0, maxval=20.0)
    scattered = jax.vjp(lambda x: _affine_forward(x, turn, shift, 4)[0], x)[1](y)[0]
    gathered = jax.jit(lambda y: jax.vjp(lambda x: affine(x, turn, shift, 4), x)[1](y)[0])(y)
    np.testing.assert_allclose(gathered, scattered, atol=1e-5)


def test_reach_covers_the_results_that_take_from_a_pixel():
    assert reach(STILL) == 1
    assert math.isclose(reach(Transforms(zoom=(0.5, 2.0), rotate=90.0)), 2 * math.sqrt(2))


def test_images_are_changed_each_on_its_own_and_the_same_for_the_same_key():
    same = jnp.broadcast_to(IMAGES[:1], IMAGES.shape)
    once, again, other = (random_transform(same, Transforms(), key=jax.random.key(k)) for k in (6, 6, 7))
    assert (once == again).all()
    assert float(jnp.abs(once - other).max()) > 0.05
    assert float(jnp.abs(once[0] - once[1]).max()) > 0.05
