from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tljax import trees
from tljax.models.network import abstract_variables, make_network
from tljax.models.spec import get_spec
from tljax.transfer.freeze import finetune_rules, label_variables, moving_layers, trainable_labels
from tljax.transfer.prediction import make_eval_step
from tljax.transfer.train_step import (
    balanced_weights,
    guard,
    init_state,
    make_optimizer,
    make_schedule,
    make_train_step,
    smoothed_cross_entropy,
    state_variables,
)

pytestmark = pytest.mark.usefixtures("quick_to_compile")

LABELS = {
    "stem": {"kernel": "frozen", "bias": "frozen"},
    "block": {"kernel": 1, "bias": 1},
    "head": {"kernel": 0, "bias": 0},
}


def toy_variables(key=0):
    keys = iter(jax.random.split(jax.random.key(key), 6))
    shapes = {"stem": (3, 4), "block": (4, 4), "head": (4, 2)}
    params = {
        name: {"kernel": jax.random.normal(next(keys), shape), "bias": jax.random.normal(next(keys), shape[1:])}
        for name, shape in shapes.items()
    }
    return {"params": params, "batch_stats": {}}


def toy_apply(variables, images, *, key=None, update_stats=()):
    values = images.mean((1, 2))
    for name in ("stem", "block", "head"):
        values = jnp.tanh(values) @ variables["params"][name]["kernel"] + variables["params"][name]["bias"]
    return values, variables["batch_stats"]


def toy_batch(seed=0, count=8):
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int32) % 2
    images = (rng.integers(0, 100, (count, 6, 6, 3)) + 100 * labels[:, None, None, None]).astype(np.uint8)
    return {"images": images, "labels": labels, "mask": np.ones(count, bool)}


def trained(labels):
    return trees.partition(labels, labels, trainable_labels(labels))[0]


def toy_run(steps=3, apply=toy_apply, **options):
    variables = toy_variables()
    optimizer = make_optimizer(trained(LABELS), lr=0.1, steps=10)
    state, frozen = init_state(variables, LABELS, optimizer)
    step = make_train_step(apply, optimizer, size=6, **options)
    for number in range(steps):
        state, metrics = step(state, frozen, toy_batch(number), key=jax.random.key(0))
    return variables, state_variables(state, frozen), metrics


def test_frozen_leaves_stay_and_the_others_move():
    before, after, _ = toy_run()
    moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), before["params"], after["params"])
    assert moved == {
        "stem": {"kernel": False, "bias": False},
        "block": {"kernel": True, "bias": True},
        "head": {"kernel": True, "bias": True},
    }


def test_the_first_step_is_adamws_own():
    """Adam's first update is the sign of the gradient times the rate: the depths and the decay are seen bare."""
    optimizer = make_optimizer(trained(LABELS), lr=0.1, steps=10, depth_decay=0.5, weight_decay=0.3, clip=1e9)
    params = trees.partition(toy_variables()["params"], LABELS, {0, 1})[0]
    grads = jax.tree.map(jnp.ones_like, params)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    for name, rate in (("head", 0.1), ("block", 0.05)):
        kernel = params[name]["kernel"]
        np.testing.assert_allclose(updates[name]["kernel"], -rate * (1 + 0.3 * kernel), rtol=1e-4)
        np.testing.assert_allclose(updates[name]["bias"], -rate * np.ones_like(params[name]["bias"]), rtol=1e-5)


def test_the_masked_form_gives_the_same_updates():
    """Whole tree with zeroed updates for "frozen", or only the trainable part: the same, over several steps."""
    variables = toy_variables()
    part = make_optimizer(trained(LABELS), lr=0.1, steps=10, warmup=2, clip=0.5)
    state, frozen = init_state(variables, LABELS, part)
    step = make_train_step(toy_apply, part, size=6)
    whole = make_optimizer(LABELS, lr=0.1, steps=10, warmup=2, clip=0.5)
    params, opt_state = variables["params"], whole.init(variables["params"])

    def loss(params, batch):
        logits, _ = toy_apply({"params": params, "batch_stats": {}}, batch["images"].astype(np.float32) / 255)
        return smoothed_cross_entropy(logits, batch["labels"], smoothing=0.1).mean()

    for number in range(5):
        batch = toy_batch(number)
        state, _ = step(state, frozen, batch, key=jax.random.key(0))
        updates, opt_state = whole.update(jax.grad(loss)(params, batch), opt_state, params)
        params = optax.apply_updates(params, updates)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        state_variables(state, frozen)["params"],
        params,
    )
    np.testing.assert_array_equal(params["stem"]["kernel"], variables["params"]["stem"]["kernel"])


