import io
import tracemalloc
from dataclasses import replace

import jax
import numpy as np
import pytest
from PIL import Image

from tljax.data.images import preprocess
from tljax.data.source import Source
from tljax.errors import InputError
from tljax.models.network import Network, for_inference, init_network
from tljax.transfer import features as room
from tljax.transfer.feature_cache import cache_file, variables_digest
from tljax.transfer.naming import predict

PHOTOS = 11
BAD = {2: b"no picture", 7: b""}


@pytest.fixture(scope="module")
def net():
    """A small random network at 48 pixels."""
    net = init_network("squeezenet1_1", key=jax.random.key(0), classes=3)
    return net.replace(spec=replace(net.spec, input_size=48))


def picture(i):
    return np.random.default_rng(i).integers(0, 256, (60, 70, 3), dtype=np.uint8)


def encoded(i):
    file = io.BytesIO()
    Image.fromarray(picture(i)).save(file, "PNG")
    return file.getvalue()


def make_source(photos=PHOTOS, bad=BAD):
    contents = [bad.get(i, encoded(i)) for i in range(photos)]
    files = tuple(f"{i}.png" for i in range(photos))
    return Source("photos", ("a", "b"), files, np.arange(photos, dtype=np.int32) % 2, contents.__getitem__)


def extract(net, source, indices, **options):
    """Of some of the photos, without those that cannot be read."""
    return room.extract(net, source.subset(indices), skip=True, **options)


class Counted:
    """A `track` that counts the photos computed."""

    photos = 0

    def __call__(self, items, description, total):
        for batch in items:
            self.photos += int(batch.mask.sum())
            yield batch


def test_features_are_those_of_embed_and_follow_the_order_asked_for(net):
    asked = [9, 0, 2, 4, 1, 7, 3]
    found = extract(net, make_source(), asked, batch_size=4, cache=False)
    np.testing.assert_array_equal(found.index, [0, 1, 3, 4, 6])
    np.testing.assert_array_equal(found.labels, [1, 0, 0, 1, 1])
    images = np.stack([preprocess(picture(asked[i]), net.spec) for i in found.index])
    expected = net.embed(net.variables, images.astype(np.float32) / 255)
    assert found.values.dtype == np.float32
    np.testing.assert_allclose(found.values, expected, atol=1e-5, rtol=1e-5)


def test_lost_photos_are_listed_with_a_reason(net):
    found = extract(net, make_source(), range(PHOTOS), batch_size=4)
    assert [one.file for one in found.skipped] == ["2.png", "7.png"]
    assert all(one.reason for one in found.skipped)
    assert len(found.values) == len(found.index) == len(found.labels) == len(found.digests) == PHOTOS - 2
    again = extract(net, make_source(), range(PHOTOS), batch_size=4)
    assert again.skipped == found.skipped


@pytest.mark.parametrize("before", [[], [3], [0, 5, 6], list(range(PHOTOS))])
def test_the_result_does_not_depend_on_what_the_cache_holds(net, before, tmp_path):
    source = make_source()
    expected = extract(net, source, range(PHOTOS), batch_size=4, cache=False)
    extract(net, source, before, batch_size=4, cache=tmp_path)
    count = Counted()
    found = extract(net, source, range(PHOTOS), batch_size=4, cache=tmp_path, track=count)
    assert count.photos == PHOTOS - len(BAD) - len(set(before) - set(BAD))
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.index, expected.index)
    assert found.digests == expected.digests


def test_the_cache_follows_content_not_names(net, tmp_path):
    source = make_source(bad={})
    extract(net, source, range(6), batch_size=4, cache=tmp_path)
    order = np.roll(np.arange(PHOTOS), 3)
    renamed = replace(source, read=lambda i: source.read(int(order[i])), files=tuple(f"x{i}" for i in range(PHOTOS)))
    count = Counted()
    found = extract(net, renamed, range(PHOTOS), batch_size=4, cache=tmp_path, track=count)
    assert count.photos == PHOTOS - 6
    np.testing.assert_array_equal(found.values, extract(net, renamed, range(PHOTOS), batch_size=4, cache=None).values)


def scaled_weights(net: Network) -> Network:
    return net.replace(variables=jax.tree.map(lambda leaf: leaf * 1.01, net.variables))


@pytest.mark.parametrize(
    "change",
    [
        scaled_weights,
        lambda net: net.replace(spec=replace(net.spec, crop_pct=1.0)),
        lambda net: net.replace(spec=replace(net.spec, interpolation="bicubic")),
        lambda net: net.replace(spec=replace(net.spec, mean=(0.5, 0.5, 0.5))),
        lambda net: net.replace(spec=replace(net.spec, input_size=40)),
        lambda net: net.replace(dtype="bfloat16"),
        lambda net: net.replace(plain=True),
    ],
)
def test_another_network_or_preprocessing_has_another_cache(net, change, tmp_path):
    assert cache_file(tmp_path, change(net), 4) != cache_file(tmp_path, net, 4)


def test_another_head_name_or_batch_size(net, tmp_path):
    same = net.replace(spec=replace(net.spec, classes=("x", "y", "z"), licence="?"))
    assert cache_file(tmp_path, same, 4) == cache_file(tmp_path, net, 4)
    assert cache_file(tmp_path, net, 5) != cache_file(tmp_path, net, 4)


