import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tljax.errors import InputError
from tljax.transfer.augment import Augment, augmentation, central
from tljax.transfer.augment import augment as eager_augment

augment = jax.jit(eager_augment, static_argnums=(1, 2))
SAME = Augment(area=(1.0, 1.0), ratio=1.0, colour=0.0, flip=False)


def pictures(size=20, count=4):
    return jax.random.randint(jax.random.key(1), (count, size, size, 3), 0, 256).astype(jnp.uint8)


def test_central_crop_is_the_middle():
    images = jnp.arange(36, dtype=jnp.uint8).reshape(1, 6, 6, 1)
    np.testing.assert_allclose(central(images, 2)[0, :, :, 0] * 255, [[14, 15], [20, 21]], rtol=1e-6)


def test_no_augmentation_is_the_central_crop():
    images = pictures()
    same = augment(images, 12, augmentation("none", flip=True), key=jax.random.key(0))
    np.testing.assert_array_equal(same, central(images, 12))


def test_a_crop_of_everything_at_the_same_size_changes_nothing():
    images = pictures()
    result = augment(images, 20, SAME, key=jax.random.key(0))
    np.testing.assert_allclose(result, images / 255, atol=1e-6)


def test_a_crop_halves_a_ramp_exactly():
    ramp = jnp.broadcast_to(jnp.arange(16, dtype=jnp.uint8)[None, :, None, None] * 8, (1, 16, 16, 3))
    result = augment(ramp, 8, SAME, key=jax.random.key(0))
    np.testing.assert_allclose(result[0, :, 3, 0] * 255, (2 * np.arange(8) + 0.5) * 8, rtol=1e-5)


def test_about_half_are_mirrored_and_the_others_as_they_were():
    images = pictures(8, 200)
    result = augment(images, 8, SAME._replace(flip=True), key=jax.random.key(3))
    plain = np.isclose(result, images / 255, atol=1e-5).all((1, 2, 3))
    mirrored = np.isclose(result, images[:, :, ::-1] / 255, atol=1e-5).all((1, 2, 3))
    assert (plain | mirrored).all()
    assert 70 < mirrored.sum() < 130


def test_colours_stay_in_range_and_differ_by_picture():
    images = jnp.full((6, 8, 8, 3), jnp.array([200, 90, 30], jnp.uint8))
    result = augment(images, 8, SAME._replace(colour=0.4), key=jax.random.key(0))
    assert result.min() >= 0
    assert result.max() <= 1
    assert len(np.unique(np.asarray(result[:, 0, 0, 0]))) == 6


def test_the_key_alone_decides():
    images, light = pictures(), augmentation("light", flip=True)
    first = augment(images, 12, light, key=jax.random.key(5))
    np.testing.assert_array_equal(first, augment(images, 12, light, key=jax.random.key(5)))
    assert not np.array_equal(first, augment(images, 12, light, key=jax.random.key(6)))


def test_crops_stay_inside_and_keep_their_area():
    """On a picture whose red is the row and whose green is the column, a crop's corners tell where it lies."""
    rows, columns = np.mgrid[:64, :64]
    image = np.stack([rows * 4, columns * 4, rows * 0], -1).astype(np.uint8)
    setting = Augment(area=(0.3, 0.5), ratio=1.3, colour=0.0, flip=False)
    result = augment(jnp.broadcast_to(image, (32, 64, 64, 3)), 32, setting, key=jax.random.key(0)) * 255 / 4
    height = (result[:, -1, 0, 0] - result[:, 0, 0, 0]) * 32 / 31
    width = (result[:, 0, -1, 1] - result[:, 0, 0, 1]) * 32 / 31
    area = height * width / 64**2
    assert (area > 0.28).all()
    assert (area < 0.52).all()
    assert (jnp.maximum(width / height, height / width) < 1.33).all()


def test_an_unknown_strength_is_refused():
    with pytest.raises(InputError, match="none, light or full"):
        augmentation("heavy", flip=True)
