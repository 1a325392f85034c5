"""Ours, and plain Flax: the same modules with every convolution left to `lax.conv_general_dilated`, batch norm as is.

Both keep their memory in large pages, as our command line does, and both are compiled by `jax.jit`.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import tljax
from experiments.benchmark.draw import draw_images
from experiments.benchmark.rows import FLAX, OURS, Row
from experiments.benchmark.worker import Context, Work
from tljax.data.sources import open_source
from tljax.models.network import Network
from tljax.transfer import training
from tljax.transfer.train_step import init_state, make_train_step

CHECKED = 2
"""Images whose logits all peers must agree on."""
RATE, MOMENTUM = 1e-4, 0.9
EPS = 4 / 255


def make(peer: str, row: Row, context: Context) -> Work:
    """What this peer does for a row."""
    if row.model == "-":
        return {"matmul": matmul, "stream": stream, "ideal": bare_ideal}[row.task](row)
    if row.task == "train":
        return train(row, context)
    if row.task == "probe":
        return probe(row)
    net = tljax.load_pretrained(row.model, weights=context.weights.get(row.model))
    net = net.replace(plain=peer == FLAX)
    if row.task == "features":
        return features(net, row, context)
    if row.task == "step":
        return step(net, row)
    if row.task == "ideal":
        return ideal(net.scores, net.variables, row)
    net = tljax.for_inference(net) if peer == OURS else net
    return {"forward": forward, "gradient": gradient, "pgd": pgd}[row.task](net, row)


# --- the network -------------------------------------------------------------------------------------------


def forward(net: Network, row: Row) -> Work:
    """Images in [0, 1] to logits."""
    images = jnp.asarray(draw_images(row.size, row.size, row.count))
    return network_work(net, row, lambda: jax.block_until_ready(net.apply(net.variables, images)))


def gradient(net: Network, row: Row) -> Work:
    """The gradient of one class's score with respect to the images."""
    images = jnp.asarray(draw_images(row.size, row.size, row.count))
    slope = jax.jit(jax.grad(lambda images, variables: net.scores(variables, images)[:, 3].sum()))
    return network_work(net, row, lambda: jax.block_until_ready(slope(images, net.variables)), factor=2)


def step(net: Network, row: Row) -> Work:
    """One step of fine-tuning all parameters by SGD with momentum, batch norm in training mode."""
    labels = jax.tree.map(lambda _: "depth0", net.variables["params"])
    optimiser = optax.sgd(RATE, momentum=MOMENTUM)
    layers = tuple(net.variables["batch_stats"])
    take = make_train_step(net.apply_train, optimiser, size=row.size, label_smoothing=0.0, update_stats=layers)
    state, frozen = init_state(net.variables, labels, optimiser)
    images = np.round(draw_images(row.size, row.size, row.count) * 255).astype(np.uint8)
    batch = {
        "images": jnp.asarray(images),
        "labels": jnp.arange(row.count, dtype=jnp.int32),
        "mask": jnp.ones(row.count, bool),
    }
    now, losses = [state], []

    def run() -> float:
        now[0], measures = take(now[0], frozen, batch, key=jax.random.key(0))
        jax.block_until_ready(now[0])
        losses.append(float(measures["loss"]))
        return losses[-1]

    work = network_work(net, row, run, factor=3)
    return replace(work, check=lambda: work.check() | {"loss": losses[:1]})


def network_work(net: Network, row: Row, run: Callable[[], Any], factor: int = 1) -> Work:
    """`run` with its check and its cost: `factor` times that of a forward pass."""
    shape = jax.ShapeDtypeStruct((row.count, row.size, row.size, 3), jnp.float32)
    plain = net.replace(plain=True)
    flops, traffic = cost(jax.make_jaxpr(plain.apply)(plain.variables, shape).jaxpr)

    def check() -> dict[str, list[float]]:
        images = draw_images(row.size, row.size, CHECKED)
        return {"logits": np.asarray(net.apply(net.variables, images)).reshape(-1).tolist()}

    return Work(run, check, flops=factor * flops, bytes=factor * traffic)


def cost(jaxpr: Any) -> tuple[float, float]:
    """(flops, bytes) of the convolutions and matrix products in a program; see `Work`."""
    flops = traffic = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("conv_general_dilated", "dot_general"):
            inputs, out = [variable.aval for variable in equation.invars], equation.outvars[0].aval
            if equation.primitive.name == "dot_general":
                (contracted, _), _ = equation.params["dimension_numbers"]
                depth = np.prod([inputs[0].shape[axis] for axis in contracted])
            else:
                depth = inputs[1].size / inputs[1].shape[equation.params["dimension_numbers"].rhs_spec[0]]
            flops += 2.0 * out.size * depth
            traffic += 4.0 * (inputs[0].size + inputs[1].size + out.size)
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                more = cost(inner)
                flops, traffic = flops + more[0], traffic + more[1]
    return float(flops), float(traffic)


