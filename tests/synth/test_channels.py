"""What is known of channels, on maps whose answers can be told from the pixels."""

import dataclasses

import jax
import numpy as np
import pytest

import tljax
from tests.test_examples import SPEC, TOY, Toy
from tljax import synth
from tljax.errors import InputError
from tljax.models import spec as registry
from tljax.report import channels_page
from tljax.synth.excitement import crop_around, head_weights, most_excited, similar_channels, strongest

KEY = jax.random.key(0)


@pytest.fixture
def net(monkeypatch):
    """The toy network, of which channel 0 sees red, 1 green and 2 blue, and channel 3 nothing; 0 speaks for cats."""
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))
    tljax.models.register(TOY)
    made = tljax.init_network("toy", key=KEY, classes=2)
    kernel = np.zeros((3, 3, 3, 8), np.float32)
    kernel[1, 1, :3, :3] = np.eye(3)
    kernel[1, 1, 0, 4:] = 1.0
    head = {"kernel": np.zeros((8, 2), np.float32), "bias": np.array([3.0, 0.0], np.float32)}
    head["kernel"][0] = 2.0, 0.0
    head["kernel"][1] = 0.0, 1.0
    params = {**made.variables["params"], "head": head}
    params["block"] = {**params["block"], "kernel": kernel}
    return made.replace(
        spec=dataclasses.replace(made.spec, mean=(0.0,) * 3, std=(1.0,) * 3),
        variables={**made.variables, "params": params},
    )


def spots(colours, places, side=32):
    """Dark photos with a bright spot of one colour each."""
    photos = np.full((len(colours), side, side, 3), 20, np.uint8)
    for photo, colour, (y, x) in zip(photos, colours, places, strict=True):
        photo[y : y + 4, x : x + 4, colour] = 250
    return photos


def test_peaks_and_places_are_those_of_the_spots(net):
    answers = synth.excitement(net, spots([0, 1, 0], [(4, 20), (12, 8), (24, 0)]), "block")
    assert (answers.peaks[:, :3].argmax(1) == [0, 1, 0]).all()
    assert answers.cells == (16, 16)
    top, left = answers.places[0, 0]
    assert 4 / 32 <= top <= 8 / 32
    assert 20 / 32 <= left <= 24 / 32
    assert strongest(answers, 1, 9).tolist() == [1]
    assert strongest(answers, 3, 9).tolist() == []


def test_a_photo_that_cannot_be_read_is_skipped(net, tmp_path):
    (tmp_path / "no.jpg").write_bytes(b"\xff\xd8 not much")
    with pytest.raises(InputError, match=r"no photo can be read: .*no\.jpg"):
        synth.excitement(net, tmp_path, "block")


def test_the_channels_that_photos_excite_come_first(net):
    answers = synth.excitement(net, spots([1] * 11 + [0], [(4, 4)] * 12), "block")
    assert most_excited(answers, 1).tolist() == [1]
    order = most_excited(answers, 8).tolist()
    assert order.index(0) > order.index(3)  # one odd photo makes no channel interesting


def test_similar_channels_answer_the_same_photos(net):
    answers = synth.excitement(net, spots([0, 1, 2] * 4, [(4, 4)] * 12), "block")
    assert similar_channels(answers, 0, 3) == [(k, pytest.approx(1.0)) for k in (4, 5, 6)]
    assert similar_channels(answers, 3, 3) == []


def test_weights_of_the_head_count_where_it_is_a_sum_of_the_channels(net):
    answers = synth.excitement(net, spots([0, 1, 0], [(4, 20), (12, 8), (24, 0)]), "block")
    weights = head_weights(net, answers)
    assert weights[:2].tolist() == [[1.0, -1.0], [-0.5, 0.5]]
    assert head_weights(net, dataclasses.replace(answers, scores=answers.scores + answers.peaks[:, :2])) is None


def test_a_crop_lies_around_its_place_and_within_the_photo():
    photo = np.zeros((64, 64, 3), np.uint8)
    photo[:8, 56:] = 200
    crop = crop_around(photo, (0.05, 0.95), (16, 16), size=24)
    assert crop.shape == (24, 24, 3)
    assert crop[2, -3].tolist() == [200] * 3
    assert crop[-2, 2].tolist() == [0] * 3


