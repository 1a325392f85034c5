"""What networks say of made pictures."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tljax import synth
from tljax.data.png import read_png, save_png
from tljax.errors import InputError
from tljax.models.network import init_network
from tljax.synth.judging import find_class


@pytest.fixture(scope="module")
def net():
    return init_network("squeezenet1_1", key=jax.random.key(0))


def test_a_picture_of_the_networks_resolution_is_seen_whole(tmp_path, net):
    size = net.spec.input_size
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    image[size // 8 : -size // 8, size // 8 : -size // 8] = 0  # what it says hangs on the margin
    file = save_png(tmp_path / "made.png", image)
    (opinion,) = synth.judge({"net": net}, [read_png(file)], ["7"])
    probs = jax.nn.softmax(net.apply(net.variables, jnp.asarray(image[None], jnp.float32) / 255))[0]
    np.testing.assert_allclose(opinion["net"]["prob"], probs[7], rtol=1e-4)
    assert opinion["net"]["rank"] == 1 + int((probs > probs[7]).sum())
    assert synth.top_class(net, image)[0] == int(probs.argmax())


def test_another_size_is_resized_as_the_spec_says(net):
    ramp = np.broadcast_to(np.arange(96, dtype=np.uint8)[:, None, None], (96, 96, 3))
    shown = {way: synth.uncropped(ramp, replace(net.spec, interpolation=way)) for way in ("bilinear", "bicubic")}
    for image in shown.values():
        assert image.shape == (net.spec.input_size,) * 2 + (3,)
        assert (image.min(), image.max()) == (0, 95)  # to the edges: nothing is cut off
    assert (shown["bilinear"] != shown["bicubic"]).any()


def test_a_name_that_two_tables_have_twice_is_found_by_its_place():
    own, other = ("crane", "cat", "crane"), ("dog", "crane", "crane", "cat")
    assert [find_class(index, own, other) for index in ("0", 1, 2)] == [1, 3, 2]
    with pytest.raises(InputError, match="names 2 entries"):
        find_class("crane", own, other)
    with pytest.raises(InputError, match="one of 2 classes of that name, and here are 1"):
        find_class(0, own, ("crane", "cat"))


def test_makers_are_told_from_judges(net):
    images = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), np.uint8)
    rows = synth.judge_ideals({"a": net, "b": net}, {"c": net}, images, ["7", "9"])
    alone = synth.judge({"c": net}, images, ["7", "9"])
    assert [row["judges"] for row in rows] == alone
    assert [row["class"] for row in rows] == ["7", "9"]
    np.testing.assert_allclose([row["prob"] for row in rows], [row["c"]["prob"] for row in alone], rtol=1e-6)
    with pytest.raises(InputError, match="no class named"):
        synth.judge({"c": net}, images, ["7", "nobody's class"])
