"""One, two and eight devices give the same: run by `test_parallel.py`, in a process that has eight."""

import re
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tljax import trees
from tljax.data.source import Source
from tljax.distributed import sharding
from tljax.models.inverted import InvertedConfig, Row, stages
from tljax.models.network import abstract_variables, make_network
from tljax.models.spec import get_spec
from tljax.synth import dream
from tljax.synth.ascend import _chunk
from tljax.synth.robustness import robust_accuracy
from tljax.transfer import finetuning
from tljax.transfer.augment import augmentation
from tljax.transfer.config import FinetuneConfig
from tljax.transfer.features import _embed, extract
from tljax.transfer.freeze import finetune_rules, label_variables, moving_layers
from tljax.transfer.prediction import predict_source
from tljax.transfer.probe import fit_probe, predict_probs
from tljax.transfer.train_step import init_state, make_train_step

PHOTOS = 21
SIZE = 32


def mesh(devices):
    return sharding.data_mesh(jax.devices()[:devices])


def toy_net():
    """A small MobileNetV2: depthwise filters of both strides, batch norm away from the identity, dropout."""
    blocks = stages(((Row(2, 8, 1, 1, 5),), (Row(2, 12, 1, 2, 3, True),)), 8)
    spec = replace(
        get_spec("mobilenet_v2"),
        config=InvertedConfig(8, blocks, 24),
        classes=("a", "b", "c"),
        head="linear",
        feature_dim=24,
        input_size=SIZE,
    )
    rng = np.random.default_rng(0)
    drawn = {}
    for path, leaf in trees.flatten(abstract_variables(spec)).items():
        noise = rng.normal(size=leaf.shape)
        spread = (2 / max(np.prod(leaf.shape[:-1]), 1)) ** 0.5
        drawn[path] = 1 + 0.1 * np.abs(noise) if path.endswith(("scale", "var")) else spread * noise
    return make_network(spec, jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), trees.unflatten(drawn)))


def toy_source():
    """Pictures as arrays; one cannot be read."""

    def read(i):
        if i == 5:
            raise OSError("gone")
        return np.random.default_rng(i).integers(0, 256, (40, 44, 3), dtype=np.uint8)

    files = tuple(f"{i}.png" for i in range(PHOTOS))
    return Source("toy", ("a", "b", "c"), files, np.arange(PHOTOS, dtype=np.int32) % 3, read)


net = pytest.fixture(scope="module", name="net")(toy_net)
source = pytest.fixture(scope="module", name="source")(toy_source)


def test_features(net, source):
    one, *others = (extract(net, source, batch_size=6, skip=True, mesh=mesh(devices)) for devices in (1, 2, 8))
    assert len(one.values) == PHOTOS - 1
    for found in others:
        np.testing.assert_allclose(found.values, one.values, atol=1e-6, rtol=0)
        np.testing.assert_array_equal(found.index, one.index)
        assert found.skipped == one.skipped


def test_by_default_all_devices_share_a_batch(net, source, tmp_path):
    extract(net, source, batch_size=8, cache=tmp_path, skip=True)
    extract(net, source, batch_size=8, cache=tmp_path, skip=True, mesh=mesh(8))
    assert len(list(tmp_path.iterdir())) == 1
    extract(net, source, batch_size=8, cache=tmp_path, skip=True, mesh=mesh(1))
    assert len(list(tmp_path.iterdir())) == 2, "one device computes other bits, so it has another cache"


def test_probabilities(net, source):
    one, *others = (predict_source(net, source, batch_size=6, mesh=mesh(devices)) for devices in (1, 2, 8))
    for probs, index, skipped in others:
        np.testing.assert_allclose(probs, one[0], atol=1e-6, rtol=0)
        np.testing.assert_array_equal(index, one[1])
        assert skipped == one[2]


def make_training(net, devices, *, setting=None, moving=False, adversarial=None):
    """A step of plain gradient descent at rate 1, which bares the gradient, and what it starts from."""
    labels = label_variables(net.variables, finetune_rules(net.spec, ()))
    here = mesh(devices) if isinstance(devices, int) else devices
    optimizer = optax.sgd(1.0)
    stats = moving_layers(labels) if moving else ()
    options = {"setting": setting, "adversarial": adversarial, "update_stats": stats}
    step = make_train_step(net.apply_train, optimizer, size=SIZE, **options, mesh=here)
    return here, step, *sharding.replicate(here, init_state(net.variables, labels["params"], optimizer))


def make_batch(count):
    rng = np.random.default_rng(1)
    return {
        "images": rng.integers(0, 256, (count, SIZE + 4, SIZE + 4, 3), dtype=np.uint8),
        "labels": rng.integers(0, 3, count).astype(np.int32),
        "mask": np.ones(count, bool),
    }