def test_there_is_no_cache_unless_one_is_asked_for(net, tmp_path, monkeypatch):
    monkeypatch.setenv("TLJAX_CACHE", str(tmp_path))
    extract(net, make_source(), [0, 1], batch_size=4, cache=False)
    extract(net, make_source(), [0, 1], batch_size=4)
    assert list(tmp_path.iterdir()) == []
    extract(net, make_source(), [0, 1], batch_size=4, cache=True)
    assert [path.suffix for path in (tmp_path / "features").iterdir()] == [".sqlite"]


def test_a_cache_that_cannot_be_written_costs_a_warning_only(net, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(RuntimeWarning, match="not cached"):
        found = extract(net, make_source(), [0, 1], batch_size=4, cache=tmp_path / "file")
    np.testing.assert_array_equal(found.values, extract(net, make_source(), [0, 1], batch_size=4, cache=False).values)


def test_padding_and_neighbours_do_not_touch_a_row(net):
    source = make_source(bad={})
    alone = extract(net, source, [5], batch_size=4, cache=False).values[0]
    among = extract(net, source, [8, 1, 5, 3], batch_size=4, cache=False).values[2]
    np.testing.assert_array_equal(alone, among)


def test_every_call_shares_one_compilation(net):
    source = make_source()
    extract(net, source, range(5), batch_size=4, cache=False)
    compiled = room._embed._cache_size()
    extract(net, source, range(PHOTOS), batch_size=4, cache=False)
    extract(scaled_weights(net), source, [1], batch_size=4, cache=False)
    assert room._embed._cache_size() == compiled


def test_a_folded_network_gives_the_same_features(net):
    source = make_source()
    plain = extract(net, source, range(4), batch_size=4, cache=False)
    folded = extract(for_inference(net), source, range(4), batch_size=4, cache=False)
    np.testing.assert_array_equal(plain.values, folded.values)


def test_no_photo_at_all(net):
    nothing = extract(net, make_source(), [], batch_size=4)
    assert nothing.values.shape == (0, net.spec.feature_dim)
    unreadable = extract(net, make_source(), [2, 7], batch_size=4)
    assert unreadable.values.shape == (0, net.spec.feature_dim)
    assert len(unreadable.skipped) == 2


def test_memory_does_not_grow_with_the_number_of_photos(net):
    def peak(photos):
        source = make_source(12, bad={})
        many = replace(
            source,
            files=source.files * (photos // 12),
            labels=np.tile(source.labels, photos // 12),
            read=lambda i: source.read(i % 12),
        )
        tracemalloc.start()
        result = extract(net, many, range(photos), batch_size=4, cache=False).values.nbytes
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top - result

    peak(24)
    pixels = 240 * 48 * 48 * 3
    assert peak(264) - peak(24) < pixels / 4


@pytest.mark.parametrize(
    ("indices", "options", "message"),
    [
        ([0, 99], {}, "it has 11"),
        ([-1], {}, "it has 11"),
        ([1], {"batch_size": 0}, "batch size 0"),
    ],
)
def test_bad_indices_are_refused(net, indices, options, message):
    with pytest.raises(InputError, match=message):
        extract(net, make_source(), indices, **options)


def test_a_photo_that_cannot_be_read_is_refused_by_name_unless_it_may_be_left_out(net):
    with pytest.raises(InputError, match=r'"2.png" cannot be read: not a picture .* \(and 1 more\)'):
        room.extract(net, make_source(), batch_size=4)
    with pytest.raises(InputError, match="skip=True leaves such files out"):
        predict(net, make_source())
    left = room.extract(net, make_source(), batch_size=4, skip=True).index
    assert [one.file for one in predict(net, make_source(), skip=True)] == [make_source().files[i] for i in left]


def test_arrays_files_and_bytes_of_the_same_photos_have_the_same_features(net, tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(encoded(i))
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    forms = [tmp_path, paths, [encoded(i) for i in range(4)], [Image.open(path) for path in paths]]
    expected = room.extract(net, np.stack([picture(i) for i in range(4)]), batch_size=4)
    for photos in forms:
        np.testing.assert_array_equal(room.extract(net, photos, batch_size=4).values, expected.values)


def test_the_digest_of_variables_sees_values_shapes_and_names():
    base = {"params": {"a": np.zeros((2, 3), np.float32), "b": np.ones(2, np.float32)}}
    others = [
        {"params": {"a": np.zeros((3, 2), np.float32), "b": np.ones(2, np.float32)}},
        {"params": {"a": np.zeros((2, 3), np.float16), "b": np.ones(2, np.float32)}},
        {"params": {"c": np.zeros((2, 3), np.float32), "b": np.ones(2, np.float32)}},
        {"params": {"a": np.zeros((2, 3), np.float32), "b": np.full(2, 2, np.float32)}},
    ]
    reordered = {"params": {"b": base["params"]["b"], "a": jax.numpy.zeros((2, 3))}}
    assert variables_digest(reordered) == variables_digest(base)
    assert len({variables_digest(tree) for tree in [base, *others]}) == 5
