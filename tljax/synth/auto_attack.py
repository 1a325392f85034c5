"""AutoAttack: four attacks that need no tuning, one after the other; and the smallest budget that fools."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from tljax.errors import InputError
from tljax.synth.apgd import apgd_ce, apgd_t
from tljax.synth.eight_bit import Budget, Images, ImagesLike
from tljax.synth.fab import fab
from tljax.synth.inputs import Labels, Scores, Variables, image_keys
from tljax.synth.problem import MaskedGradientsWarning, fooled, make_problem
from tljax.synth.square import square

_TARGETS = 9
_QUERIES = 50  # of Square, for each step of the others


class AttackResult(NamedTuple):
    """What AutoAttack has found.

    Attributes:
        images: (b, h, w, c), float32 in [0, 1]: where an attack succeeded its image, else the original.
        success: (b,), whether the network takes it for another class than the label.
        gradients: (b,), how many were taken for each image; the queries of Square are not among them.

    >>> tljax.synth.AttackResult._fields
    ('images', 'success', 'gradients')
    """

    images: Images
    success: Bool[Array, " b"]
    gradients: Int[Array, " b"]


def auto_attack(
    scores: Scores,
    variables: Variables,
    images: ImagesLike,
    labels: Labels,
    *,
    eps: Budget,
    norm: str = "linf",
    version: str = "standard",
    steps: int = 100,
    key: Array,
    quantized: bool = True,
) -> AttackResult:
    """APGD on cross-entropy, APGD and FAB towards each of the nine next classes, Square: each on what still stands.

    With fewer than four classes APGD raises the difference of two logits in the place of the targeted DLR, and with
    fewer than ten there are fewer next classes. Not to be compiled as a whole: what still stands decides what is run.

    Args:
        version: "standard".
        steps: gradients of each run; 50 times as many queries of Square. The paper's are the default.
        key: one, or (b,), one for each image.
        scores, variables, images, labels, eps, norm, quantized: as `attacks.pgd`.
    Returns:
        `AttackResult`. Images that the network takes for another class anyway are a success, unchanged.
    Raises:
        InputError: another version; otherwise as `attacks.pgd`.
    Source: Croce and Hein, 2020 (arXiv 2003.01690).

    >>> net4 = tljax.init_network("toy", key=jax.random.key(0), classes=4)
    >>> result = tljax.synth.auto_attack(
    ...     net4.scores, net4.variables, images[:2], labels[:2], eps=8 / 255, steps=2, key=jax.random.key(0)
    ... )
    >>> result.success.shape
    (2,)
    """
    if version != "standard":
        raise InputError(f'version must be "standard", got "{version}"')
    problem = make_problem(
        scores, variables, images, labels, eps=eps, norm=norm, targeted=False, quantized=quantized, steps=steps
    )
    logits = scores(variables, problem.images)
    towards = min(_TARGETS, logits.shape[-1] - 1) * steps
    stages = ((apgd_ce, steps, steps), (apgd_t, steps, towards), (fab, steps, towards), (square, _QUERIES * steps, 0))
    found, success = np.array(problem.images), np.array(fooled(logits, problem.labels))
    gradients, keys = np.zeros(len(found), int), image_keys(key, len(found))
    for number, (attack, length, cost) in enumerate(stages):
        standing = np.flatnonzero(~success)
        if not len(standing):
            break
        rows = np.resize(standing, 2 ** int(np.ceil(np.log2(len(standing)))))  # so that few sizes are compiled
        own = jax.vmap(jax.random.fold_in, (0, None))(keys[rows], number)
        given = {"eps": problem.eps[rows, 0, 0, 0], "norm": norm, "steps": length, "quantized": quantized, "key": own}
        with warnings.catch_warnings():  # Square comes after those that need gradients
            warnings.simplefilter("ignore", MaskedGradientsWarning)
            made = attack(scores, variables, problem.images[rows], problem.labels[rows], **given)
        won = np.asarray(fooled(scores(variables, made), problem.labels[rows]) & jnp.isfinite(made).all((1, 2, 3)))
        found[rows[won]], success[rows[won]] = np.asarray(made)[won], True
        gradients[standing] += cost
    return AttackResult(jnp.asarray(found), jnp.asarray(success), jnp.asarray(gradients))


def minimal_eps(
    attack: Callable[..., Images],
    scores: Scores,
    variables: Variables,
    images: ImagesLike,
    labels: Labels,
    *,
    norm: str = "linf",
    greatest: float | None = None,
    bisections: int = 8,
    key: Array,
    targeted: bool = False,
    **options: Any,
) -> tuple[Float[Array, " b"], Images]:
    """The smallest budget at which an attack succeeds, for each image, by bisection.

    Args:
        attack: `pgd`, `apgd_ce`, `square`, ...; takes `bisections` times the gradients of one call.
        greatest: the budget to start below; by default 32/255, for "l2" 4.
        options: handed to the attack, as `steps` or `quantized` (for which 1/255 is the least budget).
        scores, variables, images, labels, norm, targeted: as `attacks.pgd`.
    Returns:
        (b,), the budgets, infinite where the attack failed at `greatest`; (b, h, w, c), the images: originals there.
        0 for those that need no attack.
    Raises: as `attacks.pgd`.

    >>> eps, attacked = tljax.synth.minimal_eps(
    ...     tljax.synth.fgsm, net.scores, net.variables, images[:2], labels[:2], bisections=2, key=jax.random.key(0)
    ... )
    >>> eps.shape, attacked.shape
    ((2,), (2, 32, 32, 3))
    """
    greatest = {"linf": 32 / 255, "l2": 4.0}[norm] if greatest is None else greatest
    quantized = options.get("quantized", True)
    problem = make_problem(
        scores, variables, images, labels, eps=greatest, norm=norm, targeted=targeted, quantized=quantized, steps=1
    )
    least = 1 / 255 if quantized else 0.0
    reached = np.asarray(problem.judge(scores(variables, problem.images))[1] > 0)
    found = np.array(problem.images)
    low, high = np.zeros(len(found)), np.where(reached, 0.0, np.inf)
    for number in range(bisections):
        eps = np.where(np.isinf(high), greatest, np.maximum((low + high) / 2, max(least, 1e-6)))
        own = jax.vmap(jax.random.fold_in, (0, None))(image_keys(key, len(found)), number)
        settings = {"eps": eps, "norm": norm, "targeted": targeted, "key": own, **options}
        made = attack(scores, variables, problem.images, problem.labels, **settings)
        won = np.asarray(problem.judge(scores(variables, made))[1] > 0) & ~reached
        better = won & (eps < high)
        found[better], high = np.asarray(made)[better], np.where(better, eps, high)
        low = np.where(~won & ~reached, np.maximum(low, eps), low)
    return jnp.asarray(high, jnp.float32), jnp.asarray(found)
