import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.synth.toy import levels, tiny_norm, tiny_norm_variables
from tljax import synth
from tljax.errors import InputError
from tljax.models.statistics import Moments
from tljax.synth.losses import batch_norm_distance, similarity

KEY = jax.random.key(0)
STILL = synth.Transforms(shift=0.0, zoom=(1.0, 1.0), rotate=0.0, flip=False, noise=0.0, tint=0.0)


def colours(variables, images):
    """Three classes: how red, green and blue the image is on average."""
    return variables["scale"] * images.mean((1, 2))


def halves(variables, images):
    """A map of one layer: (b, 2, 1, 3), the mean colour of the upper and the lower half."""
    return {"halves": variables["scale"] * images.reshape(images.shape[0], 2, -1, 1, 3).mean(2)}


VARIABLES = {"scale": 20.0}
OPTIONS = {"key": KEY, "steps": 24, "size": 32}
SMOOTH = {**OPTIONS, "recipe": synth.Recipe(0.3, total_variation=0.0, diversity=0.0)}


@pytest.mark.parametrize("options", [SMOOTH, {**OPTIONS, "method": "pixel"}])
def test_the_ideal_red_green_and_blue(options):
    images = synth.ideal(colours, VARIABLES, [2, 0], **options)
    assert images.shape == (2, 32, 32, 3)
    assert images.dtype == jnp.float32
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    assert colours(VARIABLES, images).argmax(-1).tolist() == [2, 0]
    grey = jnp.full((1, 32, 32, 3), 0.5)
    gained = synth.cross_entropy(colours(VARIABLES, grey), jnp.array([0]))[0]
    assert (synth.cross_entropy(colours(VARIABLES, images), jnp.array([2, 0])) < gained - 0.3).all()


def test_the_same_key_gives_the_same_images_and_another_one_others():
    once, again = (synth.ideal(colours, VARIABLES, [1], **OPTIONS) for _ in range(2))
    other = synth.ideal(colours, VARIABLES, [1], **{**OPTIONS, "key": jax.random.key(1)})
    assert (levels(once) == levels(again)).all()
    assert (levels(once) != levels(other)).any()


def test_a_network_of_patches_is_shown_sizes_that_they_divide():
    seen = set()

    def patches(variables, images):
        if images.shape[1] % 16:
            raise InputError("images must have sides that patches of 16 pixels divide")
        seen.add(images.shape[1])
        return colours(variables, images)

    images = synth.ideal(patches, {"scale": jnp.float32(20)}, [0], key=KEY, steps=4, size=96)
    assert images.shape == (1, 96, 96, 3)
    assert seen == {80, 96}


def test_a_channel_of_a_layer():
    images = synth.ideal(halves, VARIABLES, [1], layer="halves", **SMOOTH)
    assert int(images.mean((0, 1, 2)).argmax()) == 1
    with pytest.raises(InputError, match='no layer named "thirds": there are halves'):
        synth.ideal(halves, VARIABLES, [1], layer="thirds", **OPTIONS)
    with pytest.raises(InputError, match="no channel with index 3"):
        synth.ideal(halves, VARIABLES, [3], layer="halves", **OPTIONS)


def test_a_function_of_maps_needs_a_layer():
    with pytest.raises(InputError, match=r"a layer goes with net.intermediates"):
        synth.ideal(halves, VARIABLES, [1], **OPTIONS)


def sleepy(variables, images):
    """A channel behind a ReLU that only strong contrasts wake, and one that nothing does."""
    contrast = jnp.abs(images - images.mean((1, 2, 3), keepdims=True)).mean(-1, keepdims=True)
    maps = jnp.concatenate([contrast - variables["threshold"], contrast - 2.0], -1)
    return {"sleepy": jax.nn.relu(maps)}


def test_a_channel_that_sleeps_through_faint_noise_is_woken():
    made = synth.dream(sleepy, {"threshold": 0.1}, [0, 1], layer="sleepy", **SMOOTH)
    assert float(made.activation[0]) > 0.01
    assert float(made.activation[1]) == 0  # which says that its picture shows nothing


@pytest.mark.parametrize("method", ["fourier", "pixel"])
def test_the_batch_does_not_change_an_image(method):
    options = {**OPTIONS, "method": method, "steps": 4}
    together = synth.ideal(colours, VARIABLES, [0, 2, 1, 2], **options)
    alone = synth.ideal(colours, VARIABLES, [2], **options)
    np.testing.assert_allclose(alone[0], together[1], atol=1e-4)
    assert float(jnp.abs(together[1] - together[3]).max()) > 0.01  # the same class again is another picture


