import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tljax import metrics
from tljax.errors import InputError
from tljax.transfer import logistic
from tljax.transfer.probe import L2_PATH, fit_probe, predict_probs, stratified_folds


def blobs(seed=0, photos=60, dim=12, classes=3, spread=1.5):
    """Gaussian clouds that overlap, in dimensions of very different scale and offset."""
    generator = np.random.default_rng(seed)
    labels = np.arange(photos) % classes
    centres = np.random.default_rng(99).normal(size=(classes, dim))
    values = centres[labels] + spread * generator.normal(size=(photos, dim))
    return (values * np.geomspace(0.01, 10, dim) + np.linspace(-3, 3, dim)).astype(np.float32), labels


def scaled(features):
    """The features that the objective is defined on."""
    features = features.astype(np.float64)
    std = features.std(0)
    return (features - features.mean(0)) / np.sqrt(std * np.sqrt(np.mean(std**2)))


def untempered(probe, features):
    logits = (features @ probe.kernel.astype(np.float64) + probe.bias) * probe.temperature
    logits = np.exp(logits - logits.max(1, keepdims=True))
    return logits / logits.sum(1, keepdims=True)


@pytest.mark.parametrize(("classes", "photos"), [(2, 150), (3, 150), (3, 30)])  # more and fewer than dimensions
@pytest.mark.parametrize("balanced", [False, True])
def test_solution_is_that_of_scikit_learn(classes, photos, balanced):
    features, labels = blobs(photos=photos, dim=40, classes=classes)
    kept = (labels > 0) | (np.arange(photos) % 4 == 0)
    features, labels = features[kept], labels[kept]
    l2 = 0.02
    probe = fit_probe(features, labels, classes=classes, l2=l2, balanced=balanced)
    # two classes: the reference penalises one vector, w; the symmetric form has two, of -w/2 and w/2
    strength = 1 / (len(labels) * l2) * (2 if classes == 2 else 1)
    reference = LogisticRegression(
        C=strength, tol=1e-8, max_iter=10_000, class_weight="balanced" if balanced else None
    ).fit(scaled(features), labels)
    expected = reference.predict_proba(scaled(features))
    np.testing.assert_allclose(untempered(probe, features), expected, atol=1e-3)


def test_gradient_vanishes_at_the_solution():
    features, labels = blobs()
    probe = fit_probe(features, labels, classes=3, l2=0.1)
    inputs = scaled(features)
    unscale = features.astype(np.float64).std(0)
    kernel = probe.kernel * probe.temperature * np.sqrt(unscale * np.sqrt(np.mean(unscale**2)))[:, None]
    error = (untempered(probe, features) - np.eye(3)[labels]) / len(labels)
    assert np.linalg.norm(inputs.T @ error + 0.1 * kernel) < 3e-5
    assert np.linalg.norm(error.sum(0)) < 3e-5
    assert probe.gradient_norm < 2e-5


def test_duplicated_photos_change_nothing():
    features, labels = blobs(photos=30)
    once = fit_probe(features, labels, classes=3, l2=0.1)
    twice = fit_probe(np.tile(features, (2, 1)), np.tile(labels, 2), classes=3, l2=0.1)
    np.testing.assert_allclose(untempered(once, features), untempered(twice, features), atol=1e-4)


def test_scale_offset_and_constant_dimensions_change_nothing():
    features, labels = blobs()
    plain = fit_probe(features, labels, classes=3, l2=0.1)
    moved = np.concatenate([features * 1e4 + 100, np.full((60, 2), 0.1, np.float32)], 1)
    found = fit_probe(moved, labels, classes=3, l2=0.1)
    assert (found.kernel[-2:] == 0).all()
    np.testing.assert_allclose(predict_probs(found, moved), predict_probs(plain, features), atol=1e-3)


@pytest.mark.parametrize("factor", [1e-25, 1e25])
def test_float32_survives_extreme_scales(factor):
    features, labels = blobs()
    plain = predict_probs(fit_probe(features, labels, classes=3, l2=0.1), features)
    extreme = features * np.float32(factor)
    found = predict_probs(fit_probe(extreme, labels, classes=3, l2=0.1), extreme)
    np.testing.assert_allclose(found, plain, atol=1e-3)


