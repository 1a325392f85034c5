from dataclasses import replace

import jax
import pytest

from tljax import trees
from tljax.errors import InputError
from tljax.models.network import abstract_variables
from tljax.models.spec import get_spec, list_models
from tljax.transfer.freeze import FROZEN, finetune_rules, label_variables, moving_layers, trainable_labels

FAMILIES = (
    *("vgg16", "resnet18", "mobilenet_v2", "efficientnet_lite0", "squeezenet1_1", "mobilenet_v3_small"),
    *("efficientnet_b0", "efficientnet_v2_s", "densenet121", "convnext_tiny", "convnextv2_nano", "vit_tiny_patch16"),
)


def labels_of(name, freeze=None):
    spec = replace(get_spec(name), head="linear", classes=("a", "b"))
    return label_variables(abstract_variables(spec), finetune_rules(spec, freeze))


@pytest.mark.parametrize("name", FAMILIES)
def test_rules_cover_every_leaf_and_freeze_the_earlier_half(name):
    flat = trees.flatten(labels_of(name)["params"])
    layers = list(dict.fromkeys(path.split("/")[0] for path in flat))
    frozen = [layer for layer in layers if {flat[p] for p in flat if p.startswith(f"{layer}/")} == {FROZEN}]
    assert flat["head/kernel"] == 0
    assert 1 <= len(frozen) < len(layers) - 1
    assert not any(name == FROZEN for path, name in flat.items() if path.split("/")[0] not in frozen)


def test_depth_counts_blocks_from_the_head():
    flat = trees.flatten(labels_of("resnet18", freeze=())["params"])
    assert [flat[f"{layer}/kernel"] for layer in ("stem", "head")] == [5, 0]
    assert flat["stage4_block1/conv1/kernel"] == 1
    assert flat["stage1_block0/conv2/norm/scale"] == 4


def test_a_pattern_wins_over_the_depth_and_replaces_the_default():
    labels = labels_of("resnet18", freeze=("params/stage4_.*",))
    flat = trees.flatten(labels["params"])
    assert flat["stem/kernel"] == 5
    assert {name for path, name in flat.items() if path.startswith("stage4_")} == {FROZEN}
    assert trainable_labels(labels) == (0, 2, 3, 4, 5)


def test_statistics_of_a_frozen_layer_do_not_move():
    labels = labels_of("resnet18", freeze=("params/(stem|stage[1-3]_).*",))
    assert moving_layers(labels) == ("stage4_block0", "stage4_block1")


def test_a_pattern_that_matches_nothing_is_refused():
    with pytest.raises(InputError, match=r"params/stagf4.*matches no leaf"):
        labels_of("resnet18", freeze=("params/stagf4.*",))


def test_nothing_left_to_train_is_refused():
    with pytest.raises(InputError, match="nothing to train"):
        labels_of("resnet18", freeze=(".*",))


def test_every_model_has_blocks():
    assert all(len(finetune_rules(get_spec(name))) > 5 for name in list_models())


def test_labels_have_the_structure_of_the_variables():
    labels = labels_of("resnet18")
    spec = replace(get_spec("resnet18"), head="linear", classes=("a", "b"))
    assert jax.tree.structure(labels) == jax.tree.structure(abstract_variables(spec))
