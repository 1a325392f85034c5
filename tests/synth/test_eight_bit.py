import numpy as np
import pytest

from tljax.errors import InputError
from tljax.synth import quantize, to_bytes
from tljax.synth.eight_bit import check_budget, norms, parse_budget


def eight_bit_images(seed, shape=(2, 6, 6, 3), low=0, high=256):
    return np.random.default_rng(seed).integers(low, high, shape).astype(np.float32) / np.float32(255)


def levels(images):
    return np.round(np.asarray(images, np.float64) * 255).astype(int)


@pytest.mark.parametrize(("change", "kept"), [(0.49, 0), (0.51, 1), (2.4, 2), (2.6, 2), (-2.6, -2), (-1.2, -1)])
def test_linf_rounds_to_the_nearest_level_inside_the_budget(change, kept):
    original = np.full((1, 1, 1, 1), 100 / 255, np.float32)
    result = quantize(original + np.float32(change / 255), original, 2.7 / 255)
    assert levels(result).item() == 100 + kept


def test_linf_budget_of_whole_steps_is_reached_exactly_after_a_byte_round_trip():
    original = eight_bit_images(0)
    eps = 4 / 255
    moved = np.clip(original + np.where(eight_bit_images(1) > 0.5, eps, -eps), 0, 1).astype(np.float32)
    saved = np.asarray(to_bytes(quantize(moved, original, eps))).astype(int)
    assert abs(saved - levels(original)).max() == 4
    assert (saved == levels(moved)).all()


def test_linf_holds_for_originals_between_8_bit_levels():
    original = np.random.default_rng(2).uniform(0, 1, (2, 6, 6, 3)).astype(np.float32)
    result = np.asarray(quantize(np.clip(original + 0.02, 0, 1), original, 0.02), np.float64)
    assert np.abs(result - original).max() <= 0.02 + 5e-6
    np.testing.assert_allclose(result * 255, np.round(result * 255), atol=1e-4)


def test_l2_never_exceeds_the_norm_of_the_change_and_loses_little_of_it():
    rng = np.random.default_rng(3)
    original = eight_bit_images(3, low=40, high=200)
    for size in (0.2, 1.5, 6.0):  # levels: most changes are below half a level in the first
        change = (rng.normal(size=original.shape) * size / 255).astype(np.float32)
        before = np.asarray(norms(change))
        result = quantize(original + change, original, 1e9, "l2")
        after = np.asarray(norms(levels(result) / 255 - levels(original) / 255))
        assert (after <= before * (1 + 1e-5)).all()
        assert (after >= 0.85 * before).all()


def test_l2_is_held_to_eps_and_an_unchanged_image_stays_unchanged():
    original = eight_bit_images(4)
    assert (levels(quantize(original, original, 0.5, "l2")) == levels(original)).all()
    far = quantize(np.clip(original + np.float32(0.1), 0, 1), original, 0.3, "l2")
    assert (np.asarray(norms(levels(far) / 255 - levels(original) / 255)) <= 0.3 * (1 + 1e-5)).all()


@pytest.mark.parametrize(
    ("eps", "norm", "words"),
    [
        (0, "linf", "above 0"),
        (-0.1, "l2", "above 0"),
        (float("nan"), "linf", "above 0"),
        (4, "linf", "at most 1"),
        (0.9 / 255, "linf", "below one 8-bit step .* quantized=False"),
        (0.9 / 255, "l2", "below one 8-bit step"),
        (np.array([0.1, 0.5 / 255]), "l2", "below one 8-bit step"),
        (0.1, "l1", 'norm must be "linf" or "l2"'),
    ],
)
def test_a_budget_that_cannot_be_used_is_refused_in_one_line(eps, norm, words):
    with pytest.raises(InputError, match=words) as error:
        check_budget(eps, norm)
    assert "\n" not in str(error.value)


def test_usable_budgets_pass():
    for eps, norm in ((1 / 255, "linf"), (1.0, "linf"), (3.0, "l2"), (np.array([0.1, 0.2]), "linf")):
        assert check_budget(eps, norm) is None
    assert check_budget(1e-4, "linf", quantized=False) is None


def test_budgets_as_text():
    assert [parse_budget(text) for text in ("4/255", " 0.02")] == [4 / 255, 0.02]
    for text in ("small", "1/0", ""):
        with pytest.raises(InputError, match="is no budget"):
            parse_budget(text)