def test_features_that_are_all_equal_give_the_shares_of_the_classes():
    labels = np.array([0] * 30 + [1] * 10)
    probe = fit_probe(np.ones((40, 5), np.float32), labels, classes=2, l2=0.1)
    np.testing.assert_allclose(untempered(probe, np.ones((1, 5))), [[0.75, 0.25]], atol=1e-3)


def test_noise_wants_a_strong_penalty_and_a_clean_signal_a_weak_one():
    labels = np.arange(100) % 2
    noisy = np.random.default_rng(0).normal(size=(100, 120)).astype(np.float32)
    clean = 0.01 * noisy
    clean[:, :2] += 3 * noisy[:, 119:]  # two dimensions go up and down together; their difference is the class
    clean[:, 0] += labels
    noisy[:, 0] += 0.5 * labels
    chosen = {"noisy": fit_probe(noisy, labels, classes=2), "clean": fit_probe(clean, labels, classes=2)}
    assert chosen["noisy"].l2 >= 3
    assert chosen["clean"].l2 <= 0.03
    assert [step["l2"] for step in chosen["clean"].path] == list(L2_PATH)


def test_the_chosen_strength_is_the_strongest_near_the_least_loss():
    features, labels = blobs()
    probe = fit_probe(features, labels, classes=3)
    losses = np.array([step["val_loss"] for step in probe.path])
    chosen = L2_PATH.index(probe.l2)
    assert chosen <= losses.argmin()
    assert losses[chosen] < losses.min() + 0.1
    assert probe.temperature == probe.path[chosen]["temperature"]


def test_temperature_mends_overconfidence():
    features, labels = blobs(photos=90, dim=80, spread=4)
    others, truth = blobs(seed=1, photos=600, dim=80, spread=4)
    probe = fit_probe(features, labels, classes=3, l2=1e-3)
    raw = untempered(probe, others)
    assert probe.temperature > 1.5
    assert metrics.log_loss(predict_probs(probe, others), truth) < 0.7 * metrics.log_loss(raw, truth)
    assert metrics.ece(predict_probs(probe, others), truth) < 0.5 * metrics.ece(raw, truth)


def test_few_separable_photos_do_not_make_it_certain():
    features, labels = blobs(photos=8, dim=4, classes=2, spread=0.01)
    probs = predict_probs(fit_probe(features, labels, classes=2), features)
    assert (probs.argmax(1) == labels).all()
    assert probs.max() < 0.999


def test_balanced_lifts_the_rare_class():
    features, labels = blobs(photos=400, classes=2, spread=4)
    kept = (labels == 0) | (np.arange(400) % 16 == 1)
    others, truth = blobs(seed=1, photos=400, classes=2, spread=4)
    recall = {}
    for balanced in (False, True):
        probe = fit_probe(features[kept], labels[kept], classes=2, balanced=balanced)
        recall[balanced] = np.mean(predict_probs(probe, others[truth == 1]).argmax(1))
    assert recall[True] > recall[False] + 0.2


def test_equal_calls_give_equal_results_and_compile_once():
    features, labels = blobs()
    first = fit_probe(features, labels, classes=3)
    compiled = logistic._solve._cache_size()
    second = fit_probe(features, labels, classes=("a", "b", "c"))
    other = fit_probe(features + 1, labels, classes=3, seed=1, balanced=True)
    assert logistic._solve._cache_size() == compiled
    np.testing.assert_array_equal(first.kernel, second.kernel)
    assert first.path == second.path
    assert other.path != first.path


def test_one_solver_serves_features_of_any_width_beyond_the_photos():
    labels, compiled = np.arange(20) % 2, []
    for width in (30, 50):
        features = np.random.default_rng(width).normal(size=(20, width)) + labels[:, None]
        assert fit_probe(features, labels, classes=2).kernel.shape == (width, 2)
        compiled.append(logistic._solve._cache_size())
    assert compiled[0] == compiled[1]


def test_probabilities_have_the_shape_and_type_promised():
    features, labels = blobs()
    probe = fit_probe(features, labels, classes=3)
    assert (probe.kernel.shape, probe.bias.shape) == ((12, 3), (3,))
    assert (probe.kernel.dtype, probe.bias.dtype) == (np.float32, np.float32)
    probs = predict_probs(probe, jnp.asarray(features[:5]))
    assert probs.dtype == np.float32
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-6)