def test_several_networks_share_one_image():
    def upper(variables, images):
        return colours(variables, images[:, : images.shape[1] // 2])

    def lower(variables, images):
        return colours(variables, images[:, images.shape[1] // 2 :])[:, ::-1]

    recipe = synth.Recipe(learning_rate=0.3, transforms=STILL, total_variation=0.0)
    image = synth.ideal([upper, lower], [VARIABLES] * 2, [0], recipe=recipe, **OPTIONS)[0]
    assert int(image[:16].mean((0, 1)).argmax()) == 0
    assert int(image[16:].mean((0, 1)).argmax()) == 2
    with pytest.raises(InputError, match="2 networks need as many variables"):
        synth.ideal([upper, lower], [VARIABLES], [0], **OPTIONS)


@pytest.mark.slow
def test_variants_follow_each_other_and_differ():
    images = synth.ideal(colours, VARIABLES, [0, 2], variants=3, **SMOOTH)
    assert colours(VARIABLES, images).argmax(-1).tolist() == [0] * 3 + [2] * 3
    apart = synth.Recipe(0.3, total_variation=0.0, diversity=50.0)
    others = synth.ideal(colours, VARIABLES, [0, 2], variants=3, recipe=apart, **OPTIONS)
    assert float(similarity(others, 3).mean()) < float(similarity(images, 3).mean())


def test_similarity_of_known_images():
    ramp = jnp.broadcast_to(jnp.linspace(0, 1, 32)[:, None, None], (32, 32, 3))
    pair = jnp.stack([ramp, 0.5 + ramp / 4, ramp, 1 - ramp])
    np.testing.assert_allclose(similarity(pair, 2), [1, 1, -1, -1], atol=1e-3)


def test_batch_norm_matching_by_hand():
    usual = Moments(jnp.array([[1.0], [-1.0]]), jnp.array([[1.0], [1.0]]), jnp.array([0.4]))
    odd = Moments(jnp.array([[2.0], [2.0]]), jnp.array([[13.0], [13.0]]), jnp.array([0.4]))
    assert float(batch_norm_distance({"a": usual})) == pytest.approx(0)
    # mean 2, deviation sqrt(13 - 4) = 3; weight (0.4 / 0.5)^2; half of it, as there are two layers
    assert float(batch_norm_distance({"a": usual, "b": odd})) == pytest.approx((4 + 4) * 0.64 / 2, rel=1e-5)
    assert float(batch_norm_distance({})) == 0


def test_a_gradient_that_is_not_finite_stops_the_image_at_that_step():
    def broken(variables, images):
        logits = colours(variables, images)
        return logits.at[0].set(jnp.where(logits[0, 0] > 10.6, jnp.nan, 1.0) * logits[0])

    recipe = synth.Recipe(learning_rate=0.3, transforms=STILL, total_variation=0.0)
    made = synth.dream(broken, VARIABLES, [0, 0], recipe=recipe, **OPTIONS)
    first, second = made.ascent.stopped
    assert 0 < first < 24
    assert second is None
    assert np.isfinite(made.images).all()
    assert 0.5 < float(made.images[0, ..., 0].mean()) < float(made.images[1, ..., 0].mean())


def test_batch_norm_pulls_the_images_to_what_it_remembers():
    variables = tiny_norm_variables()
    usual = variables["batch_stats"]["norm"]["mean"]

    def mean_colour(weight):
        recipe = synth.Recipe(
            0.3, batch_norm_matching=weight, total_variation=0.0, transforms=STILL, stages=((1.0, 1.0),)
        )
        images = synth.ideal(tiny_norm, variables, [0], recipe=recipe, **OPTIONS)
        return np.asarray(images.mean((0, 1, 2)))

    drawn, free = (np.abs(mean_colour(weight) - usual).max() for weight in (50.0, 0.0))
    assert drawn < 0.1
    assert free > 2 * drawn


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": [3]}, "no class with index 3: there are 3"),
        ({"classes": [-1]}, "no class with index -1"),
        ({"classes": [1.5]}, "classes must be integers, got 1.5"),
        ({"key": None}, "key must be a jax.random.key"),
        ({"layer": "halves"}, "a layer goes with net.intermediates"),
        ({"classes": []}, "at least one class"),
        ({"variants": 0}, "one variant"),
        ({"size": 33}, "even and at least 32"),
        ({"size": 16}, "even and at least 32"),
        ({"method": "paint"}, 'no method "paint": it is "fourier" or "pixel"'),
    ],
)
def test_bad_input_is_refused_in_one_line(change, words):
    options = {**OPTIONS, "classes": [0], **change}
    classes = options.pop("classes")
    with pytest.raises(InputError, match=words) as error:
        synth.ideal(colours, VARIABLES, classes, **options)
    assert "\n" not in str(error.value)


def test_the_old_name_of_a_weight_is_taken_with_a_warning():
    with pytest.warns(DeprecationWarning, match="batch_norm_matching"):
        old = synth.Recipe(usualness=3.0)
    assert old == synth.Recipe(batch_norm_matching=3.0)
