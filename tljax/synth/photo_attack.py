"""One photo attacked, and what the network says of the 8-bit file that is left."""

import inspect
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Array, UInt8

from tljax.data.framing import preprocess
from tljax.data.png import through_png
from tljax.errors import InputError, match_name
from tljax.models.network import Network, for_inference
from tljax.synth.apgd import apgd_ce, apgd_dlr, apgd_t
from tljax.synth.attacks import fgsm, mi_fgsm, pgd
from tljax.synth.auto_attack import AttackResult, auto_attack
from tljax.synth.carlini_wagner import cw_l2
from tljax.synth.eight_bit import check_budget, to_bytes
from tljax.synth.fab import fab
from tljax.synth.judging import top_class
from tljax.synth.problem import hidden_gradients
from tljax.synth.square import square

_ALL = (pgd, fgsm, mi_fgsm, cw_l2, apgd_ce, apgd_dlr, apgd_t, square, fab, auto_attack)
ATTACKS: dict[str, Callable[..., Any]] = {attack.__name__: attack for attack in _ALL}
_MANY, _MANY_CLASSES = ("apgd_t", "fab", "auto_attack"), 9  # which take their steps towards each of these classes
_SMALLEST = ("cw_l2", "fab")  # which seek the smallest change where no budget is given
_BUDGETS = {"linf": 4 / 255, "l2": 1.0}


def attack_photo(
    net: Network,
    photo: UInt8[np.ndarray, "s s 3"],
    *,
    key: Array,
    target: str | int | None = None,
    method: str = "pgd",
    norm: str | None = None,
    eps: float | None = None,
    steps: int | None = None,
) -> dict[str, Any]:
    """Changes a photo until the network takes it for something else, and reports what it says of the PNG, read back.

    Args:
        photo: uint8, at the network's resolution.
        key: of the random start.
        target: the class that the network shall see, by name or index; None for any other than it sees now.
        method: a name in `ATTACKS`.
        norm, eps: see `choose_budget`.
        steps: gradients taken (apgd_t, fab: towards each class; square: queries; auto_attack: see there); by default as
            many as the attack takes by itself.
    Returns:
        source: {name, prob}; adversarial: {name, prob, linf, l2}, distances in [0, 1] units between 8-bit pictures;
        as_photo: {name, prob} of the PNG given to `tljax.predict`, which resizes it and cuts a margin off like any
        photo; success: of the PNG as it is; masked_gradients: whether the attack failed and the photo shows no
        gradient but zero; target, if given; method, norm, eps, steps, seconds, size (h, w); pictures: {original,
        adversarial}, uint8.

    Raises:
        InputError: an unknown class, one that the network sees already; see also `choose_budget` and `attacks.pgd`.

    >>> result = tljax.synth.attack_photo(net, photos[0], eps=8 / 255, steps=3, key=jax.random.key(0))
    >>> result["adversarial"]["linf"] <= 8 / 255
    True
    """
    norm, eps = choose_budget(method, norm, eps)
    attack, classes, parameters = ATTACKS[method], net.spec.classes, inspect.signature(ATTACKS[method]).parameters
    if target is not None and "targeted" not in parameters:
        raise InputError(f"{method} seeks any other class: for a target use pgd, apgd_ce or fab")
    if steps is None:
        steps = int(parameters["steps"].default)
    before, prob = top_class(net, photo)
    label = before if target is None else match_name(target, classes)
    if target is not None and label == before:
        raise InputError(f'the network already sees "{classes[label]}" ({prob:.2f}): give another target')
    net = for_inference(net, images=3 * steps * (_MANY_CLASSES if method in _MANY else 1))
    given, labels = photo[None].astype(np.float32) / 255, np.array([label])
    start = time.perf_counter()
    made = attack(
        net.scores,
        net.variables,
        given,
        labels,
        eps=eps,
        norm=norm,
        **({} if target is None else {"targeted": True}),
        steps=steps,
        key=key,
    )
    made = made.images if isinstance(made, AttackResult) else made
    saved = through_png(np.asarray(to_bytes(made))[0])
    seconds = time.perf_counter() - start
    after, prob_after = top_class(net, saved)
    as_photo, prob_as_photo = top_class(net, preprocess(saved, net.spec))
    change = (saved.astype(np.float64) - photo) / 255
    distances = {"linf": float(np.abs(change).max()), "l2": float(np.sqrt((change**2).sum()))}
    success = bool(np.isfinite(prob_after)) and (after != before if target is None else after == label)
    return {
        "source": {"name": classes[before], "prob": prob},
        "adversarial": {"name": classes[after], "prob": prob_after, **distances},
        "as_photo": {"name": classes[as_photo], "prob": prob_as_photo},
        "success": success,
        "masked_gradients": not success and bool(hidden_gradients(net.scores, net.variables, given, labels)[0]),
        "steps": steps,
        **({} if target is None else {"target": classes[label]}),
        "eps": eps,
        "norm": norm,
        "method": method,
        "seconds": seconds,
        "size": list(photo.shape[:2]),
        "pictures": {"original": photo, "adversarial": saved},
    }


def choose_budget(method: str, norm: str | None = None, eps: float | None = None) -> tuple[str, float | None]:
    """The norm and the budget that an attack takes where these are not given.

    Returns:
        norm: "l2" for cw_l2, else "linf"; eps: 4/255 for "linf", 1 for "l2", and None for cw_l2 and fab, which seek the
        smallest change.

    Raises:
        InputError: an unknown method; cw_l2 with another norm; a budget that is not usable: see
            `eight_bit.check_budget`.

    >>> tljax.synth.choose_budget("cw_l2"), tljax.synth.choose_budget("pgd", eps=0.1)
    (('l2', None), ('linf', 0.1))
    """
    if method not in ATTACKS:
        raise InputError(f'no attack named "{method}": there are {", ".join(ATTACKS)}')
    norm = norm or ("l2" if method == "cw_l2" else "linf")
    if method == "cw_l2" and norm != "l2":
        raise InputError("cw_l2 measures change in the norm l2")
    if method in _SMALLEST and eps is None:
        return norm, None
    eps = _BUDGETS[norm] if eps is None else eps
    check_budget(eps, norm)
    return norm, eps
