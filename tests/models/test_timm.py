"""The hub's names: what a `config.json` of timm's layout says becomes a specification, or is refused by its setting."""

import copy

import pytest

from tljax.errors import InputError
from tljax.models import spec as registry
from tljax.models import timm
from tljax.models.spec import Family, ModelSpec, register

PLAIN = ModelSpec("toynet", "toy", (), feature_dim=8, last_layer="block1", params=100, top1=50.0)
DOCUMENT = {
    "architecture": "toynet",
    "num_classes": 3,
    "global_pool": "avg",
    "label_names": ["cat", "dog", "cow"],
    "model_args": {"drop_rate": 0.2, "in_chans": None},
    "pretrained_cfg": {
        "tag": "in1k",
        "input_size": [3, 240, 240],
        "interpolation": "bicubic",
        "crop_pct": 0.95,
        "crop_mode": "center",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.5, 1.0],
        "license": "mit",
        "first_conv": "conv",
    },
}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))
    toy = Family("toy", list, ("block",), lambda spec: {}, (), timm=timm.table({"toynet": PLAIN}))
    register(toy)


def changed(path: str, value):
    document = copy.deepcopy(DOCUMENT)
    *parents, key = path.split("/")
    place = document
    for parent in parents:
        place = place[parent]
    place[key] = value
    return document


def test_every_setting_becomes_part_of_the_specification():
    spec = timm.spec_of(DOCUMENT)
    assert (spec.classes, spec.licence) == (("cat", "dog", "cow"), "mit")
    assert (spec.input_size, spec.crop_pct, spec.crop_mode, spec.interpolation) == (240, 0.95, "center", "bicubic")
    assert (spec.mean, spec.std) == ((0.5, 0.5, 0.5), (0.25, 0.5, 1.0))
    assert (spec.params, spec.top1) == (None, None)
    assert (spec.family, spec.feature_dim, spec.last_layer) == ("toy", 8, "block1")


def test_what_is_left_out_is_as_in_timm():
    spec = timm.spec_of({"architecture": "toynet"})
    assert (spec.input_size, spec.crop_pct, spec.interpolation) == (224, 0.875, "bicubic")
    assert (spec.mean, spec.std) == (ModelSpec.mean, ModelSpec.std)
    assert len(spec.classes) == 1000


def test_an_old_file_has_its_settings_beside_the_architecture():
    old = {"architecture": "toynet", "num_classes": 2, "labels": ["a", "b"], "input_size": [3, 64, 64], "crop_pct": 1.0}
    spec = timm.spec_of(old)
    assert (spec.classes, spec.input_size, spec.crop_pct) == (("a", "b"), 64, 1.0)


@pytest.mark.parametrize(("count", "classes"), [(0, ()), (5, ("0", "1", "2", "3", "4"))])
def test_classes_without_names_are_numbers(count, classes):
    document = changed("num_classes", count)
    del document["label_names"]
    assert timm.spec_of(document).classes == classes


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("architecture", "toynet2", 'the architecture "toynet2" is not known'),
        ("architecture", None, 'no "architecture"'),
        ("num_classes", "3", "\"num_classes\" '3'"),
        ("num_classes", 4, '"label_names" are not the names of 4 classes'),
        ("label_names", ["a", "a", "b"], '"label_names" name a class twice'),
        ("global_pool", "max", "global_pool = 'max'"),
        ("model_args", ["x"], '"model_args" is no object'),
        ("model_args/in_chans", 1, "in_chans = 1"),
        ("model_args/output_stride", 8, "output_stride = 8"),
        ("model_args/img_size", [64, 32], '"img_size"'),
        ("pretrained_cfg", 3, '"pretrained_cfg" is no object'),
        ("pretrained_cfg/input_size", [1, 224, 224], '"input_size"'),
        ("pretrained_cfg/input_size", [3, 224, 192], '"input_size"'),
        ("pretrained_cfg/input_size", [3, 10**9, 10**9], '"input_size"'),
        ("pretrained_cfg/interpolation", "random", "\"interpolation\" 'random'"),
        ("pretrained_cfg/crop_pct", 1.5, '"crop_pct" 1.5'),
        ("pretrained_cfg/crop_mode", "corner", '"crop_mode"'),
        ("pretrained_cfg/crop_mode", "squash", '"crop_mode" \'squash\' with "crop_pct" 0.95'),
        ("pretrained_cfg/mean", [0.5], '"mean"'),
        ("pretrained_cfg/std", [0.5, 0.5, 0.0], '"std"'),
        ("pretrained_cfg/license", ["mit"], '"license" is no text'),
    ],
)
def test_what_is_not_supported_is_refused_by_its_name(path, value, said):
    with pytest.raises(InputError) as caught:
        timm.spec_of(changed(path, value))
    assert said in str(caught.value)


def test_a_name_that_no_repository_can_have_is_refused():
    for name in ("timm/", "timm/a/b", "hub:alone", "timm/..", "hub:a b/c"):
        with pytest.raises(InputError, match="no model named"):
            registry.get_spec(name)