LIGHT = augmentation("light", flip=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "options"),
    [
        (16, {"setting": LIGHT}),
        (16, {"setting": LIGHT, "moving": True}),
        (13, {}),
        (13, {"adversarial": 2 / 255}),
    ],
    ids=["whole", "with the statistics of the batch", "padded", "attacked and padded"],
)
def test_the_gradient_of_one_step(net, count, options):
    results = []
    for devices in (1, 2, 8):
        here, step, state, frozen = make_training(net, devices, **options)
        batch = sharding.spread(here, make_batch(count))
        results.append(jax.device_get(step(state, frozen, batch, key=jax.random.key(0))))
    for found in results[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5), found, results[0])


@pytest.mark.parametrize("adversarial", [None, pytest.param(2 / 255, marks=pytest.mark.slow)])
def test_no_device_gathers_what_another_computed(net, adversarial):
    """Activations stay where they are: the devices exchange the sums of gradients, and nothing else."""
    here, step, state, frozen = make_training(net, 8, setting=LIGHT, adversarial=adversarial)
    batch = sharding.spread(here, make_batch(16))
    with jax.set_mesh(here):
        program = step.__wrapped__.lower(state, frozen, batch, key=jax.random.key(0)).compile().as_text()
    assert "all-reduce" in program
    assert not exchanged(program) - {"all-reduce"}
    variables, images = sharding.replicate(here, net.variables), sharding.spread(here, make_batch(16)["images"])
    assert not exchanged(_embed.lower(net.embed, variables, images).compile().as_text())


def exchanged(program):
    """The kinds of collectives in a compiled program."""
    return set(re.findall(r"all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter", program))


def test_fine_tuning_gives_each_device_its_rows(net, source, monkeypatch):
    rows = []

    def recorded(step, mesh):
        def run(state, frozen, batch, *, key, number):
            rows.append([len(shard.data) for shard in batch["images"].addressable_shards])
            measures = dict.fromkeys(("loss", "accuracy", "grad_norm"), jnp.float32(1))
            return state._replace(step=state.step + 1), measures

        return run

    monkeypatch.setattr(finetuning, "guard", recorded)
    config = FinetuneConfig(epochs=1, batch_size=8, freeze=())
    finetuning.finetune(net, source.subset([0, 1, 2, 3, 4, 6, 7, 8]), config=config, key=jax.random.key(0))
    assert rows == [[1] * 8]


@pytest.mark.slow
def test_training_compiles_once_and_state_stays_on_every_device(net):
    here, step, state, frozen = make_training(net, 8)
    for _ in range(3):
        state, _ = step(state, frozen, sharding.spread(here, make_batch(16)), key=jax.random.key(0))
    assert step.__wrapped__._cache_size() == 1
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state))


@pytest.mark.slow
@pytest.mark.parametrize("photos", [200, 203])
def test_the_probe(photos):
    rng = np.random.default_rng(0)
    labels = np.arange(photos) % 3
    features = (rng.normal(size=(3, 12))[labels] + 1.5 * rng.normal(size=(photos, 12))).astype(np.float32)
    features[:, 3] = 0.1
    one, *others = (
        fit_probe(features, labels, classes=3, balanced=True, mesh=None if n == 1 else mesh(n)) for n in (1, 2, 8)
    )
    for found in others:
        assert found.l2 == one.l2
        np.testing.assert_allclose(predict_probs(found, features), predict_probs(one, features), atol=1e-3)
        assert (found.kernel[3] == 0).all()


@pytest.mark.slow
def test_an_attack_finds_the_same(net, source):
    labelled = replace(source, classes=net.spec.classes)
    attack = partial(robust_accuracy, net, labelled, [0, 0.02], steps=3, batch_size=8)
    shared = attack()
    assert shared["images"] == PHOTOS - 1
    assert shared == attack(mesh=mesh(1))


@pytest.mark.slow
def test_ideal_images(net, monkeypatch):
    make = partial(dream, net.scores, net.variables, [0, 1, 2, 0], size=32, steps=36, key=jax.random.key(0))
    compiled = _chunk._cache_size()
    shared = make()
    assert _chunk._cache_size() == compiled + 2, "once for each of the two sizes"
    monkeypatch.setattr(sharding, "local_mesh", lambda dividing: mesh(1))
    alone = make()
    assert len(shared.images.sharding.device_set) == 4
    np.testing.assert_allclose(shared.ascent.values[:2], alone.ascent.values[:2], rtol=1e-4)
