"""With 64-bit numbers switched on, images and draws stay float32, and come out the same; each public name works."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

CODE = """
import sys
import jax, jax.numpy as jnp, numpy as np
from tests.synth.toy import curved, curved_variables, photos
from tests.synth.test_ideal import VARIABLES, colours, halves
from tljax import synth
from tljax.synth.photo_attack import ATTACKS

images, variables = photos(3), jax.tree.map(lambda leaf: leaf.astype(jnp.float32), curved_variables())
labels, key = curved(variables, images).argmax(-1), jax.random.key(0)
made = {}
for name, attack in ATTACKS.items():
    for norm in ("l2",) if name in ("cw_l2",) else ("linf", "l2"):
        found = attack(curved, variables, images, labels, eps=0.1, norm=norm, steps=3, key=key)
        made[name + norm] = getattr(found, "images", found)
for method in ("fourier", "pixel"):
    options = {"key": key, "steps": 3, "size": 32, "method": method}
    made[method] = synth.ideal(colours, {"scale": jnp.float32(20)}, [1, 0], variants=2, **options)
    made[method + " layer"] = synth.ideal(halves, {"scale": jnp.float32(20)}, [1], layer="halves", **options)
assert all(images.dtype == jnp.float32 for images in made.values()), made
np.savez(sys.argv[1], **made)
"""


@pytest.mark.slow
def test_attacks_and_ideal_images_are_float32_under_x64(tmp_path):
    found = []
    for x64 in ("0", "1"):
        environment = {**os.environ, "JAX_ENABLE_X64": x64, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
        command = [sys.executable, "-c", CODE, str(tmp_path / f"{x64}.npz")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found.append(np.load(tmp_path / f"{x64}.npz"))
    for name in found[0]:
        if "layer" in name:  # of these the dtype alone is compared
            continue
        # first steps by a gradient's sign or by Adam are of one length whatever the gradient: rounding shows in pixels
        apart = np.abs(found[0][name] - found[1][name])
        assert np.quantile(apart, 0.99) < 1e-2, name


@pytest.mark.slow
def test_every_example_runs_under_x64():
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-k", "examples_run", "tests/test_examples.py"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env={**os.environ, "JAX_ENABLE_X64": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
