import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import tljax
from tests.synth.toy import l2, levels, linear, linear_variables, photos
from tljax import synth
from tljax.errors import InputError

IMAGES = photos(6, seed=2)
VARIABLES = linear_variables(classes=2)
LABELS = linear(VARIABLES, IMAGES).argmax(-1)


def least_distances():
    """On two linear classes the nearest image of the other class lies straight across the border."""
    w = VARIABLES["w"][..., 0] - VARIABLES["w"][..., 1]
    logits = linear(VARIABLES, IMAGES)
    return np.abs(np.asarray(logits[:, 0] - logits[:, 1])) / np.linalg.norm(w)


def test_it_finds_nearly_the_least_distance_on_a_linear_model():
    found = synth.cw_l2(linear, VARIABLES, IMAGES, 1 - LABELS, targeted=True, quantized=False)
    assert (np.asarray(synth.margin(linear(VARIABLES, found), LABELS)) > 0).all()
    distances = l2(found, IMAGES)
    assert (distances >= least_distances() * 0.999).all()
    assert (distances <= least_distances() * 1.1 + 1e-3).all()


def test_rounded_successes_are_at_8_bit_levels_succeed_and_cost_little():
    found = synth.cw_l2(linear, VARIABLES, IMAGES, LABELS)
    saved = levels(found).astype(np.float32) / np.float32(255)
    np.testing.assert_allclose(found, saved, atol=1e-6)
    assert (np.asarray(synth.margin(linear(VARIABLES, saved), LABELS)) > 0).all()
    assert l2(saved, IMAGES).mean() <= 1.2 * least_distances().mean() + 0.01


def test_a_distance_above_eps_is_no_success_and_the_best_within_eps_comes_back():
    eps = float(least_distances().min() / 2)
    found = synth.cw_l2(linear, VARIABLES, IMAGES, LABELS, eps=eps, steps=90)
    assert (l2(found, IMAGES) <= eps * (1 + 1e-5)).all()
    gained = synth.margin(linear(VARIABLES, found), LABELS)
    assert (np.asarray(gained) < 0).all()
    assert (gained > synth.margin(linear(VARIABLES, jnp.asarray(IMAGES)), LABELS)).all()


@pytest.mark.slow
def test_on_photos_it_needs_no_more_than_a_bisected_pgd_with_as_many_gradients(sample_data):
    """Black and white ones among them, whose pixels lie on their bounds; before rounding as well."""
    net = tljax.for_inference(tljax.load_pretrained("squeezenet1_1.caffe"))
    files = sorted((sample_data / "imagenet_samples").glob("*.jpg"))[7::125][:2]
    files += sorted((sample_data / "cats_dogs_photos").glob("*/*"))[3::100][:2]
    images = np.stack([np.asarray(Image.open(f).convert("RGB").resize((113, 113))) for f in files])
    images = images.astype(np.float32) / np.float32(255)
    shown = np.concatenate([images, (images.mean(-1, keepdims=True) > 0.5).repeat(3, -1)]).astype(np.float32)
    labels = net.scores(net.variables, shown).argmax(-1)
    for quantized in (True, False):
        options = {"norm": "l2", "quantized": quantized, "key": jax.random.key(0)}
        found = synth.cw_l2(net.scores, net.variables, shown, labels, steps=270, **options)
        assert (synth.margin(net.scores(net.variables, found), labels) > 0).all()
        budgets = {"greatest": 2.0, "bisections": 9, "steps": 30}
        _, others = synth.minimal_eps(synth.pgd, net.scores, net.variables, shown, labels, **options, **budgets)
        assert l2(found, shown).mean() <= l2(others, shown).mean()  # single photos may go the other way


def test_another_norm_is_refused():
    with pytest.raises(InputError, match="cw_l2 knows only"):
        synth.cw_l2(linear, VARIABLES, IMAGES, LABELS, norm="linf")
