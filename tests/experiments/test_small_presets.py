"""Every experiment runs from its small preset, and writes its results and its page."""

import json

import numpy as np
import pytest

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

    ideal_classes.main(ideal_classes.Config(out=str(tmp_path / "out"), small=True))
    found = results(tmp_path / "out")
    assert set(found["ways"]) == {"pixel + TV", "fourier"}
    for way in found["ways"].values():
        assert len(way["images"]) == 2
        assert all(judge["rank"] >= 1 for image in way["images"] for judge in image["judges"].values())


def test_attack_success(tmp_path, photos):
    from experiments import attack_success

    attack_success.main(attack_success.Config(photos=photos, out=str(tmp_path / "out"), small=True))
    found = results(tmp_path / "out")
    assert found["targeted"]["pgd"]["success"] > found["targeted"]["fgsm"]["success"]
    assert found["targeted"]["pgd"]["linf (255ths)"] <= 4
    assert 0 <= found["untargeted still right"]["pgd"] <= 1


def test_fool_another(tmp_path, photos):
    from experiments import fool_another

    models = ("efficientnet_lite0", "squeezenet1_1.caffe")
    config = fool_another.Config(photos=photos, models=models, out=str(tmp_path / "out"), small=True)
    fool_another.main(config)
    found = results(tmp_path / "out")
    assert found["networks"] == list(models)
    assert set(found["matrices"]) == {"pgd, untargeted", "mi_fgsm, untargeted"}
    untargeted = found["matrices"]["pgd, untargeted"]
    assert untargeted[0][0] == 1.0


def test_oxford_pets(tmp_path):
    from experiments import oxford_pets

    breeds = ("Siamese", "Bengal", "beagle", "pug")
    pets = str(make_photos(tmp_path / "pets", dict.fromkeys(breeds, 6), size=96))
    oxford_pets.main(oxford_pets.Config(data=pets, out=str(tmp_path / "out"), small=True))
    found = results(tmp_path / "out")
    assert set(found["breeds"]) == {*found["models"], "features side by side", "probabilities averaged"}
    assert np.mean(found["breeds"]["features side by side"]) > 0.75
    assert len(found["cat_or_dog"]) == 2
    assert all(list(run) == ["1", "all"] for run in found["shots"]["features side by side"])


def test_where_transfer_ends(tmp_path):
    from experiments import where_transfer_ends

    where_transfer_ends.main(where_transfer_ends.Config(out=str(tmp_path / "out"), small=True))
    found = results(tmp_path / "out")["sets"]["digits"]
    assert found["stages"][-1] == "top"
    assert np.mean(found["by_stage"]["pixels"]) > 0.7
    assert np.mean(found["by_stage"]["top"]) > 0.6
    assert set(found["by_size"]) == {"40", str(found["train"])}
    assert all(distance > 0 for distance in found["distance"].values())


def test_training_tricks(tmp_path):
    from experiments import training_tricks

    training_tricks.main(training_tricks.Config(out=str(tmp_path / "out"), small=True))
    found = results(tmp_path / "out")["arms"]
    assert set(found) == {"batch norm", "averaging"}
    assert found["batch norm"]["runs"] == 8
    assert found["batch norm"]["warm seconds one by one"] > 0
    assert np.mean(found["batch norm"]["settings"]["with"]["test"]) > 0.3


def test_cats_vs_dogs(tmp_path, photos):
    from experiments import cats_vs_dogs

    cats_vs_dogs.main(cats_vs_dogs.Config(data=photos, out=str(tmp_path / "out"), small=True))
    found = results(tmp_path / "out")
    (backbone,) = found["backbones"].values()
    assert all(len(values) == 2 for values in backbone["accuracy"].values())
    assert backbone["trainable"]["probe"] < backbone["trainable"]["tuned"] < backbone["trainable"]["all at once"]
    assert np.mean(backbone["accuracy"]["80 % of all photos, probe"]) > 0.9


def test_ideal_and_adversarial(tmp_path):
    from experiments import ideal_and_adversarial

    ideal_and_adversarial.main(ideal_and_adversarial.Config(out=str(tmp_path / "out"), small=True))
    found = results(tmp_path / "out")
    ours = [step for step in found["steps"] if step["way"] == "ours"]
    assert len(found["steps"]) == 8
    assert ours[-1]["linf"] <= 4.01 / 255
    assert ours[-1]["said"][found["config"]["model"]]["rank"] == 1
    assert all((tmp_path / "out" / step["file"]).is_file() for step in found["steps"])
