"""One photo attacked through a file."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from tests.synth.toy import SHAPE, linear, linear_variables
from tljax import synth
from tljax.data.framing import preprocess
from tljax.errors import InputError
from tljax.synth import photo_attack
from tljax.synth.photo_attack import attack_photo, choose_budget

PHOTO = np.random.default_rng(0).integers(60, 196, SHAPE, np.uint8)


class Toy:
    """What an attack needs of a network."""

    scores, variables = staticmethod(linear), linear_variables()
    spec = SimpleNamespace(
        classes=tuple("abcde"), crop_mode="center", resize_size=10, input_size=SHAPE[0], interpolation="bilinear"
    )
    folded = True

    def replace(self, **_):
        """It has one form."""
        return self


@pytest.fixture
def toy(monkeypatch):
    def top_class(net, image):
        probs = jax.nn.softmax(linear(net.variables, image[None] / np.float32(255)))[0]
        return int(probs.argmax()), float(probs.max())

    monkeypatch.setattr("tljax.synth.photo_attack.top_class", top_class)
    return Toy()


def test_what_is_reported_is_that_of_the_8_bit_file(toy):
    seen = photo_attack.top_class(toy, PHOTO)[0]
    target = "abcde"[(seen + 1) % 5]
    record = attack_photo(toy, PHOTO, key=jax.random.key(0), target=target, eps=16 / 255)
    saved = record["pictures"]["adversarial"]
    change = (saved.astype(float) - PHOTO) / 255
    assert record["success"] is (record["adversarial"]["name"] == target) is True
    assert record["adversarial"]["linf"] == pytest.approx(np.abs(change).max())
    assert record["adversarial"]["l2"] == pytest.approx(np.sqrt((change**2).sum()))
    again = photo_attack.top_class(toy, preprocess(saved, toy.spec))
    assert record["as_photo"] == {"name": "abcde"[again[0]], "prob": again[1]}
    assert (record["source"]["name"], record["steps"], record["norm"]) == ("abcde"[seen], 40, "linf")
    with pytest.raises(InputError, match="already sees"):
        attack_photo(toy, PHOTO, key=jax.random.key(0), target="abcde"[seen])


def test_no_step_is_refused_and_not_taken_for_the_default(toy):
    with pytest.raises(InputError, match="at least 1"):
        attack_photo(toy, PHOTO, key=jax.random.key(0), steps=0)


def test_norms_and_budgets_by_default():
    assert choose_budget("pgd") == ("linf", 4 / 255)
    assert choose_budget("pgd", "l2") == ("l2", 1.0)
    assert choose_budget("cw_l2") == ("l2", None)
    with pytest.raises(InputError, match="cw_l2 measures"):
        choose_budget("cw_l2", "linf")
    with pytest.raises(InputError, match='no attack named "pdg": there are pgd, '):
        choose_budget("pdg")
    assert set(photo_attack.ATTACKS) <= set(synth.__all__)