def test_a_run_is_traced_once():
    traces = []

    def counted(variables, images, **options):
        traces.append(1)
        return toy_apply(variables, images, **options)

    toy_run(steps=4, apply=counted)
    assert len(traces) == 1


def test_masked_rows_have_no_part_in_loss_or_accuracy():
    whole, wrong = toy_batch(count=8), toy_batch(count=8)
    wrong["images"] = wrong["images"].copy()
    wrong["images"][6:] = 255
    optimizer = make_optimizer(trained(LABELS), lr=0.1, steps=10)
    step = make_train_step(toy_apply, optimizer, size=6)
    results = []
    for batch in (whole, wrong):
        state, frozen = init_state(toy_variables(), LABELS, optimizer)
        batch["mask"] = np.arange(8) < 6
        results.append(step(state, frozen, batch, key=jax.random.key(0)))
    jax.tree.map(np.testing.assert_array_equal, *results)


def test_the_loss_falls_on_separable_pictures():
    _, _, first = toy_run(steps=1)
    _, after, last = toy_run(steps=10)
    assert last["loss"] < first["loss"]
    probs = make_eval_step(lambda v, x: toy_apply(v, x)[0], toy_apply, size=6)(after, toy_batch(50)["images"])[0]
    assert (probs.argmax(-1) == toy_batch(50)["labels"]).mean() >= 0.75
    np.testing.assert_allclose(probs.sum(-1), 1, rtol=1e-5)


def test_class_weights_scale_each_class():
    _, _, even = toy_run(steps=1, class_weights=jnp.array([1.0, 1.0]))
    _, _, plain = toy_run(steps=1)
    _, _, only = toy_run(steps=1, class_weights=jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(even["loss"], plain["loss"], rtol=1e-6)
    variables, batch = toy_variables(), toy_batch()
    logits, _ = toy_apply(variables, batch["images"].astype(np.float32) / 255)
    losses = smoothed_cross_entropy(logits, batch["labels"], smoothing=0.1)
    np.testing.assert_allclose(only["loss"], losses[batch["labels"] == 1].mean(), rtol=1e-5)


def test_smoothing_is_optaxs():
    logits = jax.random.normal(jax.random.key(0), (5, 4))
    labels = jnp.array([0, 1, 2, 3, 0])
    targets = optax.smooth_labels(jax.nn.one_hot(labels, 4), 0.2)
    np.testing.assert_allclose(
        smoothed_cross_entropy(logits, labels, smoothing=0.2), optax.softmax_cross_entropy(logits, targets), rtol=1e-5
    )


def test_the_schedule_warms_up_and_ends_at_zero():
    schedule = make_schedule(0.4, steps=20, warmup=4)
    np.testing.assert_allclose([schedule(s) for s in (0, 2, 4, 12, 20)], [0, 0.2, 0.4, 0.2, 0], atol=1e-7)
    assert make_schedule(0.4, steps=1, warmup=1)(0) == pytest.approx(0.4)


def test_balanced_weights_give_each_class_the_same_total():
    weights = balanced_weights(np.array([0, 0, 0, 1]), 2)
    np.testing.assert_allclose(weights * [3, 1], [2, 2], rtol=1e-6)


WHITE = 255 * np.ones((8, 6, 6, 3), np.uint8)


def brittle_apply(variables, images, **options):
    """No finite logits for a batch that is all white."""
    logits, stats = toy_apply(variables, images, **options)
    return jnp.where(images.min() > 0.999, jnp.inf, logits), stats


def brittle_run(order, *, skip, guarded=True):
    """Steps on white ("w") and usual (".") batches: (states before each and after all, metrics of each)."""
    optimizer = make_optimizer(trained(LABELS), lr=0.1, steps=10)
    state, frozen = init_state(toy_variables(), LABELS, optimizer)
    step = make_train_step(brittle_apply, optimizer, size=6, skip_nonfinite=skip)
    step = guard(step) if guarded else step
    states, found = [jax.device_get(state)], []
    for number, kind in enumerate(order, 1):
        batch = toy_batch(number) | ({"images": WHITE} if kind == "w" else {})
        given = {"number": number} if guarded else {}
        state, metrics = step(state, frozen, batch, key=jax.random.key(0), **given)
        states.append(jax.device_get(state))
        found.append(metrics)
    return states, found


def same(first, second):
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, first, second)))


