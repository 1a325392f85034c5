"""What is done with a network is done with each kind of them: inverted residual blocks, with gates, transformers."""

import jax
import numpy as np
import pytest

import tljax
from experiments.fuzz.photos import photo
from tests.golden import table
from tests.photos import make_photos
from tljax.synth.heat_map import heat_map
from tljax.synth.photo_attack import attack_photo
from tljax.transfer.onnx_export import write_onnx
from tljax.transfer.training import train
from tljax.weights.load import load_pretrained

pytestmark = pytest.mark.slow
NAMES = ("mobilenet_v3_small", "efficientnet_b0", "vit_tiny_patch16")
SIZE = 32


class Stopped(Exception):
    """In the middle of fine-tuning."""


@pytest.fixture(scope="module", params=NAMES)
def options(request, tmp_path_factory):
    """Those of `train`: weights in which every layer is alive, small photos."""
    folder = tmp_path_factory.mktemp(request.param)
    path = folder / "w.safetensors"
    table.WRITERS["safetensors"](path, table.golden_state(request.param))
    data = make_photos(folder / "photos", {"red": 6, "blue": 6}, size=SIZE, suffix=".png")
    return {"data": data, "model": request.param, "weights": str(path), "image_size": SIZE, "batch_size": 4}


@pytest.fixture(scope="module")
def tuned(options, tmp_path_factory):
    """A fine-tuned run, and what `train` said of it."""
    out = tmp_path_factory.mktemp("runs") / "run"
    return out, train(out=out, mode="finetune", epochs=2, save_every=1, **options)


def test_probe(options, tmp_path):
    result = train(out=tmp_path / "run", **options)
    assert 0 <= result["val_accuracy"] <= 1
    net = tljax.load_run(tmp_path / "run")
    assert tljax.predict(net, [options["data"] / "red"])[0].label in ("red", "blue")


def test_fine_tuning_goes_on_where_it_stopped(options, tuned, tmp_path):
    whole, out = tuned[0], tmp_path / "run"

    def stopping(items, description="", total=None):
        for number, item in enumerate(items):
            if "epoch 2" in description and number == 1:
                raise Stopped
            yield item

    arguments = options | {"out": out, "mode": "finetune", "epochs": 2, "save_every": 1}
    with pytest.raises(Stopped):
        train(**arguments, track=stopping)
    assert not out.exists()
    train(**arguments, resume=True)
    jax.tree.map(np.testing.assert_array_equal, tljax.load_run(out).variables, tljax.load_run(whole).variables)


def test_fine_tuning_changes_the_later_half_only(options, tuned):
    before, after = load_pretrained(options["model"], options["weights"]), tljax.load_run(tuned[0])
    blocks = [path for path in before.variables["params"] if path in after.variables["params"]]
    same = [path for path in blocks if equal(before.variables["params"][path], after.variables["params"][path])]
    assert same
    assert len(same) < len(blocks)
    assert before.spec.last_layer in after.intermediates(after.variables, np.zeros((1, SIZE, SIZE, 3), np.float32))


def test_export_as_onnx(tuned, tmp_path):
    pytest.importorskip("onnxruntime")
    assert write_onnx(tljax.load_run(tuned[0]), tmp_path / "net.onnx")["checked"] < 1e-4


def test_ideal_image_attack_and_explanation(tuned):
    net = tljax.load_run(tuned[0])
    ideal = tljax.synth.ideal(net.scores, net.variables, [0], steps=4, size=SIZE, key=jax.random.key(0))
    assert np.isfinite(np.asarray(ideal)).all()
    picture = photo("red", 0, SIZE)
    attacked = attack_photo(net, picture, key=jax.random.key(0), steps=4)
    assert 0 < attacked["adversarial"]["linf"] <= 1
    heat = heat_map(net, picture, 0)
    assert heat.shape == (SIZE, SIZE)
    assert 0 <= heat.min() <= heat.max() <= 1  # a map of one pixel may speak against the class


def equal(a, b) -> bool:
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))
