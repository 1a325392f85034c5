"""Training against attacks: the attack itself, the step that makes it, and what a network gains by it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.eight_devices import toy_net, toy_source
from tests.synth.toy import curved, curved_variables
from tests.transfer.test_train_step import LABELS, same, toy_apply, toy_batch, toy_run, toy_variables, trained
from tljax import synth
from tljax.cli import parse
from tljax.errors import InputError
from tljax.transfer import FinetuneConfig, Hooks, finetune, init_state, make_optimizer, make_train_step, state_variables
from tljax.transfer.adversarial import perturbed
from tljax.transfer.config import make_config
from tljax.transfer.config_file import config_from_file, recorded_options
from tljax.transfer.preemption import Preempted

pytestmark = pytest.mark.usefixtures("quick_to_compile")

EPS = 4 / 255
KEY = jax.random.key(0)


def pictures(low=60, high=196):
    levels = np.random.default_rng(0).integers(low, high, (8, 6, 6, 3))
    return jnp.asarray(levels, jnp.float32) / 255


def toy_loss(images):
    logits, _ = toy_apply(toy_variables(), images)
    return -jax.nn.log_softmax(logits)[:, 0].sum()


@pytest.mark.parametrize("eps", [EPS, 0.5, 1.0])
def test_an_attack_stays_within_its_budget_and_between_black_and_white(eps):
    images = pictures(0, 256)
    moved = perturbed(toy_loss, images, eps=eps, key=KEY)
    assert moved.dtype == jnp.float32
    assert float(jnp.abs(moved - images).max()) <= eps + 1e-6
    assert 0 <= float(moved.min()) <= float(moved.max()) <= 1


def test_it_raises_the_loss_more_than_noise_does_and_more_with_more_steps():
    images, variables = pictures(), curved_variables()

    def loss(x):
        return -jax.nn.log_softmax(curved(variables, x))[:, 0].sum()

    losses = [float(loss(perturbed(loss, images, eps=EPS, steps=steps, key=KEY))) for steps in (1, 3, 20)]
    noise = float(loss(images + jax.random.uniform(KEY, images.shape, minval=-EPS, maxval=EPS)))
    assert max(float(loss(images)), noise) < losses[0] < losses[1] < losses[2]


def test_of_a_linear_loss_it_finds_the_worst_images():
    direction = jnp.where(pictures() > 0.5, 1.0, -2.0)
    moved = perturbed(lambda x: (direction * x).sum(), pictures(), eps=EPS, key=KEY)
    np.testing.assert_allclose(moved, pictures() + EPS * jnp.sign(direction), atol=1e-6)


def test_a_budget_too_small_for_float32_changes_nothing():
    np.testing.assert_array_equal(perturbed(toy_loss, pictures(), eps=1e-10, key=KEY), pictures())


def test_without_a_gradient_an_image_stays_at_its_random_start():
    """Also where the gradient is NaN; the other images are attacked all the same."""
    images = pictures()
    start = perturbed(lambda x: 0 * x.sum(), images, eps=EPS, key=KEY)
    assert 0 < float(jnp.abs(start - images).max()) <= EPS + 1e-6
    moved = perturbed(lambda x: x[0].sum() + (x[1] * jnp.nan).sum(), images, eps=EPS, key=KEY)
    np.testing.assert_array_equal(moved[1:], start[1:])
    np.testing.assert_allclose(moved[0], images[0] + EPS, atol=1e-6)


def linear_apply(variables, images, *, key=None, update_stats=()):
    head = variables["params"]["head"]
    return jnp.einsum("bhwc,hwck->bk", images - 0.5, head["kernel"]) + head["bias"], {}


def frail_batch(seed, count=64):
    """Red tells the class of 9 photos in 10 by 40 levels; green and blue of all, by 2, which an attack hides."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count).astype(np.int32)
    told = np.where(rng.random(count) < 0.9, labels, 1 - labels)
    levels = 128 + rng.integers(-1, 2, (count, 6, 6, 3))
    levels[..., 0] += (40 * (2 * told - 1))[:, None, None]
    levels[..., 1:] += (2 * (2 * labels - 1))[:, None, None, None]
    return {"images": levels.astype(np.uint8), "labels": labels, "mask": np.ones(count, bool)}


def frail_network(adversarial):
    labels = {"head": {"kernel": 0, "bias": 0}}
    zeros = {"head": {"kernel": jnp.zeros((6, 6, 3, 2)), "bias": jnp.zeros(2)}}
    optimizer = make_optimizer(labels, lr=0.1, steps=200, weight_decay=0)
    state, frozen = init_state({"params": zeros, "batch_stats": {}}, labels, optimizer)
    step = make_train_step(linear_apply, optimizer, size=6, adversarial=adversarial, label_smoothing=0)
    for number in range(200):
        state, metrics = step(state, frozen, frail_batch(number), key=KEY)
    return state_variables(state, frozen), metrics


def test_it_makes_a_network_robust_that_was_not():
    batch = frail_batch(1000, 200)
    images, labels = batch["images"].astype(np.float32) / 255, batch["labels"]

    def scores(variables, images):
        return linear_apply(variables, images)[0]

    right = {}
    for adversarial in (None, EPS):
        variables, metrics = frail_network(adversarial)
        attacked = synth.pgd(scores, variables, images, labels, eps=EPS, steps=20, key=KEY)
        shown = {"clean": images, "attacked": attacked}
        right[adversarial] = {name: np.mean(scores(variables, x).argmax(-1) == labels) for name, x in shown.items()}
    assert right[None]["clean"] > 0.98
    assert right[None]["attacked"] < 0.2
    assert right[EPS]["attacked"] > 0.8
    assert metrics["accuracy"] < 0.98, "it is measured on attacked photos"


