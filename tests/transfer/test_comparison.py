"""Networks compared: cases with known answers, equal photos for all, and what is called luck."""

import time
from dataclasses import replace

import jax
import numpy as np
import pytest

from tljax import trees
from tljax.data.source import Source
from tljax.errors import InputError
from tljax.models.layered import with_layers
from tljax.models.network import init_network
from tljax.transfer import comparison
from tljax.transfer.comparison import advice, compare, seconds_per_photo
from tljax.transfer.head import with_probe
from tljax.transfer.probe import Probe

pytestmark = pytest.mark.usefixtures("quick_to_compile")


@pytest.fixture(scope="module")
def seeing():
    """A small random network at 32 pixels, which can tell red from blue."""
    net = init_network("squeezenet1_1", key=jax.random.key(0), classes=2)
    return net.replace(spec=replace(net.spec, input_size=32))


@pytest.fixture(scope="module")
def blind(seeing):
    """One for which all photos are alike."""
    return seeing.replace(variables=jax.tree.map(np.zeros_like, seeing.variables))


def picture(i):
    photo = np.random.default_rng(i).integers(60, 140, (40, 40, 3), dtype=np.uint8)
    photo[..., 2 * (i % 2)] += 100
    return photo


def make_source(count=20, bad=(), **options):
    pictures = [b"no picture" if i in bad else picture(i) for i in range(count)]
    files = tuple(f"{i}.png" for i in range(count))
    return Source("photos", ("a", "b"), files, np.arange(count, dtype=np.int32) % 2, pictures.__getitem__, **options)


def test_the_network_that_sees_is_taken(seeing, blind):
    result = compare(make_source(bad=(3,)), {"blind": blind, "seeing": seeing})
    first, second = result["models"]
    assert (first["name"], result["best"], second["name"]) == ("seeing", "seeing", "blind")
    assert (first["accuracy"], first["difference"], first["luck"]) == (1.0, 0.0, None)
    assert (second["accuracy"], second["luck"]) == (pytest.approx(1 - second["difference"]), False)
    assert second["accuracy"] < 0.7
    assert second["difference_interval"][0] < second["difference"]
    assert first["interval"] == pytest.approx([0.832, 1.0], abs=2e-3)  # Wilson's, 19 of 19
    assert (result["images"], result["classes"], result["folds"]) == (19, ["a", "b"], 5)
    assert [one["file"] for one in result["skipped"]] == ["3.png"]
    assert result["advice"][0] == "Take seeing: 100.0 % (95 % interval 83.2 to 100.0)"


def test_equal_networks_are_luck_and_the_faster_one_is_taken(seeing, monkeypatch):
    monkeypatch.setattr(comparison, "seconds_per_photo", lambda net, photos: 0.1 if net.spec.name == "slow" else 0.02)
    slow = seeing.replace(spec=replace(seeing.spec, name="slow"))
    result = compare(make_source(), {"slow": slow, "fast": seeing})
    assert result["best"] == "fast"
    assert result["models"][1]["luck"]
    assert result["advice"][1] == "slow is 0.0 points below (-8.9 to 8.9: may be luck) and takes 5.0 times as long"


def test_all_networks_are_measured_on_the_photos_that_all_can_read(seeing, blind, monkeypatch):
    whole = comparison.extract

    def only_some(net, photos, **options):
        found = whole(net, photos, **options)
        if net is not blind:
            return found
        return replace(found, values=found.values[4:], index=found.index[4:], labels=found.labels[4:])

    monkeypatch.setattr(comparison, "extract", only_some)
    monkeypatch.setattr(comparison, "seconds_per_photo", lambda net, photos: len(photos.files))
    result = compare(make_source(), {"seeing": seeing, "blind": blind})
    assert result["images"] == 16
    assert result["models"][0]["accuracy"] == 1.0
    assert {model["seconds_per_photo"] for model in result["models"]} == {16}


