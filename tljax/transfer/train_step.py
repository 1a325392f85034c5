"""The optimiser, the state and the jitted step of fine-tuning: pure functions on plain trees."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from tljax import trees
from tljax.distributed import sharding
from tljax.transfer.adversarial import perturbed
from tljax.transfer.augment import Augment, augment
from tljax.transfer.freeze import FROZEN, trainable_labels

Tree = Any


class TrainState(NamedTuple):
    """All that a step changes. The frozen parameters are no part of it.

    Attributes:
        params: the trainable leaves of `variables["params"]`, None at the places of the frozen ones.
        batch_stats: `variables["batch_stats"]` ({} where there is none).
        opt_state: of the optimiser, for `params`.
        step: int32 (), the number of steps made.
        skipped: int32 (), how many of them were passed over because their loss or gradient was not finite.

    >>> tljax.transfer.TrainState._fields
    ('params', 'batch_stats', 'opt_state', 'step', 'skipped')
    """

    params: Tree
    batch_stats: Tree
    opt_state: Tree
    step: Array
    skipped: Array


def make_schedule(peak: float, *, steps: int, warmup: int) -> optax.Schedule:
    """Learning rate over `steps`: linear from 0 to `peak` in `warmup` steps, then a cosine to 0.

    >>> schedule = tljax.transfer.make_schedule(0.1, steps=10, warmup=2)
    >>> float(schedule(0)) < float(schedule(2)) > float(schedule(9))
    True
    """
    warmup = min(warmup, max(steps - 1, 0))
    return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, max(steps, 1), 0.0)


def make_optimizer(
    labels: Tree,
    *,
    lr: float,
    steps: int,
    warmup: int = 0,
    depth_decay: float = 0.75,
    weight_decay: float = 0.01,
    clip: float = 1.0,
) -> optax.GradientTransformation:
    """AdamW with a learning rate for each depth; leaves labelled "frozen" get no update.

    Made for the trainable part (labels with None at the frozen places), and the same for a whole tree, where
    frozen gradients are zeroed before the norm is taken: both give equal updates.

    Args:
        labels: a depth (an int) or "frozen" for each parameter; depth n learns with `lr * depth_decay**n`.
        lr: peak learning rate of the head.
        steps, warmup: see `make_schedule`.
        weight_decay: on leaves called `kernel` only, so not on norms and biases.
        clip: largest global norm of the gradient.
    Source: Loshchilov and Hutter 2019 (arXiv 1711.05101); layer-wise rates, Howard and Ruder 2018 (1801.06146).

    >>> rules = tljax.transfer.finetune_rules(net.spec, freeze=["params/block/.*"])
    >>> kinds = tljax.transfer.label_variables(net.variables, rules)["params"]
    >>> optimizer = tljax.transfer.make_optimizer(kinds, lr=0.01, steps=10)
    >>> state, frozen = tljax.transfer.init_state(net.variables, kinds, optimizer)
    >>> int(state.step)
    0
    """
    groups = {
        _group(depth): optax.adamw(
            make_schedule(lr * depth_decay**depth, steps=steps, warmup=warmup),
            weight_decay=weight_decay,
            mask=_kernels,
        )
        for depth in trainable_labels(labels)
    }
    still = {FROZEN: optax.set_to_zero()}
    names = jax.tree.map(_group, labels)
    return optax.chain(
        optax.partition({**dict.fromkeys(groups, optax.identity()), **still}, names),
        optax.clip_by_global_norm(clip),
        optax.partition({**groups, **still}, names),
    )


def init_state(
    variables: Mapping[str, Tree], labels: Tree, optimizer: optax.GradientTransformation
) -> tuple[TrainState, Tree]:
    """Splits variables into (the state, the frozen parameters).

    Args:
        variables: {"params": ..., "batch_stats": ...}; not changed, and not shared with the state, whose
            buffers a step gives away.
        labels: of `variables["params"]`.
        optimizer: made for the trainable part of `labels`.

    >>> rules = tljax.transfer.finetune_rules(net.spec, freeze=["params/block/.*"])
    >>> kinds = tljax.transfer.label_variables(net.variables, rules)["params"]
    >>> optimizer = tljax.transfer.make_optimizer(kinds, lr=0.01, steps=10)
    >>> state, frozen = tljax.transfer.init_state(net.variables, kinds, optimizer)
    >>> len(jax.tree.leaves(state.params)), len(jax.tree.leaves(frozen))  # the head trains
    (2, 3)
    """
    chosen, frozen = trees.partition(variables["params"], labels, trainable_labels(labels))
    params = jax.tree.map(jnp.array, chosen)
    stats = jax.tree.map(jnp.array, variables["batch_stats"])
    state = TrainState(params, stats, optimizer.init(params), jnp.int32(0), jnp.int32(0))
    return state, jax.tree.map(jnp.asarray, frozen)


def state_variables(state: TrainState, frozen: Tree) -> dict[str, Tree]:
    """The inverse of `init_state`: {"params": ..., "batch_stats": ...}.

    >>> rules = tljax.transfer.finetune_rules(net.spec, freeze=["params/block/.*"])
    >>> kinds = tljax.transfer.label_variables(net.variables, rules)["params"]
    >>> optimizer = tljax.transfer.make_optimizer(kinds, lr=0.01, steps=10)
    >>> variables = tljax.transfer.state_variables(*tljax.transfer.init_state(net.variables, kinds, optimizer))
    >>> jax.tree.all(jax.tree.map(jnp.array_equal, variables, net.variables))
    True
    """
    return {"params": trees.combine(state.params, frozen), "batch_stats": state.batch_stats}


def make_train_step(
    apply_train: Callable,
    optimizer: optax.GradientTransformation,
    *,
    size: int,
    setting: Augment | None = None,
    adversarial: float | None = None,
    label_smoothing: float = 0.1,
    class_weights: Float[Array | np.ndarray, " c"] | None = None,
    update_stats: Collection[str] = (),
    skip_nonfinite: int = 0,
    mesh: Mesh | None = None,
) -> Callable:
    """A jitted step `(state, frozen, batch, *, key) -> (state, metrics)`; the state is donated.

    A step whose loss or gradient is not finite changes nothing: the state stays where it is. The first
    `skip_nonfinite` of these count as made, and so are passed over.

    Args:
        apply_train: `Network.apply_train`, or any `(variables, images, *, key, update_stats)` ->
            ((b, classes) logits, batch statistics).
        optimizer: for the trainable part.
        size: side of the pictures that the network sees; `batch["images"]` are at least that large.
        setting: the augmentation; None for the central crop.
        adversarial: how far the augmented pictures are changed, in (0, 1], against the network as it is then
            (`adversarial.perturbed`, with the dropout of the step's own update); the update and the metrics are of
            what comes out. None leaves them as they are.
        label_smoothing: share of the target that is spread over all classes.
        class_weights: weight of each class in the loss; None is 1 for all.
        update_stats: layers whose batch norm uses and updates the batch's statistics (`freeze.moving_layers`;
            give whole batches then). All others stay in inference mode, their statistics bit for bit.
        mesh: devices that share each batch (`sharding.spread`); state, frozen and metrics are on all of them.
    Returns:
        The step. `batch` is {"images": uint8 (b, h, w, 3), "labels": int32 (b,), "mask": bool (b,)}; a row
        whose mask is False has no part in the loss. `key` is the run's: the step folds its number in, so that
        a resumed run draws what an unbroken one draws. Metrics: "loss", "accuracy" (of the augmented pictures),
        "grad_norm": float32 ().

    >>> rules = tljax.transfer.finetune_rules(net.spec, freeze=["params/block/.*"])
    >>> kinds = tljax.transfer.label_variables(net.variables, rules)["params"]
    >>> optimizer = tljax.transfer.make_optimizer(kinds, lr=0.01, steps=10)
    >>> state, frozen = tljax.transfer.init_state(net.variables, kinds, optimizer)
    >>> step = tljax.transfer.make_train_step(net.apply_train, optimizer, size=32)
    >>> batch = {"images": photos, "labels": labels, "mask": np.ones(8, bool)}
    >>> state, metrics = step(state, frozen, batch, key=jax.random.key(0))
    >>> int(state.step), sorted(metrics)
    (1, ['accuracy', 'grad_norm', 'loss'])
    """

    def loss_and_more(params, frozen, stats, images, batch, key):
        variables = {"params": trees.combine(params, frozen), "batch_stats": stats}
        logits, new_stats = apply_train(variables, images, key=key, update_stats=frozenset(update_stats))
        logits = logits.astype(jnp.float32)
        weights = batch["mask"].astype(jnp.float32)
        if class_weights is not None:
            weights = weights * class_weights[batch["labels"]]
        share = weights / jnp.maximum(weights.sum(), 1e-9)
        losses = smoothed_cross_entropy(logits, batch["labels"], smoothing=label_smoothing)
        return (share * losses).sum(), (logits, new_stats)

    def step(state: TrainState, frozen: Tree, batch: Mapping[str, Array], *, key: jax.Array):
        keys = jax.random.split(jax.random.fold_in(key, state.step), 2 if adversarial is None else 3)
        key_augment, key_dropout, *key_attack = keys
        images = augment(batch["images"], size, setting, key=key_augment)
        if adversarial is not None:
            given = state.params, frozen, state.batch_stats
            images = perturbed(
                lambda x: loss_and_more(*given, x, batch, key_dropout)[0], images, eps=adversarial, key=key_attack[0]
            )
        (loss, (logits, stats)), grads = jax.value_and_grad(loss_and_more, has_aux=True)(
            state.params, frozen, state.batch_stats, images, batch, key_dropout
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        stats = {name: (stats if name in update_stats else state.batch_stats)[name] for name in state.batch_stats}
        right = (logits.argmax(-1) == batch["labels"]) & batch["mask"]
        metrics = {
            "loss": loss,
            "accuracy": right.sum() / jnp.maximum(batch["mask"].sum(), 1),
            "grad_norm": optax.global_norm(grads),
        }
        finite = jnp.isfinite(loss) & jnp.isfinite(metrics["grad_norm"])
        passed = ~finite & (state.skipped < skip_nonfinite)
        moved = (optax.apply_updates(state.params, updates), stats, opt_state)
        params, stats, opt_state = jax.tree.map(lambda new, old: jnp.where(finite, new, old), moved, state[:3])
        return TrainState(params, stats, opt_state, state.step + (finite | passed), state.skipped + passed), metrics

    return _compiled(step, mesh)


def guard(step: Callable, mesh: Mesh | None = None) -> Callable:
    """The step for loops that read the metrics of a step only once the next one has been dispatched.

    Args:
        step: of `make_train_step`, with the same `mesh`.
    Returns:
        A jitted `(state, frozen, batch, *, key, number) -> (state, metrics)`, which changes nothing unless `number` is
        that of the next step, counted from 1. So the state in front of a step that failed is still there when the loop
        learns that it failed.
    """

    def guarded(state: TrainState, frozen: Tree, batch: Mapping[str, Array], *, key: jax.Array, number: ArrayLike):
        moved, metrics = step(state, frozen, batch, key=key)
        due = state.step + 1 == number
        return jax.tree.map(lambda new, old: jnp.where(due, new, old), moved, state), metrics

    return _compiled(guarded, mesh)


def smoothed_cross_entropy(
    logits: Float[Array, "b k"], labels: Int[Array, " b"], *, smoothing: float
) -> Float[Array, " b"]:
    """Cross-entropy against (1 - smoothing) on the label plus smoothing / k on every class, in nats."""
    log_probs = jax.nn.log_softmax(logits)
    own = jnp.take_along_axis(log_probs, labels[:, None], -1)[:, 0]
    return -(1 - smoothing) * own - smoothing * log_probs.mean(-1)


def balanced_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """(classes,) float32 weights that give every class the same total: n / (classes x count)."""
    counts = np.bincount(labels, minlength=classes)
    return (len(labels) / (classes * np.maximum(counts, 1))).astype(np.float32)


def _compiled(step: Callable, mesh: Mesh | None) -> Callable:
    if mesh is None or mesh.size == 1:
        return jax.jit(step, donate_argnames="state")
    return sharding.on(mesh, jax.jit(step, donate_argnames="state", out_shardings=sharding.replicated(mesh)))


def _group(label: int | str) -> str:
    """What a learning-rate group is called in the optimiser's state."""
    return FROZEN if label == FROZEN else f"depth{label}"


def _kernels(params: Tree) -> Tree:
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)