def test_a_step_that_is_not_finite_changes_nothing_and_stops_those_after_it():
    states, metrics = brittle_run(".w..", skip=0)
    assert not np.isfinite(metrics[1]["loss"])
    assert not same(states[0], states[1])
    assert all(same(states[1], later) for later in states[2:])
    assert int(states[-1].step) == 1
    free, _ = brittle_run(".w.", skip=0, guarded=False)
    assert (int(free[-1].step), same(free[2].params, free[3].params)) == (2, False)


def test_as_many_such_steps_as_allowed_are_passed_over():
    states, _ = brittle_run(".w.w.", skip=1)
    assert [int(state.step) for state in states] == [0, 1, 2, 3, 3, 3]
    assert [int(state.skipped) for state in states] == [0, 0, 1, 1, 1, 1]
    assert same(states[1][:3], states[2][:3])
    assert not same(states[2].params, states[3].params)
    assert same(states[3], states[5])


def test_bfloat16_keeps_loss_statistics_and_parameters_in_float32(small):
    """The stem is trained, so that its statistics are means over many rounded activations: float32 averages these."""
    batch = {name: toy_batch()[name] for name in ("labels", "mask")}
    batch["images"] = np.random.default_rng(0).integers(0, 256, (8, 36, 36, 3), dtype=np.uint8)
    labels = label_variables(small.variables, finetune_rules(small.spec, ("params/stage.*",)))
    optimizer = make_optimizer(trained(labels["params"]), lr=0.01, steps=4)
    results = {}
    for dtype in ("float32", "bfloat16"):
        net = small.replace(dtype=dtype)
        state, frozen = init_state(net.variables, labels["params"], optimizer)
        step = make_train_step(net.apply_train, optimizer, size=32, update_stats=moving_layers(labels))
        results[dtype] = step(state, frozen, batch, key=jax.random.key(0))
    state, measures = results["bfloat16"]
    assert {leaf.dtype.name for leaf in jax.tree.leaves((state, measures))} == {"float32", "int32"}
    stem = trees.flatten(state.batch_stats["stem"])
    for leaf in (measures["loss"], state.params["head"]["kernel"], *stem.values()):
        assert (leaf.astype(jnp.bfloat16).astype(jnp.float32) != leaf).any(), "it was rounded to bfloat16"
    for path, exact in trees.flatten(results["float32"][0].batch_stats["stem"]).items():
        np.testing.assert_allclose(stem[path], exact, rtol=2e-3, atol=2e-3)


@pytest.fixture(scope="module")
def small():
    """A real residual network, as a trained run has it: random weights, statistics away from 0 and 1."""
    spec = replace(get_spec("resnet18"), head="linear", classes=("a", "b"), input_size=32)
    rng = np.random.default_rng(0)
    drawn = {}
    for path, leaf in trees.flatten(abstract_variables(spec)).items():
        noise = rng.normal(size=leaf.shape)
        drawn[path] = 1 + 0.1 * np.abs(noise) if path.endswith(("scale", "var")) else 0.05 * noise
    return make_network(spec, jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), trees.unflatten(drawn)))


def real_run(net, *, moving=False, steps=2):
    labels = label_variables(net.variables, finetune_rules(net.spec, ("params/(stem|stage[1-3]_).*",)))
    optimizer = make_optimizer(trained(labels["params"]), lr=0.01, steps=4)
    state, frozen = init_state(net.variables, labels["params"], optimizer)
    stats = moving_layers(labels) if moving else ()
    step = make_train_step(net.apply_train, optimizer, size=32, update_stats=stats)
    batch = {name: toy_batch()[name] for name in ("labels", "mask")}
    batch["images"] = np.random.default_rng(0).integers(0, 256, (8, 36, 36, 3), dtype=np.uint8)
    for _ in range(steps):
        state, _ = step(state, frozen, batch, key=jax.random.key(0))
    return trees.flatten(net.variables), trees.flatten(state_variables(state, frozen)), trees.flatten(labels)


def test_frozen_parameters_and_all_statistics_are_bit_identical(small):
    before, after, labels = real_run(small)
    assert all(np.isfinite(leaf).all() for leaf in before.values()), "the network's own arrays were given away"
    assert before.keys() == after.keys()
    same = {path for path in before if np.array_equal(before[path], after[path])}
    still = {path for path, name in labels.items() if name in ("frozen", "batch_stats")}
    assert any(path.startswith("batch_stats/stage4") for path in still)
    assert same == still


def test_only_the_statistics_of_trained_layers_follow_the_data_when_asked(small):
    before, after, _ = real_run(small, moving=True, steps=1)
    moved = {
        path.split("/")[1]
        for path in before
        if path.startswith("batch_stats/") and not np.array_equal(before[path], after[path])
    }
    assert moved == {"stage4_block0", "stage4_block1"}
