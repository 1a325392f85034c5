"""Rule tables: the right place, the right axis order, and every mismatch named from both sides."""

import dataclasses

import numpy as np
import pytest

from tljax.errors import InputError
from tljax.models import rules
from tljax.models.network import abstract_variables
from tljax.models.spec import get_spec
from tljax.models.vgg import dense_of_map
from tljax.trees import flatten
from tljax.weights.convert import convert, fits

RESNET18_WIDTHS = (64, 128, 256, 512)


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    fields = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{field}": (width,) for field in fields} | {f"{name}.num_batches_tracked": ()}


def resnet18_shapes(classes: int = 1000) -> dict[str, tuple[int, ...]]:
    """torchvision's names and shapes."""
    shapes = {"conv1.weight": (64, 3, 7, 7)} | norm("bn1", 64)
    inputs = 64
    for stage, width in enumerate(RESNET18_WIDTHS, start=1):
        for block in range(2):
            name = f"layer{stage}.{block}"
            shapes |= {f"{name}.conv1.weight": (width, inputs, 3, 3)} | norm(f"{name}.bn1", width)
            shapes |= {f"{name}.conv2.weight": (width, width, 3, 3)} | norm(f"{name}.bn2", width)
            if inputs != width:
                shapes |= {f"{name}.downsample.0.weight": (width, inputs, 1, 1)}
                shapes |= norm(f"{name}.downsample.1", width)
            inputs = width
    return shapes | {"fc.weight": (classes, 512), "fc.bias": (classes,)}


def timm_mobile_shapes(config) -> dict[str, tuple[int, ...]]:
    """timm's names and shapes for MobileNetV2 and EfficientNet-Lite."""
    shapes = {"conv_stem.weight": (config.stem, 3, 3, 3)} | norm("bn1", config.stem)
    inputs = config.stem
    for i, stage in enumerate(config.stages):
        for j, block in enumerate(stage):
            name, middle, k = f"blocks.{i}.{j}", block.wide or inputs, block.kernel
            if block.wide:
                shapes |= {f"{name}.conv_pw.weight": (middle, inputs, 1, 1)} | norm(f"{name}.bn1", middle)
            shapes |= {f"{name}.conv_dw.weight": (middle, 1, k, k)}
            shapes |= norm(f"{name}.bn{1 + bool(block.wide)}", middle)
            last = ("conv_pwl", "bn3") if block.wide else ("conv_pw", "bn2")
            shapes |= {f"{name}.{last[0]}.weight": (block.features, middle, 1, 1)}
            shapes |= norm(f"{name}.{last[1]}", block.features)
            inputs = block.features
    shapes |= {"conv_head.weight": (config.top, inputs, 1, 1)} | norm("bn2", config.top)
    return shapes | {"classifier.weight": (1000, config.top), "classifier.bias": (1000,)}