def test_a_vanishing_budget_makes_the_steps_that_none_makes():
    for first, second in zip(toy_run(adversarial=1e-12), toy_run(), strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), first, second)


def test_the_step_traces_its_loss_as_often_however_many_steps_there_are():
    counts = []
    for steps in (1, 4):
        traces = []

        def counted(variables, images, *, traces=traces, **options):
            traces.append(1)
            return toy_apply(variables, images, **options)

        toy_run(steps=steps, apply=counted, adversarial=EPS)
        counts.append(len(traces))
    assert counts[0] == counts[1]


def test_rows_that_are_no_photos_have_no_part_in_it():
    optimizer = make_optimizer(trained(LABELS), lr=0.1, steps=10)
    step = make_train_step(toy_apply, optimizer, size=6, adversarial=EPS)
    results = []
    for level in (0, 255):
        state, frozen = init_state(toy_variables(), LABELS, optimizer)
        batch = toy_batch()
        batch["images"][6:], batch["mask"] = level, np.arange(8) < 6
        results.append(step(state, frozen, batch, key=KEY))
    jax.tree.map(np.testing.assert_array_equal, *results)


@pytest.fixture(scope="module")
def net():
    return toy_net()


@pytest.fixture(scope="module")
def photos():
    return toy_source().subset([0, 1, 2, 3, 4, 6, 7, 8])


TUNE = FinetuneConfig(epochs=2, batch_size=4, freeze=("params/stage1_.*",), adversarial=2 / 255)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_a_run_that_goes_on_ends_as_an_unbroken_one_bit_for_bit(net, photos, dtype):
    """With dropout, and with batch norm, whose statistics no attack may touch."""
    net, saved, lines = net.replace(dtype=dtype), [], []

    def before_step(number):
        if number == 3:
            raise Preempted

    def keep(state):
        saved.append(jax.tree.map(np.array, state))

    whole, history = finetune(net, photos, config=TUNE, key=KEY)
    hooks = Hooks(before_step=before_step, save=keep, record=lines.append)
    with pytest.raises(Preempted):
        finetune(net, photos, config=TUNE, key=KEY, hooks=hooks)
    hooks = Hooks(start=lambda _: (jax.tree.map(jnp.array, saved[-1]), list(lines)))
    resumed, _ = finetune(net, photos, config=TUNE, key=KEY, hooks=hooks)
    assert same(resumed.variables, whole.variables)
    assert same(whole.variables["batch_stats"], net.variables["batch_stats"])
    assert not same(whole.variables["params"], net.variables["params"])
    assert all(np.isfinite(line["loss"]) for line in history if "loss" in line)


def test_the_statistics_of_the_batch_move_once_in_a_step_however_many_gradients_the_attack_takes():
    def halfway_apply(variables, images, **options):
        logits, _ = toy_apply(variables, images)
        return logits, {"norm": (variables["batch_stats"]["norm"] + images.mean()) / 2}

    optimizer = make_optimizer(trained(LABELS), lr=0.1, steps=10)
    step = make_train_step(halfway_apply, optimizer, size=6, adversarial=1e-12, update_stats=("norm",))
    state, frozen = init_state({**toy_variables(), "batch_stats": {"norm": jnp.zeros(())}}, LABELS, optimizer)
    state, _ = step(state, frozen, toy_batch(), key=KEY)
    np.testing.assert_allclose(state.batch_stats["norm"], toy_batch()["images"].mean() / 255 / 2, rtol=1e-5)


def test_a_budget_is_a_fraction_or_a_number_and_config_json_repeats_it(tmp_path):
    for given in ("2/255", str(2 / 255)):
        options = parse(["train", "photos", "--out", "run", "--mode", "finetune", "--adversarial", given]).options
        assert options.adversarial == 2 / 255
    (tmp_path / "config.json").write_text(json.dumps({"options": recorded_options(options)}))
    assert config_from_file(tmp_path / "config.json") == options
    again = parse(["train", "--out", "run", "--config", str(tmp_path / "config.json")]).options
    assert again.adversarial == 2 / 255
    older = {name: value for name, value in recorded_options(options).items() if name != "adversarial"}
    (tmp_path / "config.json").write_text(json.dumps({"options": older}))
    assert config_from_file(tmp_path / "config.json").adversarial is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"adversarial": 2 / 255}, "--adversarial goes with --mode finetune"),
        ({"adversarial": 2, "mode": "finetune"}, "--adversarial is 2: expected above 0 and at most 1, such as 2/255"),
        ({"adversarial": 0.0, "mode": "finetune"}, "--adversarial is 0: expected above 0"),
        ({"adversarial": -1 / 255, "mode": "finetune"}, "expected above 0"),
        ({"adversarial": float("nan"), "mode": "finetune"}, "--adversarial is nan"),
    ],
)
def test_a_budget_that_cannot_be_is_refused_in_one_line(options, message):
    with pytest.raises(InputError, match=message) as refused:
        make_config(**options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("given", ["2/0", "2/x", "two"])
def test_what_is_no_number_is_refused_by_the_command_line(given):
    with pytest.raises(InputError, match="adversarial"):
        parse(["train", "photos", "--out", "run", "--mode", "finetune", "--adversarial", given])