def test_test_photos_take_no_part_and_others_do(seeing):
    splits = {"train": np.arange(12), "val": np.arange(12, 16), "test": np.arange(16, 20)}
    assert compare(make_source(splits=splits), {"net": seeing})["images"] == 16
    splits = {"train": np.arange(12), "test": np.arange(12, 20)}  # the test photos validate then, as `train` has it
    assert compare(make_source(splits=splits), {"net": seeing})["images"] == 20


def test_auto_compares_the_best_stage_of_each(seeing, blind, monkeypatch):
    def early(net, photos, own, **options):
        assert (len(photos.files), own.shape) == (20, (20, 512))
        return with_layers(net, "fire4/2x2") if net is seeing else net

    monkeypatch.setattr(comparison, "with_best_layer", early)
    monkeypatch.setattr(comparison, "seconds_per_photo", lambda net, photos: 0.1)
    result = compare(make_source(), {"blind": blind, "seeing": seeing}, layer="auto")
    assert [(model["name"], model["layer"]) for model in result["models"]] == [("seeing", "fire4/2x2"), ("blind", None)]
    assert result["models"][0]["accuracy"] == 1.0
    assert {model["layer"] for model in compare(make_source(), {"seeing": seeing})["models"]} == {None}


def test_equal_calls_agree_and_the_cache_is_used(seeing, tmp_path):
    seen = []

    def track(items, description, total):
        seen.append(description)
        return items

    results = [compare(make_source(), {"net": seeing}, cache=tmp_path, track=track) for _ in range(2)]
    for result in results:
        result["models"][0].pop("seconds_per_photo")
    assert results[0] == results[1]
    assert seen.count("net: features, in batches of 32") == 1


def test_params_are_those_of_a_classifier_of_these_classes(seeing):
    probe = Probe(np.zeros((512, 3)), np.zeros(3), 1.0, 1.0, [], 0.0, 0, ("a", "b", "c"))
    params = trees.flatten(with_probe(seeing, probe).variables["params"])
    assert comparison._params(seeing, 3) == sum(leaf.size for leaf in params.values())


def test_time_is_the_median_of_full_batches_after_a_first_one(seeing, monkeypatch):
    batches = []

    def slow(net, feed, mesh):
        for batch in feed:
            batches.append(batch.index.tolist())
            time.sleep(1.6 if len(batches) == 3 else 0.32)
            yield batch, None

    monkeypatch.setattr(comparison, "embedded", slow)
    assert seconds_per_photo(seeing, make_source(5)) == pytest.approx(0.01, abs=0.01)
    assert len(batches) == 4
    assert set(map(len, batches)) == {32}
    assert set(batches[0]) == set(range(5))


@pytest.mark.parametrize(
    ("times", "said"), [(0.1, "as fast"), (0.05, "2.0 times as fast"), (0.3, "takes 3.0 times as long")]
)
def test_advice_names_what_is_lost_and_gained(times, said):
    best = {"name": "a", "accuracy": 0.9, "interval": (0.85, 0.95), "seconds_per_photo": 0.1, "layer": None}
    other = {"name": "b", "difference": 0.05, "difference_interval": (0.01, 0.09), "luck": False}
    assert advice([best]) == ["Take a: 90.0 % (95 % interval 85.0 to 95.0)"]
    sentence = advice([best, {**other, "seconds_per_photo": times}])[1]
    assert advice([{**best, "layer": "block/2x2"}])[0].startswith("Take a with --layer block/2x2: 90.0 %")
    assert sentence == f"b is 5.0 points below (1.0 to 9.0) and {said}"


def test_what_cannot_be_compared_is_refused(seeing):
    with pytest.raises(InputError, match="no network to compare"):
        compare(make_source(), {})
    with pytest.raises(InputError, match=r'no photo can be read: "0.png": '):
        compare(make_source(4, bad=range(4)), {"net": seeing})
    with pytest.raises(InputError, match="single photo: at least 2 are needed"):
        compare(make_source(2), {"net": seeing})
    with pytest.raises(InputError, match='class "b" has no photo'):
        compare(make_source(4, bad=(1, 3)), {"net": seeing})
