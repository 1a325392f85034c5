"""The programs under the linear probe: scaled features, a path of L2 strengths solved on folds, and the choice."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Int

FOLD_TOLERANCE, TOLERANCE = 1e-3, 1e-5  # gradient norms, in nats per unit of a scaled feature's weight
MAX_STEPS = 500


def fit_path(
    features: Float[Array | np.ndarray, "n d"],
    labels: Int[Array | np.ndarray, " n"],
    held_out: Int[Array | np.ndarray, " n"],
    weights: Float[Array | np.ndarray, " n"],
    strengths: Float[Array | np.ndarray, " p"],
    *,
    count: int,
    folds: int,
    padded: bool = False,
) -> dict[str, Array]:
    """The whole fit; `folds + 1` solutions a strength, the last on all photos.

    Args:
        features: float32, finite. labels: 0..count-1. held_out: the fold of each photo, -1 for none.
        weights: above 0. strengths: strong to weak.
        padded: rows of weight 0 are no photos; their features repeat the first row.
    Returns:
        kernel (D, C) and bias (C,) for the features as they come, temperature folded in; gradient_norm and steps
        of the solver there; best, its place on the path; temperature, accuracy, loss (P,), held out (nan if no
        photo is).
    """
    inputs, frame = _inputs(features, weights, padded=padded)
    solved = _solve(inputs, labels, held_out, weights, strengths, count=count, folds=folds)
    kernel, bias = _on_features(frame, solved.pop("solution"))
    return {"kernel": kernel, "bias": bias} | solved


def predict_by_parts(
    features: Float[Array | np.ndarray, "n d"],
    labels: Int[Array | np.ndarray, " n"],
    judged: Float[Array | np.ndarray, "m d"] | None,
    parts: Float[Array | np.ndarray, "k n"],
    strengths: Float[Array | np.ndarray, " k"],
    *,
    count: int,
) -> Int[Array, "k m"]:
    """Which class each of k probes, fitted on a part of the photos, finds in those judged; None: in the same photos.

    One program solves all of them, each from where the one before it ended. Features are scaled as those of all
    photos, and what a part lacks has weight 0.
    """
    inputs, frame = _inputs(features, np.ones(len(features), np.float32), padded=False)
    judged = inputs if judged is None else _project(frame, judged)
    return _predict_by_parts(inputs, labels, judged, parts, strengths, count=count)


@partial(jax.jit, static_argnames="padded")
@jax.default_matmul_precision("highest")
def _inputs(features, weights, *, padded):
    """What the solver sees, and (mean, scale, basis) to come back from it.

    Where there are fewer photos than dimensions, the optimum lies in the span of the photos: solving there is exactly
    as good, and one compiled solver serves features of any width.
    """
    mean, scale = _scaling(features, weights[:, None] > 0 if padded else None)
    inputs, basis = (features - mean) * scale, None
    if len(inputs) < inputs.shape[1]:
        basis, triangle = jnp.linalg.qr(inputs.T)
        inputs = triangle.T
    return inputs, (mean, scale, basis)


@jax.jit
@jax.default_matmul_precision("highest")
def _project(frame, features):
    """What the solver would see of other photos."""
    mean, scale, basis = frame
    inputs = (features - mean) * scale
    return inputs if basis is None else inputs @ basis


@jax.jit
@jax.default_matmul_precision("highest")
def _on_features(frame, solution):
    """Kernel and bias for the features as they come, from the solver's weights with the bias as last row."""
    mean, scale, basis = frame
    kernel = scale[:, None] * (solution[:-1] if basis is None else basis @ solution[:-1])
    return kernel, solution[-1] - mean @ kernel


@partial(jax.jit, static_argnames=("count", "folds"))
@jax.default_matmul_precision("highest")
def _solve(inputs, labels, held_out, weights, strengths, *, count, folds) -> dict[str, Array]:
    """As `fit_path`, with "solution" (d + 1, C), the bias last, for the inputs as they come."""
    photos = len(inputs)
    inputs = jnp.concatenate([inputs, jnp.ones((photos, 1))], 1)
    flipped = lax.optimization_barrier(inputs.T)  # in memory: gradients run along its rows

    def per_strength(starts, l2):
        def per_fold(logits, fold_and_start):
            fold, start = fold_and_start
            out = held_out == fold
            kept = jnp.where(out, 0, weights)
            objective = partial(_objective, inputs=(inputs, flipped), labels=labels, weights=kept / kept.sum(), l2=l2)
            tolerance = jnp.where(fold == folds, TOLERANCE, FOLD_TOLERANCE)
            solution, norm, steps = _minimise(objective, start, tolerance)
            return jnp.where(out[:, None], inputs @ solution, logits), (solution, norm, steps)

        logits, (solutions, norms, steps) = lax.scan(
            per_fold, jnp.zeros((photos, count)), (jnp.arange(folds + 1), starts)
        )
        scored = jnp.where(held_out >= 0, weights, 0)
        temperature, losses = _calibrate(logits, labels, scored)
        accuracy = jnp.sum(scored * (logits.argmax(-1) == labels)) / scored.sum()
        kept = (solutions[-1], norms[-1], steps[-1])
        return solutions, (kept, temperature, accuracy, losses)

    starts = jnp.zeros((folds + 1, inputs.shape[1], count))
    _, (kept, temperatures, accuracies, losses) = lax.scan(per_strength, starts, strengths)
    means, best = _choose(losses, jnp.where(held_out >= 0, weights, 0))
    solution, norm, steps = jax.tree.map(lambda values: values[best], kept)
    chosen = {"solution": solution / temperatures[best], "best": best, "gradient_norm": norm, "steps": steps}
    return chosen | {"temperature": temperatures, "accuracy": accuracies, "loss": means}


