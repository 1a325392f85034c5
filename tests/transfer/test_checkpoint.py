import shutil
import subprocess
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tljax.errors import InputError
from tljax.transfer.checkpoint import Checkpoints, restore, save


class State(NamedTuple):
    params: dict
    opt_state: tuple
    step: jax.Array


def a_state(step, value=1.0):
    params = {"head": {"kernel": jnp.full((3, 2), value)}, "stem": None}
    return State(params, optax.adamw(1e-3).init(params), jnp.int32(step))


def put(checkpoints, state):
    checkpoints.take(state)
    checkpoints.write()


def put_all(folder, states):
    with Checkpoints(folder) as checkpoints:
        for state in states:
            put(checkpoints, state)


def check_same(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_a_tree_comes_back_bit_for_bit(tmp_path):
    tree = {"params": {"kernel": np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)}, "batch_stats": {}}
    save(tmp_path / "one", tree)
    check_same(restore(tmp_path / "one", tree), tree)


@pytest.mark.parametrize(
    "abstract",
    [
        {"kernel": jax.ShapeDtypeStruct((3, 2), jnp.float32)},
        {"bias": jax.ShapeDtypeStruct((2, 3), jnp.float32)},
    ],
)
def test_another_structure_is_refused_in_one_line(tmp_path, abstract):
    save(tmp_path / "one", {"kernel": np.ones((2, 3), np.float32)})
    with pytest.raises(InputError, match="cannot read the checkpoint") as caught:
        restore(tmp_path / "one", abstract)
    assert "\n" not in str(caught.value)


def test_a_missing_or_emptied_checkpoint_is_refused(tmp_path):
    with pytest.raises(InputError, match="missing"):
        restore(tmp_path / "none", {})
    save(tmp_path / "one", {"kernel": np.ones(4, np.float32)})
    shutil.rmtree(tmp_path / "one" / "state")
    with pytest.raises(InputError, match="cannot read the checkpoint"):
        restore(tmp_path / "one", {"kernel": jax.ShapeDtypeStruct((4,), jnp.float32)})


def test_the_latest_states_are_kept_with_their_types(tmp_path):
    with Checkpoints(tmp_path / "states", keep=2) as checkpoints:
        assert checkpoints.latest() is None
        for step in (1, 2, 3):
            put(checkpoints, a_state(step, float(step)))
    with Checkpoints(tmp_path / "states") as again:
        assert again.latest() == 3
        check_same(again.restore(a_state(0)), a_state(3, 3.0))
    assert sorted(path.name for path in (tmp_path / "states").iterdir() if path.name.isdigit()) == ["2", "3"]


def test_a_half_written_state_is_no_state(tmp_path):
    with Checkpoints(tmp_path / "states") as checkpoints:
        put(checkpoints, a_state(5))
    (tmp_path / "states" / "9.orbax-checkpoint-tmp").mkdir()
    with Checkpoints(tmp_path / "states") as again:
        assert again.latest() == 5


def test_a_state_may_be_given_away_while_it_is_written(tmp_path):
    """A step that gives its state away reuses the memory: what is written must not see that."""
    forget = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf * 0 - 1, state), donate_argnums=0)
    large = State({"kernel": jnp.full((512, 1024), 7.0)}, (), jnp.int32(1))
    with Checkpoints(tmp_path / "states") as checkpoints:
        checkpoints.take(large)
        gone = forget(large)
        checkpoints.write()
        gone = forget(gone)
    assert large.params["kernel"].is_deleted()
    with Checkpoints(tmp_path / "states") as again:
        found = again.restore(gone)
    assert int(found.step) == 1
    np.testing.assert_array_equal(found.params["kernel"], 7.0)


def test_the_best_state_stays_beside_the_latest(tmp_path):
    with Checkpoints(tmp_path / "states", keep=2, best=lambda: 1) as checkpoints:
        for step in (1, 2, 3, 4):
            put(checkpoints, a_state(step, float(step)))
        check_same(checkpoints.restore(a_state(0)), a_state(4, 4.0))
        check_same(checkpoints.restore(a_state(0), 1), a_state(1, 1.0))
    assert sorted(path.name for path in (tmp_path / "states").iterdir() if path.name.isdigit()) == ["1", "3", "4"]


def test_a_full_disk_is_an_os_error_and_the_state_before_stays(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        noise = jnp.asarray(np.random.default_rng(0).normal(size=(100, 400)), jnp.float32)
        states = [State({"kernel": noise + step}, (), jnp.int32(step)) for step in (1, 2, 3)]
        with pytest.raises(OSError, match="No space left"):
            put_all(disk / "states", states)
        with Checkpoints(disk / "states") as again:
            found = again.restore(State({"kernel": noise}, (), jnp.int32(0)))
        np.testing.assert_array_equal(found.params["kernel"], noise + found.step)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_an_old_state_that_is_half_deleted_does_not_matter(tmp_path):
    with Checkpoints(tmp_path / "states") as checkpoints:
        for step in (1, 2):
            put(checkpoints, a_state(step, float(step)))
    for path in (tmp_path / "states" / "1").rglob("*"):
        if path.is_file() and path.name != "manifest.ocdbt":
            path.unlink()
    with Checkpoints(tmp_path / "states") as again:
        check_same(again.restore(a_state(0)), a_state(2, 2.0))
        put(again, a_state(3, 3.0))
        put(again, a_state(4, 4.0))
        assert again.latest() == 4
