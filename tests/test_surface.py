"""The names that scripts rely on, and that importing them costs nothing."""

import subprocess
import sys

import pytest

import tljax
from tljax.models.spec import get_spec, list_models

MODELS = (
    "vgg16 vgg19 vgg11 vgg13 vgg11_bn vgg13_bn vgg16_bn vgg19_bn resnet18 resnet34 resnet50 resnet101 resnet152 "
    "resnext50_32x4d resnext101_32x8d resnext101_64x4d wide_resnet50_2 wide_resnet101_2 resnet50d seresnext26d_32x4d "
    "mobilenet_v2 mobilenet_v3_large mobilenet_v3_small efficientnet_b0 efficientnet_b1 efficientnet_b2 "
    "efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6 efficientnet_b7 efficientnet_v2_s "
    "efficientnet_v2_m efficientnet_v2_l efficientnet_lite0 efficientnet_lite1 efficientnet_lite2 densenet121 "
    "densenet161 densenet169 densenet201 squeezenet1_1 squeezenet1_0 convnext_tiny convnext_small convnext_base "
    "convnext_large convnextv2_nano convnextv2_tiny convnextv2_base vit_tiny_patch16 vit_small_patch16 "
    "vit_base_patch16 dinov2_vits14 dinov2_vitb14 dinov2_vitl14 dinov2_vitg14 dinov2_vits14_reg dinov2_vitb14_reg "
    "dinov2_vitl14_reg dinov2_vitg14_reg squeezenet1_1.caffe vgg16.keras vgg19.keras resnet50.keras "
    "mobilenet_v2.keras"
)


def test_models():
    assert list_models() == MODELS.split()
    for name in list_models():
        spec = get_spec(name)
        assert len(spec.classes) == (0 if name.startswith("dinov2") else 1000)
        assert spec.input_size <= spec.resize_size
        assert spec.source == spec.sources[0]
    with pytest.raises(AttributeError):
        spec.name = "other"


@pytest.mark.parametrize(
    "path",
    [
        "list_models",
        "load_pretrained",
        "init_network",
        "load_run",
        "for_inference",
        "transfer.fit_probe",
        "transfer.make_train_step",
        "transfer.train",
        "transfer.evaluate",
        "transfer.export_network",
        "synth.total_variation",
        "synth.cross_entropy",
        "synth.ideal",
        "synth.fgsm",
        "synth.pgd",
        "synth.mi_fgsm",
        "synth.cw_l2",
        "synth.apgd_ce",
        "synth.apgd_dlr",
        "synth.apgd_t",
        "synth.square",
        "synth.fab",
        "synth.auto_attack",
        "synth.minimal_eps",
        "synth.saliency",
        "synth.integrated_gradients",
        "synth.grad_cam",
    ],
)
def test_public_functions_are_callable_and_say_what_they_do(path):
    found = tljax
    for name in path.split("."):
        found = getattr(found, name)
    assert callable(found)
    assert found.__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'load_pretraned'"):
        _ = tljax.load_pretraned


def test_import_does_no_work():
    code = (
        "import sys, tljax; tljax.list_models()\n"
        "loaded = {'jax', 'flax', 'numpy', 'matplotlib', 'PIL'} & set(sys.modules)\n"
        "sys.exit(bool(loaded))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
