"""Features from within a network: what they are, and what a head on them is."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tljax
from tljax.errors import InputError
from tljax.models.layered import places, with_layers
from tljax.models.layers import pooled
from tljax.models.network import abstract_variables
from tljax.transfer.feature_cache import cache_file
from tljax.transfer.head import with_probe
from tljax.transfer.probe import fit_probe

pytestmark = pytest.mark.usefixtures("quick_to_compile")


@pytest.fixture(scope="module", params=["squeezenet1_1", "resnet18"])
def net(request):
    return tljax.init_network(request.param, key=jax.random.key(0), classes=3)


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(np.random.default_rng(0).random((4, 64, 48, 3)), jnp.float32)


def middle(net):
    return {"squeezenet1_1": "fire5", "resnet18": "stage2_block1"}[net.spec.name]


def classifier(net, *layers):
    early = with_layers(net, *layers)
    features = np.random.default_rng(1).normal(size=(20, early.spec.feature_dim))
    return with_probe(early, fit_probe(features, np.arange(20) % 2, classes=("a", "b")))


def test_features_are_the_mean_of_a_map(net, images):
    early = with_layers(net, middle(net))
    expected = net.intermediates(net.variables, images)[middle(net)].mean((1, 2))
    np.testing.assert_allclose(early.embed(early.variables, images), expected, rtol=1e-5, atol=1e-6)
    assert (early.spec.feature_dim, early.spec.last_layer) == (expected.shape[1], middle(net))
    assert list(early.intermediates(net.variables, images)) == [
        name for name in net.intermediates(net.variables, images) if name != "conv10"
    ]


def test_the_last_layer_is_the_networks_own_embedding(net, images):
    early = with_layers(net, net.spec.last_layer)
    expected = net.embed(net.variables, images)
    np.testing.assert_allclose(early.embed(early.variables, images), expected, rtol=1e-5, atol=1e-6)


def test_quarters_keep_where_things_are():
    maps = {"map": jnp.arange(18.0).reshape(1, 3, 3, 2)}
    np.testing.assert_array_equal(pooled(maps, "map"), [[8, 9]])
    np.testing.assert_array_equal(pooled(maps, "map/2x2"), [[4, 5, 6, 7, 10, 11, 12, 13]])  # the middle is in all
    assert pooled({"map": jnp.ones((1, 1, 1, 2))}, "map/2x2").shape == (1, 8)


def test_several_layers_stand_side_by_side(net, images):
    parts = [with_layers(net, place) for place in (middle(net), f"{middle(net)}/2x2")]
    both = with_layers(net, *(part.spec.layers[0] for part in parts))
    expected = np.concatenate([part.embed(net.variables, images) for part in parts], axis=1)
    np.testing.assert_allclose(both.embed(net.variables, images), expected, rtol=1e-5, atol=1e-6)
    assert both.spec.feature_dim == expected.shape[1] == 5 * parts[0].spec.feature_dim


def test_a_head_stands_on_the_features(net, images):
    own = classifier(net, f"{middle(net)}/2x2")
    head = own.variables["params"]["head"]
    expected = own.embed(own.variables, images) @ head["kernel"] + head["bias"]
    for function in (own.apply, own.scores, lambda v, x: own.outputs(v, x).logits):
        np.testing.assert_allclose(function(own.variables, images), expected, rtol=1e-4, atol=1e-4)
    fast = tljax.for_inference(own)
    np.testing.assert_allclose(fast.apply(fast.variables, images), expected, rtol=1e-3, atol=1e-3)
    shapes = jax.tree.map(lambda leaf: leaf.shape, abstract_variables(own.spec))
    assert jax.tree.map(np.shape, own.variables) == shapes


def test_what_comes_after_the_layer_plays_no_part(net, images):
    own = classifier(net, middle(net))
    last = {"squeezenet1_1": "fire9", "resnet18": "stage4_block1"}[net.spec.name]
    params = {**own.variables["params"], last: jax.tree.map(jnp.zeros_like, own.variables["params"][last])}
    changed = own.apply({**own.variables, "params": params}, images)
    np.testing.assert_array_equal(changed, own.apply(own.variables, images))
    gradient = jax.grad(lambda v: own.apply(v, images).sum())(own.variables)["params"]
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient[last]))
    assert np.any(gradient["head"]["kernel"])


def test_without_a_head_it_is_no_classifier_and_it_is_never_fine_tuned(net, images):
    early = with_layers(net, middle(net))
    with pytest.raises(InputError, match="has no classifier"):
        early.apply(early.variables, images)
    own = classifier(net, middle(net))
    with pytest.raises(InputError, match=f"stands on {middle(net)}: fine-tuning needs it to its end"):
        own.apply_train(own.variables, images, key=jax.random.key(0))


def test_unknown_layers_are_refused_by_name(net):
    with pytest.raises(InputError, match=f'no layer named "{middle(net)}x" in {net.spec.name}: did you mean'):
        with_layers(net, f"{middle(net)}x")
    with pytest.raises(InputError, match=r'no layer named "fire5/3x3"|no layer named "stage2_block1/3x3"'):
        with_layers(net, f"{middle(net)}/3x3")
    with pytest.raises(InputError, match="no layer"):
        with_layers(net)


def test_places_are_the_last_maps_of_stages_and_never_the_classifier():
    names = places(tljax.get_spec("resnet18"))
    assert names[:2] == ["stem", "stem/2x2"]
    assert names[-2:] == ["stage4_block1", "stage4_block1/2x2"]
    assert len(names) == 10
    assert places(tljax.get_spec("squeezenet1_1"))[-1] == "fire9/2x2"


def test_the_cache_knows_layers_apart(net, tmp_path):
    names = [cache_file(tmp_path, one, 32) for one in (net, with_layers(net, middle(net)))]
    assert names[0] != names[1]
    same = net.replace(spec=replace(net.spec, layers=()))
    assert cache_file(tmp_path, same, 32) == names[0]
