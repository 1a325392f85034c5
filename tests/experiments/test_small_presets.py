"""Every experiment runs from its small preset, and writes its results and its page."""

import json

import pytest

from tests.photos import make_photos

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return str(make_photos(tmp_path_factory.mktemp("photos"), {"red": 3, "blue": 3}, size=96))


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
    assert len(found["matrices"]) == 4
    untargeted = found["matrices"]["pgd, untargeted"]
    assert untargeted[0][0] == 1.0