@partial(jax.jit, static_argnames="count")
@jax.default_matmul_precision("highest")
def _predict_by_parts(inputs, labels, judged, parts, strengths, *, count):
    """As `predict_by_parts`, for the inputs as they come."""
    inputs, judged = (jnp.concatenate([rows, jnp.ones((len(rows), 1))], 1) for rows in (inputs, judged))
    flipped = lax.optimization_barrier(inputs.T)

    def per_part(start, part):
        weights, l2 = part
        objective = partial(_objective, inputs=(inputs, flipped), labels=labels, weights=weights / weights.sum(), l2=l2)
        solution, _, _ = _minimise(objective, start, FOLD_TOLERANCE)
        return solution, (judged @ solution).argmax(-1)

    _, predicted = lax.scan(per_part, jnp.zeros((inputs.shape[1], count)), (parts, strengths))
    return predicted


def _scaling(features, real):
    """Mean and factor of each dimension, (D,); safe for float32 at any magnitude, factor 0 where constant.

    Rows that are not `real` (None: all are) must repeat the first.
    """
    first = features[0]  # shifting by it makes a constant dimension exactly 0
    mean = first + (features - first).mean(0, where=real)
    centred = features - mean
    reach = jnp.abs(centred).max(0)
    varies = reach > 1e-6 * jnp.abs(mean)
    reach = jnp.where(varies, reach, 1)
    std = jnp.where(varies, reach * jnp.sqrt(jnp.mean((centred / reach) ** 2, 0, where=real)), 0)
    top = jnp.maximum(std.max(), jnp.finfo(jnp.float32).tiny)
    typical = top * jnp.sqrt(jnp.sum((std / top) ** 2) / jnp.maximum(varies.sum(), 1))
    return mean, jnp.where(varies, 1 / (jnp.sqrt(jnp.where(varies, std, 1)) * jnp.sqrt(typical)), 0)


def _objective(weights_and_bias, *, inputs, labels, weights, l2):
    """Weighted cross-entropy plus the penalty on all but the last row, which is the bias."""
    logits = _product(weights_and_bias, *inputs)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.sum(weights * losses) + l2 / 2 * jnp.sum(weights_and_bias[:-1] ** 2)


@jax.custom_vjp
def _product(weights, inputs, flipped):
    """`inputs @ weights`, whose gradient uses the transpose that is there: on a CPU up to five times faster."""
    return inputs @ weights


_product.defvjp(
    lambda weights, inputs, flipped: (inputs @ weights, flipped),
    lambda flipped, errors: (flipped @ errors, None, None),
)


def _minimise(objective: Callable, start, tolerance):
    """L-BFGS until the gradient's norm is at most `tolerance`, or no step helps: (solution, norm, steps)."""
    search = optax.scale_by_zoom_linesearch(max_linesearch_steps=15, initial_guess_strategy="one")
    optimiser = optax.lbfgs(memory_size=10, linesearch=search)
    value_and_grad = optax.value_and_grad_from_state(objective)

    def unfinished(state):
        _, _, norm, moved, steps = state
        return (norm > tolerance) & moved & (steps < MAX_STEPS)

    def step(state):
        point, memory, _, _, steps = state
        value, gradient = value_and_grad(point, state=memory)
        update, memory = optimiser.update(gradient, memory, point, value=value, grad=gradient, value_fn=objective)
        norm = jnp.linalg.norm(optax.tree.get(memory, "grad"))
        return point + update, memory, norm, jnp.any(update != 0), steps + 1

    first = (start, optimiser.init(start), jnp.array(jnp.inf), jnp.array(True), jnp.array(0))
    point, _, norm, _, steps = lax.while_loop(unfinished, step, first)
    return point, norm, steps


def _calibrate(logits, labels, weights):
    """The temperature of least held-out loss, by bisection (the loss is convex in its inverse), and the losses.

    Labels count as if one more photo had a class drawn at random, or a few photos without an error would ask for
    certainty (Platt, 1999, smooths for the same reason). No held-out photo: temperature 1.
    """
    doubt = 1 / (1 + jnp.sum(weights > 0))
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[1]), doubt)
    shares = weights / jnp.maximum(weights.sum(), 1e-30)

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) / 2
        slope = jnp.sum(shares * jnp.sum((jax.nn.softmax(jnp.exp(middle) * logits) - targets) * logits, -1))
        return jnp.where(slope < 0, middle, low), jnp.where(slope < 0, high, middle)

    low, high = lax.fori_loop(0, 30, halve, (jnp.array(-7.0), jnp.array(7.0)))
    inverse = jnp.where(jnp.any(weights > 0), jnp.exp((low + high) / 2), 1.0)
    return 1 / inverse, optax.softmax_cross_entropy(inverse * logits, targets)


def _choose(losses, weights):
    """Mean held-out losses, (strengths,), and the strongest within one standard error of the least."""
    total = weights.sum()
    means = losses @ weights / total
    least = jnp.argmin(means)
    worse = losses - losses[least]
    mean = worse @ weights / total
    error = jnp.sqrt(((worse - mean[:, None]) ** 2) @ weights**2) / total
    return means, jnp.argmax(mean <= error)  # strong to weak: the first True