def test_what_a_channel_likes_and_where_it_is_in_photos(net):
    photos = spots([0, 1, 0, 0] * 3, [(4, 20), (12, 8), (24, 0), (0, 0)] * 3)
    seen = synth.describe_channels(net, photos=photos, channels=[0, 3, 0], size=32, steps=8, key=KEY)
    red, silent = seen.channels
    assert (seen.layer, seen.classes_by, seen.photos) == ("block", "weights", 12)
    assert red.image.shape == (32, 32, 3)
    assert red.activation > 0
    assert len(red.photos) == 9
    assert "photos[1]" not in red.photos
    assert (red.crops.max((1, 2))[:, 0] > 150).all()
    assert red.classes == (("cat", 1.0),)
    assert [other for other, _ in red.similar] == [4, 5, 6]
    assert (silent.activation, silent.photos, len(silent.crops), silent.similar) == (0, (), 0, ())


def test_without_photos_the_first_channels_are_shown(net):
    seen = synth.describe_channels(net, count=2, size=32, steps=2, key=KEY)
    assert [channel.index for channel in seen.channels] == [0, 1]
    assert [channel.photos for channel in seen.channels] == [(), ()]
    assert seen.channels[1].classes == (("dog", 0.5),)


def test_other_channels_are_made_by_the_program_that_is_there(net):
    traced = []

    class Counted(Toy):
        def __call__(self, x, tap):
            traced.append(x.shape)
            return super().__call__(x, tap)

    tljax.models.register(dataclasses.replace(TOY, name="counted", module=Counted, networks=()))
    net = net.replace(spec=dataclasses.replace(SPEC, name="counted", family="counted"))
    options = {"size": 32, "steps": 2, "key": KEY}
    synth.channel_pictures(net, "block", [0, 1], **options)
    once = [shape for shape in traced if shape[0] == 2]
    synth.channel_pictures(net, "block", [2, 4], **options)
    assert [shape for shape in traced if shape[0] == 2] == once  # what is left is a look at shapes


def test_more_channels_than_are_made_at_once(net, monkeypatch):
    monkeypatch.setattr(synth.channels, "_AT_ONCE", 2)
    images, activations = synth.channel_pictures(net, "block", [0, 1, 2], size=32, steps=2, key=KEY)
    assert images.shape == (3, 32, 32, 3)
    assert (activations > 0).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layer": "blok"}, 'no layer named "blok" in toy: did you mean block'),
        ({"channels": [8]}, "no channel with index 8: there are 8, counted from 0"),
        ({"channels": []}, "at least one class"),
        ({"count": 0}, "count must be at least 1, got 0"),
        ({"size": 33}, "size must be even"),
        ({"steps": 0}, "steps must be at least 1"),
    ],
)
def test_bad_input_in_one_line(net, options, said):
    with pytest.raises(InputError, match=said):
        synth.describe_channels(net, **{"size": 32, "steps": 2, **options}, key=KEY)


def test_the_page_says_what_is_silent_and_what_nothing_tells(tmp_path):
    known = {"activation": 0.0, "photos": (), "crops": np.zeros((0, 96, 96, 3), np.uint8), "classes": (), "similar": ()}
    channel = {"channel": 3, "image": np.zeros((32, 32, 3), np.uint8), **known}
    record = {"layer": "block", "classes_by": None, "photos": 5, "channels": [channel]}
    page = channels_page.write(tmp_path / "page.html", record).read_text("utf-8")
    for said in ("It is 0 all over its ideal picture", "None of the photos excites it", "Nothing tells which classes"):
        assert said in page


def test_a_contact_sheet_is_three_by_three():
    sheet = channels_page.contact_sheet(np.full((4, 10, 10, 3), 7, np.uint8))
    assert sheet.shape == (38, 38, 3)
    assert (sheet[14, 0] == 7).all()
    assert (sheet[14, 14] == 128).all()