def test_folds_are_even_within_classes_and_overall():
    labels = np.repeat([0, 1, 2, 3], [17, 23, 2, 1])
    folds = stratified_folds(labels, 5, seed=3)
    assert folds[-1] == -1  # the only photo of its class always teaches
    sizes = np.bincount(folds[:-1], minlength=5)
    assert sizes.max() - sizes.min() <= 1
    for name in range(3):
        held_out = np.bincount(folds[labels == name], minlength=5)
        assert held_out.max() - held_out.min() <= 1
    np.testing.assert_array_equal(folds, stratified_folds(labels, 5, seed=3))
    assert (folds != stratified_folds(labels, 5, seed=4)).any()


def test_a_class_with_one_photo_is_learned():
    features, labels = blobs(photos=21, dim=30, spread=0.1)
    kept = (labels < 2) | (np.arange(21) == 2)
    probe = fit_probe(features[kept], labels[kept], classes=3)
    assert (predict_probs(probe, features).argmax(1) == labels).mean() > 0.9


def test_one_photo_a_class_leaves_nothing_to_choose_by():
    probe = fit_probe(np.eye(3, dtype=np.float32), np.arange(3), classes=3)
    assert (predict_probs(probe, np.eye(3)).argmax(1) == np.arange(3)).all()
    assert probe.temperature == 1
    assert probe.path == [{"l2": 1.0, "val_accuracy": None, "val_loss": None, "temperature": 1.0}]


def bad_row(value):
    features = np.ones((6, 2), np.float32)
    features[4, 1] = value
    return features


@pytest.mark.parametrize(
    ("features", "labels", "options", "message"),
    [
        (bad_row(np.nan), [0, 1] * 3, {}, "row 4"),
        (bad_row(np.inf), [0, 1] * 3, {}, "row 4"),
        (bad_row(2), [0, 1, 2] * 2, {}, "row 2 has label 2"),
        (bad_row(2), [0, -1, 0, 1, 0, 1], {}, "row 1 has label -1"),
        (bad_row(2), [0] * 6, {}, "class 1 has no photo"),
        (bad_row(2), [0] * 6, {"classes": ("cat", "dog")}, 'class "dog" has no photo'),
        (bad_row(2), [0] * 6, {"classes": 1}, "at least 2"),
        (bad_row(2), [0, 1], {}, "expected"),
        (bad_row(2), [0.5, 1] * 3, {}, "integers"),
        (bad_row(2), [0, 1] * 3, {"l2": 0.0}, "l2 is 0.0"),
        (bad_row(2), [0, 1] * 3, {"l2": float("nan")}, "l2 is nan"),
        (bad_row(2), [0, 1] * 3, {"folds": 1}, "folds is 1"),
        (np.zeros((0, 2)), np.zeros(0, int), {}, "expected"),
    ],
)
def test_bad_input_is_refused_by_name(features, labels, options, message):
    with pytest.raises(InputError, match=message):
        fit_probe(features, np.asarray(labels), **{"classes": 2, **options})


def test_groups_are_held_out_together_and_no_class_as_a_whole():
    labels = np.repeat([0, 1, 2], [12, 12, 3])
    groups = np.full(27, -1)
    groups[[0, 5, 7]], groups[[1, 13]], groups[24:] = 4, 9, 2
    folds = stratified_folds(labels, 5, seed=3, groups=groups)
    assert len({*folds[[0, 5, 7]]}) == 1
    assert folds[1] == folds[13]
    assert (folds[24:] == -1).all()  # they are all of their class
    kept = [{*labels[folds != fold]} for fold in range(5)]
    assert kept == [{0, 1, 2}] * 5
    alone = stratified_folds(labels, 5, seed=3, groups=np.full(27, -1))
    np.testing.assert_array_equal(alone, stratified_folds(labels, 5, seed=3))


def test_a_class_whose_photos_are_all_copies_of_another_stays():
    labels, groups = np.array([0, 0, 0, 0, 1, 1]), np.array([7, -1, -1, -1, 7, 7])
    folds = stratified_folds(labels, 5, groups=groups)
    assert folds[[0, 4, 5]].tolist() == [-1, -1, -1]
    fit_probe(np.eye(6, dtype=np.float32), labels, classes=2, groups=groups)