def arrays(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Small distinct values, so that a mixed-up tensor shows."""
    return {
        name: np.broadcast_to(np.float32(i), shape) if shape else np.array(1)
        for i, (name, shape) in enumerate(shapes.items())
    }


@pytest.fixture(scope="module")
def resnet18():
    spec = get_spec("resnet18")
    return spec, abstract_variables(spec)


def test_transforms_move_each_axis_to_its_place():
    kernel = np.arange(2 * 3 * 5 * 7, dtype=np.float32).reshape(2, 3, 5, 7)
    ours = rules.conv(kernel)
    assert ours.shape == (5, 7, 3, 2)
    assert ours[4, 6, 2, 1] == kernel[1, 2, 4, 6]
    assert rules.conv(np.zeros((8, 1, 3, 3))).shape == (3, 3, 1, 8)
    assert rules.dense(np.zeros((10, 4))).shape == (4, 10)


@pytest.mark.parametrize("as_convolution", [False, True])
def test_dense_of_map_undoes_the_flatten_order_of_torch(as_convolution):
    random = np.random.default_rng(0)
    kernel = random.normal(size=(3, 512 * 49)).astype(np.float32)
    image = random.normal(size=(7, 7, 512)).astype(np.float32)
    expected = kernel @ image.transpose(2, 0, 1).reshape(-1)  # torch flattens channels, rows, columns
    given = kernel.reshape(3, 512, 7, 7) if as_convolution else kernel
    np.testing.assert_allclose(image.reshape(-1) @ dense_of_map(given), expected, rtol=1e-4, atol=1e-3)


def test_every_tensor_of_a_resnet_finds_its_place(resnet18):
    spec, abstract = resnet18
    source = arrays(resnet18_shapes())
    flat = flatten(convert(source, spec, abstract))
    assert {path: leaf.shape for path, leaf in flatten(abstract).items()} == {p: a.shape for p, a in flat.items()}
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in flat.values())
    for path, name in {
        "params/stem/kernel": "conv1.weight",
        "params/stem/norm/scale": "bn1.weight",
        "batch_stats/stem/norm/var": "bn1.running_var",
        "params/stage3_block1/conv2/kernel": "layer3.1.conv2.weight",
        "batch_stats/stage3_block1/conv2/norm/mean": "layer3.1.bn2.running_mean",
        "params/stage2_block0/shortcut/norm/bias": "layer2.0.downsample.1.bias",
        "params/head/bias": "fc.bias",
    }.items():
        assert (flat[path] == source[name].flat[0]).all(), path


def test_names_of_a_data_parallel_run(resnet18):
    source = {f"module.{name}": array for name, array in arrays(resnet18_shapes()).items()}
    assert "stem" in convert(source, *resnet18)["params"]


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_lite0", "efficientnet_lite2"])
def test_timm_names_of_mobile_networks(name):
    spec = get_spec(name)
    source = arrays(timm_mobile_shapes(spec.config))
    flat = flatten(convert(source, spec, abstract_variables(spec)))
    for path, origin in {
        "params/stage1_block0/project/kernel": "blocks.0.0.conv_pw.weight",
        "params/stage4_block2/depthwise/norm/scale": "blocks.3.2.bn2.weight",
        "batch_stats/stage7_block0/project/norm/var": "blocks.6.0.bn3.running_var",
        "params/top/norm/bias": "bn2.bias",
    }.items():
        assert (flat[path] == source[origin].flat[0]).all(), path


def test_timm_names_of_vgg():
    spec = get_spec("vgg16")
    shapes, index, inputs = {}, 0, 3
    for stage in spec.config.widths:
        for width in stage:
            shapes |= {f"features.{index}.weight": (width, inputs, 3, 3), f"features.{index}.bias": (width,)}
            index, inputs = index + 2, width
        index += 1
    shapes |= {"pre_logits.fc1.weight": (4096, 512, 7, 7), "pre_logits.fc1.bias": (4096,)}
    shapes |= {"pre_logits.fc2.weight": (4096, 4096, 1, 1), "pre_logits.fc2.bias": (4096,)}
    shapes |= {"head.fc.weight": (1000, 4096), "head.fc.bias": (1000,)}
    flat = flatten(convert(arrays(shapes), spec, abstract_variables(spec)))
    assert flat["params/fc6/kernel"].shape == (25088, 4096)
    assert (flat["params/conv5_3/bias"] == list(shapes).index("features.28.bias")).all()


def test_all_mismatches_in_one_line(resnet18):
    source = arrays(resnet18_shapes())
    del source["layer4.1.bn2.weight"]
    source["conv1.weight"] = np.zeros((64, 3, 3, 3), np.float32)
    source["extra.weight"] = np.zeros(3, np.float32)
    source["bn1.bias"] = np.zeros(64, np.int64)
    with pytest.raises(InputError) as caught:
        convert(source, *resnet18)
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "not the weights of resnet18: 4 mismatches",
        "conv1.weight (64, 3, 3, 3) does not fit params/stem/kernel, which is (7, 7, 3, 64)",
        "extra.weight (3,) has no place",
        "bn1.bias (64,) does not fit params/stem/norm/bias, for it holds int64",
        "params/stage4_block1/conv2/norm/scale (512,) has no source",
    ):
        assert part in message


def test_a_long_list_is_cut_and_counted(resnet18):
    with pytest.raises(
        InputError, match=r"105 mismatches: .* has no place; .* has no source; .*; and 99 more"
    ) as caught:
        convert({f"x{i}": np.zeros(2, np.float32) for i in range(3)}, *resnet18)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("classes", [10, 1001])
def test_another_number_of_classes(resnet18, classes):
    with pytest.raises(InputError, match=r"2 mismatches: .*only the classifier differs: resnet18 has 1000 classes"):
        convert(arrays(resnet18_shapes(classes)), *resnet18)


def test_tensors_that_only_half_fit(resnet18):
    for shape in ((64,), (64, 3, 7), (7, 7, 3, 64)):
        source = arrays(resnet18_shapes()) | {"conv1.weight": np.zeros(shape, np.float32)}
        with pytest.raises(InputError, match=r"1 mismatch: conv1\.weight"):
            convert(source, *resnet18)


def test_caffe_weights_only_with_caffe_preprocessing():
    caffe, plain = get_spec("squeezenet1_1.caffe"), get_spec("squeezenet1_1")
    shapes = {"conv1": (3, 3, 3, 64), "conv10": (1, 1, 512, 1000)}
    fires = caffe.config.fires
    for number, (squeeze, expand) in enumerate(fires, start=2):
        shapes[f"fire{number}/squeeze1x1"] = (1, 1, 64 if number == 2 else 2 * fires[number - 3][1], squeeze)
        shapes |= {f"fire{number}/expand{k}x{k}": (k, k, squeeze, expand) for k in (1, 3)}
    source = {f"{layer}/kernel": np.zeros(shape, np.float32) for layer, shape in shapes.items()}
    source |= {f"{layer}/bias": np.zeros(shape[-1:], np.float32) for layer, shape in shapes.items()}
    assert fits(source, caffe)
    assert not fits(source, plain)
    assert fits(source, dataclasses.replace(plain, channel_order="bgr"))
