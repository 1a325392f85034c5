"""Rows over devices: the helpers here, and what runs on eight devices in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from tljax.distributed import sharding

ROOT = Path(__file__).parents[2]
EIGHT = "--xla_force_host_platform_device_count=8"


def run_with_eight(*arguments):
    """The tests of `eight_devices.py`, where a CPU passes for eight devices."""
    environment = {**os.environ, "XLA_FLAGS": EIGHT, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "tests/eight_devices.py"]
    return subprocess.run([*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_eight_devices():
    done = run_with_eight()
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_eight_devices_longer():
    done = run_with_eight("-m", "slow")
    assert done.returncode == 0, done.stdout + done.stderr


def test_padding_adds_zeros_below():
    tree = {"a": np.ones((3, 2), np.uint8), "mask": np.ones(3, bool)}
    padded = sharding.pad_rows(tree, 4)
    np.testing.assert_array_equal(padded["a"], [[1, 1]] * 3 + [[0, 0]])
    np.testing.assert_array_equal(padded["mask"], [True, True, True, False])
    assert (padded["a"].dtype, padded["mask"].dtype) == (np.uint8, bool)
    assert sharding.pad_rows(tree, 3)["a"] is tree["a"]


def test_one_device_is_left_alone():
    one = sharding.data_mesh(jax.devices()[:1])
    tree, function = {"a": np.ones((3, 2))}, len
    assert sharding.spread(one, tree) is tree
    assert sharding.divide(one, tree) is tree
    assert sharding.on(one, function) is function
    assert sharding.whole_rows(7, one) == 7
    assert sharding.sum_over_rows(lambda x: x.sum(0), tree["a"]).tolist() == [3, 3]