# --- looking inside ----------------------------------------------------------------------------------------


def ideal(scores: Callable[[Any, jax.Array], jax.Array], variables: Any, row: Row) -> Work:
    """Ideal images of the first classes, all in one batch, by the default recipe."""
    classes = list(range(row.count))

    def run() -> jax.Array:
        options = {"steps": row.steps, "size": row.size, "key": jax.random.key(0)}
        return jax.block_until_ready(tljax.synth.ideal(scores, variables, classes, **options))

    def outcome(images: jax.Array) -> dict[str, float]:
        probs = jax.nn.softmax(scores(variables, images))
        return {"mean probability": float(probs[np.arange(row.count), np.array(classes)].mean())}

    return Work(run, outcome=outcome)


def bare_ideal(row: Row) -> Work:
    """The same with the first pixels for scores: what is left is the part that plain Flax shares with us."""
    work = ideal(lambda _, images: images.reshape(len(images), -1)[:, : row.count], {}, row)
    return replace(work, outcome=Work.outcome)


def pgd(net: Network, row: Row) -> Work:
    """Flees the network's own first guess, within 4/255."""
    images = jnp.asarray(draw_images(row.size, row.size, row.count))
    labels = net.apply(net.variables, images).argmax(-1)

    def run() -> jax.Array:
        options = {"eps": EPS, "steps": row.steps, "key": jax.random.key(0)}
        return jax.block_until_ready(tljax.synth.pgd(net.scores, net.variables, images, labels, **options))

    def outcome(attacked: jax.Array) -> dict[str, float]:
        return {"fooled": float((net.apply(net.variables, attacked).argmax(-1) != labels).mean())}

    return Work(run, outcome=outcome)


# --- photos ------------------------------------------------------------------------------------------------


def features(net: Network, row: Row, context: Context) -> Work:
    """Features of photos on disk, with nothing cached but the files by the system."""
    folder = context.photos[str(row.count)]
    source = open_source(folder)
    photos = source.subset([source.keys.index(name) for name in context.files(folder)])

    def check() -> dict[str, list[float]]:
        few = tljax.transfer.extract(net, photos.subset(range(8)), skip=True, batch_size=8)
        return {"features": few.values.mean(0).tolist()}

    return Work(lambda: tljax.transfer.extract(net, photos, skip=True), check)


def train(row: Row, context: Context) -> Work:
    """`train` as a user calls it, with an empty cache: photos, features, the probe, its report."""

    def run() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as scratch:
            os.environ["TLJAX_CACHE"] = str(Path(scratch) / "cache")
            options = {"model": row.model, "weights": context.weights.get(row.model)}
            return training.train(context.photos[str(row.count)], Path(scratch) / "run", **options)

    return Work(run, outcome=lambda result: {"accuracy": result["val_accuracy"]})


def probe(row: Row) -> Work:
    """A linear probe on 2,000 made-up features of 1,280 numbers, L2 strength chosen by folds."""
    rng, examples = np.random.default_rng(0), max(2000, 4 * row.count)
    labels = np.arange(examples) % row.count
    values = rng.normal(size=(row.count, 1280))[labels] + 3 * rng.normal(size=(examples, 1280))
    values = values.astype(np.float32)
    return Work(lambda: tljax.transfer.fit_probe(values, labels, classes=row.count))


# --- the machine -------------------------------------------------------------------------------------------


def matmul(row: Row) -> Work:
    """A product of two square matrices."""
    a, b = (jnp.asarray(np.random.default_rng(i).normal(size=(row.count, row.count)), jnp.float32) for i in (0, 1))
    product = jax.jit(jnp.matmul)
    return Work(lambda: jax.block_until_ready(product(a, b)), flops=2.0 * row.count**3, bytes=12.0 * row.count**2)


def stream(row: Row) -> Work:
    """The triad of McCalpin's STREAM, a = b + 3 c, on arrays that no cache holds."""
    size = row.count * 10**6
    b, c = jnp.ones(size), jnp.ones(size)
    triad = jax.jit(lambda b, c: b + 3 * c)
    return Work(lambda: jax.block_until_ready(triad(b, c)), flops=2.0 * size, bytes=12.0 * size)
