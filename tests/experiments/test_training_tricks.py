"""The pure functions behind the comparisons, on exact cases."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.training_tricks import (
    ARMS,
    Arm,
    Setting,
    averaged,
    chosen,
    make_optimiser,
    make_program,
    pictures,
    train_one,
)


@pytest.mark.slow
def test_one_program_gives_what_each_run_alone_gives():
    arm = Arm("", (Setting("a", width=8), Setting("b", width=8, dropout=0.5)), (0.001, 0.01), epochs=2, pictures=128)
    data = jax.tree.map(lambda *parts: jnp.stack(parts), *(pictures(arm, seed) for seed in range(2)))
    keys, rates = jax.random.split(jax.random.key(0), 2), jnp.array(arm.rates)
    together = jax.jit(make_program(arm))(keys, rates, data)
    own = jax.tree.map(lambda part: part[1], data)
    alone = train_one(arm.settings[1], arm, keys[1], rates[0], own)
    np.testing.assert_allclose(together[1]["train loss"][1, 0], alone["train loss"], rtol=1e-4)
    assert together[0]["test"].shape == (2, 2, 2)


def test_the_rate_is_chosen_on_validation_pictures_and_judged_on_test_pictures():
    run = {
        "val": np.array([[[0.2, 0.5], [0.9, 0.8]], [[0.2, 0.5], [0.9, 0.8]]]),
        "test": np.array([[[0.3, 0.6], [0.7, 0.1]], [[0.3, 0.4], [0.5, 0.3]]]),
    }
    arm = Arm("", (), (0.1, 1.0), epochs=2)
    last = chosen(Setting("last"), arm, run)
    assert (last["rate"], last["test"]) == (1.0, [0.1, 0.3])
    assert chosen(Setting("best", stop="best"), arm, run)["test"] == [0.7, 0.5]


@pytest.mark.parametrize(("kind", "expected"), [("", 0.0), ("SWA", np.mean([5, 6, 7, 8, 9]))])
def test_averages_of_weights(kind, expected):
    mean = jnp.array(0.0)
    for number in range(10):
        mean = averaged(kind, mean, jnp.array(float(number)), jnp.array(number), 10)
    assert float(mean) == pytest.approx(expected)


def test_ema_forgets_slowly():
    mean = averaged("EMA", jnp.array(1.0), jnp.array(0.0), jnp.array(10_000), 20_000)
    assert float(mean) == pytest.approx(0.98)


def test_clipping_bounds_the_first_step_and_decay_spares_biases():
    setting = Setting("", optimiser="SGD", clip=1.0)
    params, grads = (
        {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
        {"kernel": 9 * jnp.ones((2, 2)), "bias": jnp.ones(2)},
    )
    optimiser = make_optimiser(setting, 0.1, 10)
    updates, _ = optimiser.update(grads, optimiser.init(params), params)
    assert float(optax.global_norm(updates)) == pytest.approx(0.1, rel=1e-5)
    optimiser = make_optimiser(replace(setting, clip=None, weight_decay=2.0), 0.1, 10)
    updates, _ = optimiser.update(jax.tree.map(jnp.zeros_like, grads), optimiser.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.2, rtol=1e-5)
    assert not updates["bias"].any()


def test_a_noisy_comparison_spares_what_it_is_judged_on():
    clean, noisy = (pictures(replace(ARMS["early stopping"], noise=noise), 0) for noise in (0.0, 0.3))
    changed = (clean["train"][1] != noisy["train"][1]).mean()
    assert 0.15 < changed < 0.4
    np.testing.assert_array_equal(clean["val"][1], noisy["val"][1])
    np.testing.assert_array_equal(clean["test"][1], noisy["test"][1])


def test_settings_of_a_comparison_differ_in_one_thing_from_each_other():
    for arm in ARMS.values():
        first = arm.settings[0]
        for other in arm.settings[1:]:
            changed = {name for name in first.__dict__ if getattr(first, name) != getattr(other, name)}
            assert len(changed - {"name"}) <= (2 if "shortcuts" in other.name else 1)
