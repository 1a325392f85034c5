"""Networks as pure functions: surface, refusals, purity, equality of forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tljax
from tljax import trees
from tljax.errors import InputError

SMALL = ["resnet18", "squeezenet1_1"]


@pytest.fixture(scope="module", params=SMALL)
def net(request):
    return tljax.init_network(request.param, key=jax.random.key(0), classes=7)


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(np.random.default_rng(0).random((3, 64, 48, 3)), jnp.float32)


def test_every_model_has_the_published_number_of_parameters():
    from tljax.models.network import abstract_variables

    for name in ("vgg16", "resnet18", "resnet50", "mobilenet_v2", "efficientnet_lite2", "squeezenet1_1"):
        spec = tljax.get_spec(name)
        shapes = jax.tree.leaves(abstract_variables(spec)["params"])
        assert sum(int(np.prod(leaf.shape)) for leaf in shapes) == spec.params


def test_surface(net, images):
    logits = net.apply(net.variables, images)
    assert logits.shape == (3, 7)
    assert logits.dtype == jnp.float32
    assert net.scores(net.variables, images).shape == (3, 7)
    embed = net.embed(net.variables, images)
    assert embed.shape == (3, net.spec.feature_dim)
    maps = net.intermediates(net.variables, images)
    np.testing.assert_allclose(maps[net.spec.last_layer].mean((1, 2)), embed, rtol=1e-4, atol=1e-5)


def test_maps_come_in_the_order_of_the_network(net, images):
    names = list(net.intermediates(net.variables, images))
    assert names[0] == {"resnet18": "stem", "squeezenet1_1": "conv1"}[net.spec.name]
    assert names[-1] == {"resnet18": net.spec.last_layer, "squeezenet1_1": "conv10"}[net.spec.name]
    assert names[1:-1] == sorted(names[1:-1])


def test_apply_is_pure_and_works_under_vmap_and_grad(net, images):
    before = jax.tree.map(np.array, net.variables)
    one_by_one = jax.vmap(lambda image: net.apply(net.variables, image[None])[0])(images)
    np.testing.assert_allclose(one_by_one, net.apply(net.variables, images), rtol=1e-4, atol=1e-5)
    gradient = jax.grad(lambda x: net.scores(net.variables, x).sum())(images)
    assert gradient.shape == images.shape
    assert float(jnp.abs(gradient).max()) > 0
    jax.tree.map(np.testing.assert_array_equal, before, jax.tree.map(np.array, net.variables))


def test_gradient_agrees_with_finite_differences(net, images):
    def score(x):
        return net.scores(net.variables, x)[:, 3].sum()

    gradient = jax.grad(score)(images)
    direction = gradient / jnp.linalg.norm(gradient)
    step = 0.003
    difference = (score(images + step * direction) - score(images - step * direction)) / (2 * step)
    assert float(difference) == pytest.approx(float(jnp.linalg.norm(gradient)), rel=0.03)


def test_forward_mode_says_what_it_needs(net, images):
    def score(x):
        return net.scores(net.variables, x)[:, 3].sum()

    with pytest.raises(InputError, match=r"net.replace\(plain=True\)"):
        jax.jvp(score, (images,), (images,))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (jnp.zeros((32, 32, 3)), "3 axes"),
        (jnp.zeros((1, 32, 32, 1)), "1 channels"),
        (jnp.zeros((1, 32, 32, 3), jnp.uint8), "dtype uint8"),
        (jnp.zeros((1, 32, 32, 3), jnp.bfloat16), "dtype bfloat16"),
        (jnp.zeros((1, 9, 9, 3)), "at least 21 pixels"),
    ],
)
def test_refuses_other_images_by_name(bad, said):
    net = tljax.init_network("squeezenet1_1", key=jax.random.key(0), classes=2)
    with pytest.raises(InputError, match=said):
        net.apply(net.variables, bad)


RANGES = {
    "like 0 to 255: divide by 255": [255.0, 0.0, 17.0],
    "like 0 to 255": [250.0, -6.0, np.nan],
    "normalised by a mean": [2.64, -2.1, 0.0],
    "normalised by a mean and": [131.0, -123.7, 5.0],
    "normalised by": [2.2, -0.4, 0.0],
    "these look": [0.3, -np.inf, 0.0],
}


@pytest.mark.parametrize(("said", "pixel"), RANGES.items())
def test_refuses_images_of_another_range_and_says_which(net, said, pixel):
    for bad in (np.full((2, 32, 32, 3), pixel, np.float32), jnp.full((2, 32, 32, 3), jnp.asarray(pixel))):
        for function in (net.apply, net.scores, net.embed, net.intermediates):
            with pytest.raises(InputError, match=rf"must be in \[0, 1\], got .*{said}"):
                function(net.variables, bad)
        with pytest.raises(InputError, match=said):
            net.apply_train(net.variables, bad, key=jax.random.key(0))


def test_what_is_near_the_range_or_traced_or_no_number_is_not_refused(net, images):
    for fine in (2.0 * images - 0.5, images.at[0, 0, 0].set(jnp.nan), jnp.full_like(images, jnp.nan)):
        assert net.apply(net.variables, fine).shape == (3, 7)
    far = 255 * images
    under_jit = jax.jit(lambda v, x: net.apply(v, x))(net.variables, far)
    assert under_jit.shape == (3, 7)
    assert jax.grad(lambda x: net.scores(net.variables, x).sum())(far).shape == far.shape
    assert jax.vmap(net.apply, (None, 0))(net.variables, far[:, None]).shape == (3, 1, 7)


def test_nothing_is_copied_from_an_accelerator(monkeypatch):
    from tljax.models import inputs

    class Shard:
        device = type("Device", (), {"platform": "tpu"})

        @property
        def data(self):
            raise AssertionError("copied")

    class OnTpu:
        addressable_shards = (Shard(),)

    monkeypatch.setattr(inputs.jax, "Array", OnTpu)
    inputs.check_range(OnTpu())


def test_functions_are_compiled_and_can_be_static_arguments(net, images):
    assert isinstance(net.embed, jax.stages.Wrapped)
    run = jax.jit(lambda variables, images, embed: embed(variables, images), static_argnames="embed")
    np.testing.assert_array_equal(run(net.variables, images, embed=net.embed), net.embed(net.variables, images))
    assert "jit_apply" in net.apply.lower(net.variables, images).as_text()


def test_for_inference_takes_the_number_of_images(net):
    few, many = (tljax.for_inference(net, images=images) for images in (1, 10_000))
    assert (few.plain, many.plain, tljax.for_inference(net).plain) == (True, False, False)
    assert tljax.for_inference(many, images=2).plain  # whatever it was prepared for before
    for bad, said in ((0, "got 0"), (2.5, "got 2.5"), (jnp.zeros((1, 32, 32, 3)), "got ArrayImpl")):
        with pytest.raises(InputError, match=f"at least 1, or None: {said}"):
            tljax.for_inference(net, images=bad)


def test_for_inference_gives_the_same_logits(net, images):
    stats = {
        path: leaf + 0.3 * np.random.default_rng(2).random(leaf.shape).astype(np.float32)
        for path, leaf in trees.flatten(net.variables["batch_stats"]).items()
    }
    net = net.replace(variables={**net.variables, "batch_stats": trees.unflatten(stats)})
    fast = tljax.for_inference(net)
    expected = net.apply(net.variables, images)
    got = fast.apply(fast.variables, images)
    assert float(jnp.abs(got - expected).max()) <= 1e-5 * float(jnp.abs(expected).max())
    assert not any("norm" in path for path in trees.flatten(fast.variables))
    assert tljax.for_inference(fast) is fast


def test_plain_form_gives_the_same_logits_and_forward_mode(images):
    net = tljax.init_network("efficientnet_lite0", key=jax.random.key(0), classes=3)
    plain = net.replace(plain=True)
    np.testing.assert_allclose(
        plain.apply(net.variables, images), net.apply(net.variables, images), rtol=1e-4, atol=1e-5
    )
    _, tangent = jax.jvp(lambda x: plain.apply(net.variables, x), (images,), (images,))
    assert bool(jnp.isfinite(tangent).all())


def test_a_perturbation_carries_the_gradient_of_its_layer(net, images):
    layer = net.spec.last_layer
    zeros = jnp.zeros_like(net.intermediates(net.variables, images)[layer])

    def score(perturbation):
        return net.scores({**net.variables, "perturbations": {layer: perturbation}}, images)[:, 0].sum()

    step = 1e-2 * jnp.ones_like(zeros)
    change = float((score(step) - score(-step)) / 2)
    assert change == pytest.approx(float(jnp.vdot(jax.grad(score)(zeros), step)), rel=0.05, abs=1e-4)


def test_scores_are_before_the_last_relu_of_squeezenet(images):
    net = tljax.init_network("squeezenet1_1", key=jax.random.key(3))
    maps = net.intermediates(net.variables, images)["conv10"]
    np.testing.assert_allclose(net.scores(net.variables, images), maps.mean((1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(net.apply(net.variables, images), jax.nn.relu(maps).mean((1, 2)), rtol=1e-4, atol=1e-5)


def test_training_changes_only_the_named_statistics(images):
    net = tljax.init_network("resnet18", key=jax.random.key(0), classes=2)
    logits, stats = net.apply_train(net.variables, images, key=jax.random.key(1))
    assert logits.shape == (3, 2)
    before = trees.flatten(net.variables["batch_stats"])
    for path, leaf in trees.flatten(stats).items():
        np.testing.assert_array_equal(leaf, before[path])
    _, stats = net.apply_train(net.variables, images, key=jax.random.key(1), update_stats=("stage4_block1",))
    for path, leaf in trees.flatten(stats).items():
        assert bool((leaf != before[path]).any()) == path.startswith("stage4_block1/"), path


def test_functions_are_shared_so_that_nothing_is_compiled_twice():
    first = tljax.init_network("squeezenet1_1", key=jax.random.key(0))
    second = tljax.init_network("squeezenet1_1", key=jax.random.key(1))
    assert first.apply is second.apply
    assert first.apply is not first.replace(dtype="bfloat16").apply


def test_bfloat16_computes_close_and_returns_float32(net, images):
    low = net.replace(dtype="bfloat16").apply(net.variables, images)
    high = net.apply(net.variables, images)
    assert low.dtype == jnp.float32
    assert float(jnp.abs(low - high).max()) <= 0.05 * float(jnp.abs(high).max())
    assert float(jnp.abs(low - high).max()) > 0


def test_normalisation_is_inside_apply():
    from tljax.models.inputs import normalise

    grey = jnp.full((1, 21, 21, 3), 0.5)
    np.testing.assert_allclose(normalise(tljax.get_spec("efficientnet_lite0"), grey), (127.5 - 127) / 128, rtol=1e-3)
    caffe = normalise(tljax.get_spec("squeezenet1_1.caffe"), grey)
    np.testing.assert_allclose(caffe[0, 0, 0], [127.5 - 104, 127.5 - 117, 127.5 - 123], rtol=1e-5)


def test_an_unknown_model_suggests_the_nearest():
    with pytest.raises(InputError, match="resnet50"):
        tljax.init_network("resnet5O", key=jax.random.key(0))
    with pytest.raises(InputError, match="at least 1"):
        tljax.init_network("resnet18", key=jax.random.key(0), classes=0)
