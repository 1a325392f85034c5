"""Objectives that add, subtract and scale, and what `dream` makes of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.synth.test_ideal import OPTIONS, STILL, VARIABLES, colours, halves
from tests.synth.toy import photos
from tljax import synth
from tljax.errors import InputError
from tljax.models.layers import Outputs
from tljax.synth import losses, objectives
from tljax.synth.objective import Response
from tljax.synth.objectives import channel, deep_dream, direction, diversity, logit, neuron, probability, smoothness

IMAGES = photos(2)
MAPS = jnp.arange(2 * 3 * 5 * 4, dtype=jnp.float32).reshape(2, 3, 5, 4)
SCORES = jnp.array([[1.0, 2.0, 4.0], [0.0, -1.0, 3.0]])
RESPONSE = Response(SCORES, {"maps": MAPS}, {}, jnp.array([2, 0]))


def both(variables, images):
    """Scores and maps in one pass."""
    scores = colours(variables, images)
    return Outputs(scores, scores, scores, halves(variables, images))


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (logit(), [4.0, 0.0]),
        (logit(1), [2.0, -1.0]),
        (probability(2), jax.nn.softmax(SCORES)[:, 2]),
        (objectives.log_probability(), jnp.log(jax.nn.softmax(SCORES)[jnp.arange(2), jnp.array([2, 0])])),
        (channel("maps", 3), MAPS[..., 3].mean((1, 2))),
        (channel("maps"), [MAPS[0, ..., 2].mean(), MAPS[1, ..., 0].mean()]),
        (neuron("maps", 1, 0, 4), MAPS[:, 0, 4, 1]),
        (neuron("maps", 1), MAPS[:, 1, 2, 1]),
        (direction("maps", [1, 0, -2, 0]), (MAPS[..., 0] - 2 * MAPS[..., 2]).mean((1, 2))),
        (deep_dream("maps"), (MAPS**2).mean((1, 2, 3))),
        (smoothness(), losses.total_variation(IMAGES) / IMAGES[0].size),
        (objectives.batch_norm_matching(), [0.0, 0.0]),
    ],
)
def test_each_objective_by_hand(objective, expected):
    np.testing.assert_allclose(objective(IMAGES, RESPONSE), expected, rtol=1e-5)


def test_they_add_subtract_and_scale():
    def redness(images, response):
        return images[..., 0].mean((1, 2))

    red = IMAGES[..., 0].mean((1, 2))
    rough = smoothness()(IMAGES, RESPONSE)
    for objective, expected in (
        (
            logit(1) + 0.5 * logit(2) - 2 * smoothness(),
            SCORES[:, 1] + SCORES[:, 2] / 2 - 2 * rough,
        ),
        (-(logit(1) - redness) * 3, 3 * (red - SCORES[:, 1])),
        (redness - logit(1), red - SCORES[:, 1]),
        (redness + logit(1), red + SCORES[:, 1]),
    ):
        np.testing.assert_allclose(objective(IMAGES, RESPONSE), expected, rtol=1e-5)
    assert logit(1) - 2 * channel("maps", 1) == logit(1) - 2 * channel("maps", 1)
    assert len({logit(1), logit(1), logit(2)}) == 2


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        (logit(3), "no class with index 3: there are 3"),
        (channel("maps", 4), "no channel with index 4: there are 4"),
        (channel("other", 0), 'no layer named "other": there are maps'),
        (neuron("maps", 0, 3, 0), "no neuron at row 3, column 0"),
        (direction("maps", [1.0]), "a direction in maps has 4 numbers, got 1"),
        (logit() + (lambda images, response: images), "one number for each image"),
    ],
)
def test_what_is_not_there_is_refused(objective, words):
    with pytest.raises(InputError, match=words):
        objective(IMAGES, RESPONSE)


def test_scores_and_maps_are_asked_for_where_they_are_missing():
    with pytest.raises(InputError, match="needs the scores of classes"):
        logit(0)(IMAGES, RESPONSE._replace(scores=None))
    with pytest.raises(InputError, match=r"give net.intermediates or net.outputs"):
        channel("maps", 0)(IMAGES, RESPONSE._replace(maps={}))


def test_the_recipes_are_such_sums():
    """Bit for bit."""
    options = {**OPTIONS, "steps": 12}
    recipe = synth.Recipe()
    penalties = 30.0 * objectives.batch_norm_matching()
    whole = -recipe.total_variation * smoothness() - 4.0 * diversity(2) + logit() - penalties
    made = synth.dream(colours, VARIABLES, [2, 0], objective=whole, variants=2, **options)
    assert np.array_equal(made.images, synth.ideal(colours, VARIABLES, [2, 0], variants=2, **options))
    pixel = synth.PixelRecipe()
    whole = pixel.objective(10.0 * objectives.log_probability())
    made = synth.dream(colours, VARIABLES, [1], objective=whole, method="pixel", **options)
    assert np.array_equal(made.images, synth.ideal(colours, VARIABLES, [1], method="pixel", **options))


def test_a_class_and_a_channel_at_once():
    objective = logit(0) + channel("halves", 2)
    recipe = synth.Recipe(0.3, transforms=STILL)
    made = synth.dream(both, VARIABLES, objective=objective, variants=2, recipe=recipe, **OPTIONS)
    colour = made.images.mean((1, 2))
    assert made.images.shape == (2, 32, 32, 3)
    assert (colour.argmin(1) == 1).all()  # red by its class, blue by the channel
    away = synth.dream(both, VARIABLES, objective=-objective, recipe=recipe, **OPTIONS).images.mean((0, 1, 2))
    assert int(away.argmax()) == 1


def test_a_photo_is_started_from():
    start = jnp.broadcast_to(jnp.linspace(0, 1, 32)[:, None, None], (1, 32, 32, 3))
    options = {**OPTIONS, "steps": 1, "start": start}
    for method in ("fourier", "pixel"):
        recipe = {"fourier": synth.Recipe(1e-4), "pixel": synth.PixelRecipe(1e-4)}[method]
        images = synth.ideal(colours, VARIABLES, [0, 1], method=method, recipe=recipe, **options)
        np.testing.assert_allclose(images, jnp.concatenate([start, start]), atol=0.01)
    with pytest.raises(InputError, match=r"start must be 1 or 2 images of 32 x 32 pixels, got \(1, 16, 32, 3\)"):
        synth.ideal(colours, VARIABLES, [0, 1], **{**options, "start": start[:, :16]})
