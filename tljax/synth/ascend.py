"""Gradient ascent on images, in one loop on the device."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from tljax.distributed import sharding
from tljax.errors import InputError
from tljax.progress import Track, untracked
from tljax.trees import select

Objective = Callable[..., Float[Array, " n"]]


class Ascent(NamedTuple):
    """Where an ascent has come to.

    Attributes:
        params: the last ones with a finite value and gradient, for each image.
        opt_state: of the optimiser.
        values: (steps, n), the objective before each step.
        finite: (steps, n), whether value and gradient were finite. From the first step where they were not, an image
            stays as it is.

    >>> import optax
    >>> ascent = tljax.synth.ascend(
    ...     lambda x, key: -(x**2).sum(-1), jnp.ones((2, 3)), optimiser=optax.sgd(0.1), steps=5, key=jax.random.key(0)
    ... )
    >>> ascent.values.shape, ascent.stopped
    ((5, 2), [None, None])
    """

    params: Any
    opt_state: Any
    values: Float[Array, "s n"]
    finite: Bool[Array, "s n"]

    @property
    def stopped(self) -> list[int | None]:
        """For each image the step, counted from 0, at which a value or gradient was not finite, or None."""
        steps = [column.tolist() for column in jax.device_get(self.finite).T]
        return [column.index(False) if False in column else None for column in steps]


def ascend(
    objective: Objective,
    params: Any,
    *,
    optimiser: optax.GradientTransformation,
    steps: int,
    key: Array,
    args: tuple = (),
    resume: Ascent | None = None,
    chunk: int = 16,
    track: Track = untracked,
) -> Ascent:
    """Takes `steps` steps up the summed objective: loops on the device, of `chunk` steps each.

    Args:
        objective: pure (params, key, *args) -> (n,), one value for each image, each a function of its own part
            of `params` only. A hashable one that compares by value is compiled once for all calls.
        params: tree of arrays whose leading axis counts the images.
        optimiser: elementwise (SGD, Adam, ...): an image that stopped must not move the others.
        key: step i gets `fold_in(key, i)`.
        args: trees of arrays handed to the objective.
        resume: goes on from here instead of `params`, counting steps from its end.
        chunk: steps between two reports of progress.
        track: (items, description, total) -> items; is called with the chunks.
    Raises:
        InputError: fewer than one step.

    >>> import optax
    >>> def objective(x, key):
    ...     return -((x - 1) ** 2).sum(-1)
    >>> start = jnp.zeros((2, 3))
    >>> ascent = tljax.synth.ascend(objective, start, optimiser=optax.sgd(0.1), steps=50, key=jax.random.key(0))
    >>> np.allclose(ascent.params, 1, atol=1e-3)
    True
    """
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    n = jax.tree.leaves(params)[0].shape[0]
    if resume is None:
        resume = Ascent(params, optimiser.init(params), jnp.zeros((0, n), jnp.float32), jnp.ones((0, n), bool))
    first, alive = resume.values.shape[0], resume.finite.all(0)
    carry = sharding.align((resume.params, resume.opt_state, alive), jax.tree.leaves(resume.params)[0])
    parts = [(resume.values, resume.finite)]
    starts = range(first, first + steps, chunk)
    for start in track(starts, "ascent", len(starts)):
        carry, (values, finite) = _chunk(objective, optimiser, chunk, carry, start, first + steps, key, args)
        jax.block_until_ready(carry)  # or the progress would be that of handing out work
        taken = min(chunk, first + steps - start)
        parts.append((values[:taken], finite[:taken]))
    values, finite = (jnp.concatenate(column) for column in zip(*parts, strict=True))
    return Ascent(carry[0], carry[1], values, finite)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _chunk(objective, optimiser, chunk, carry, start, stop, key, args):
    """The steps from number `start` to before `stop`, `chunk` at most."""
    n = carry[2].shape[0]

    def step(row, state):
        (params, opt_state, alive), all_values, all_finite = state

        def total(params):
            values = objective(params, jax.random.fold_in(key, start + row), *args)
            return jnp.where(alive, values, 0).sum(), values

        gradient, values = jax.grad(total, has_aux=True)(params)
        finite = jnp.isfinite(values)
        for leaf in jax.tree.leaves(gradient):
            finite &= jnp.isfinite(leaf).reshape(leaf.shape[0], -1).all(1)
        alive &= finite
        uphill = select(alive, jax.tree.map(jnp.negative, gradient), jax.tree.map(jnp.zeros_like, gradient))
        updates, opt_state = optimiser.update(uphill, opt_state, params)
        updates = jax.tree.map(lambda step, leaf: step.astype(leaf.dtype), updates, params)  # a schedule may be float64
        params = select(alive, optax.apply_updates(params, updates), params)
        all_values = all_values.at[row].set(values.astype(jnp.float32))
        return (params, opt_state, alive), all_values, all_finite.at[row].set(finite)

    history = jnp.zeros((chunk, n), jnp.float32), jnp.ones((chunk, n), bool)
    carry, values, finite = jax.lax.fori_loop(0, jnp.minimum(chunk, stop - start), step, (carry, *history))
    return carry, (values, finite)
