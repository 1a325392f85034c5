"""Path names, labels, partition and combine."""

import jax.numpy as jnp
import pytest

from tljax import trees
from tljax.errors import InputError

TREE = {"params": {"stem": {"kernel": 1, "bias": 2}, "head": {"kernel": 3}}, "batch_stats": {"stem": {"mean": 4}}}


def test_flatten_and_back():
    flat = trees.flatten(TREE)
    assert flat == {
        "params/stem/kernel": 1,
        "params/stem/bias": 2,
        "params/head/kernel": 3,
        "batch_stats/stem/mean": 4,
    }
    assert trees.unflatten(flat) == TREE


def test_the_first_whole_match_wins():
    labels = trees.label(TREE, [("params/head/.*", "head"), (".*/kernel", "kernels"), (".*", "rest")])
    assert labels["params"] == {"stem": {"kernel": "kernels", "bias": "rest"}, "head": {"kernel": "head"}}


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([("params/.*", "a")], "no pattern covers 1"),
        ([("head", "a"), (".*", "b")], '"head" matches no leaf'),
        ([("(", "a"), (".*", "b")], "no regular expression"),
    ],
)
def test_label_refuses(rules, said):
    with pytest.raises(InputError, match=said):
        trees.label(TREE, rules)


def test_partition_and_combine():
    labels = trees.label(TREE, [("params/head/.*", "head"), (".*", "frozen")])
    chosen, rest = trees.partition(TREE, labels, "head")
    assert chosen["params"] == {"stem": {"kernel": None, "bias": None}, "head": {"kernel": 3}}
    assert rest["params"]["head"] == {"kernel": None}
    assert trees.combine(chosen, rest) == TREE
    assert trees.combine({"a": jnp.zeros(2)}, {"a": None})["a"].shape == (2,)


def test_select_row_by_row():
    new, old = ({"a": jnp.full((2, 3), x), "b": jnp.full(2, x)} for x in (1.0, 0.0))
    mixed = trees.select(jnp.array([True, False]), new, old)
    assert mixed["a"].tolist() == [[1, 1, 1], [0, 0, 0]]
    assert mixed["b"].tolist() == [1, 0]
