"""Which training tricks help, by how much, and is it luck?

    python -m experiments.training_tricks --out out/tricks
    python -m experiments.training_tricks --arms optimisers depth --out out/tricks
    python -m experiments.training_tricks --small --out out/small

One controlled comparison for each trick, on handwritten digits with a small multilayer perceptron. Every setting gets
the learning rate that is best for it on validation pictures, from a grid, and is judged on test pictures; all seeds
and rates of all settings of a comparison are trained in one jitted, `vmap`-ed program. Seeds draw the split, the
first weights and the order of pictures; differences are paired by seed.

Expected: N(0, 1) weights never train six layers and uniform ones reach 44 %, where He's, LeCun's and Glorot's reach 96
to 97 %; 32 layers lose 16 points, with shortcuts 2; too much weight decay costs 2. On this small a task nothing else
is told from luck by five seeds: five optimisers differ by less than a point once each has its own rate, as do batch
norm, dropout, clipping, schedules and averaging from doing without (a warm-up's loss of 0.3 ± 0.3 is what one of twenty
comparisons shows by chance), and early stopping gains 1.4 ± 3.1 points on wrong labels. One program for all runs saves
a little.
Time on two CPU cores: five minutes; the small preset takes half a minute.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from experiments import Experiment, Results, comparison, program
from experiments.findings import Finding
from tljax.data.sources import open_source
from tljax.data.splits import split
from tljax.metrics import interval
from tljax.progress import Track
from tljax.report.blocks import Figure, Table
from tljax.report.page import Section
from tljax.report.text import duration, spread

BATCH = 64
INITS = {
    "uniform(-1, 1)": lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -1.0, 1.0),
    "normal(0, 1)": nn.initializers.normal(1.0),
    "LeCun": nn.initializers.lecun_normal(),
    "Glorot": nn.initializers.glorot_normal(),
    "He": nn.initializers.he_normal(),
}
SCALINGS = {
    "SGD": optax.identity,
    "momentum": partial(optax.trace, 0.9),
    "Adagrad": optax.scale_by_rss,
    "RMSProp": optax.scale_by_rms,
    "Adam": optax.scale_by_adam,
}
SHAPES = {  # the share of the peak rate at a share t of the steps
    "constant": jnp.ones_like,
    "step": lambda t: jnp.where(t < 0.5, 1.0, jnp.where(t < 0.75, 0.1, 0.01)),
    "linear": lambda t: 1 - t,
    "cosine": lambda t: (1 + jnp.cos(jnp.pi * t)) / 2,
    "warm-up, cosine": lambda t: jnp.where(t < 0.1, 10 * t, (1 + jnp.cos(jnp.pi * (t - 0.1) / 0.9)) / 2),
}


@dataclass(frozen=True)
class Setting:
    """One way to train: a network and what is done to it."""

    name: str
    depth: int = 2
    width: int = 64
    init: str = "He"
    batch_norm: bool = False
    residual: bool = False
    optimiser: str = "Adam"
    schedule: str = "constant"
    clip: float | None = None
    dropout: float = 0.0
    weight_decay: float = 0.0
    average: str = ""
    """ "EMA" of all steps, or "SWA": the mean of the last half of the epochs."""
    stop: str = "last"
    """Which epoch counts: the last, or the "best" on the validation pictures."""


@dataclass(frozen=True)
class Arm:
    """One comparison: settings that differ in one thing, the first of which is what the others are compared with."""

    question: str
    settings: tuple[Setting, ...]
    rates: tuple[float, ...]
    epochs: int = 25
    pictures: int = 1150
    """To train on."""
    noise: float = 0.0
    """Share of the training labels that are drawn anew."""


def variants(base: Setting, field: str, values: dict[str, Any]) -> tuple[Setting, ...]:
    """Settings that differ in one field."""
    return tuple(replace(base, name=name, **{field: value}) for name, value in values.items())


ADAM = (3e-4, 1e-3, 3e-3)
DEEP = Setting("", depth=6, optimiser="SGD")
FEW = Setting("", width=256)
ARMS = {
    "initialisation": Arm(
        "How should the first weights of six layers be drawn?",
        variants(DEEP, "init", {name: name for name in reversed(INITS)}),
        (0.003, 0.03, 0.3),
    ),
    "batch norm": Arm(
        "Does batch norm help six layers under plain SGD?",
        variants(DEEP, "batch_norm", {"without": False, "with": True}),
        (0.01, 0.1, 1.0),
    ),
    "dropout": Arm(
        "Does dropout help on 300 pictures?",
        variants(FEW, "dropout", {"none": 0.0, "0.2": 0.2, "0.5": 0.5}),
        ADAM,
        epochs=60,
        pictures=300,
    ),
    "weight decay": Arm(
        "Does weight decay help on 300 pictures?",
        variants(FEW, "weight_decay", {"none": 0.0, "0.1": 0.1, "1": 1.0, "10": 10.0}),
        ADAM,
        epochs=60,
        pictures=300,
    ),
    "early stopping": Arm(
        "Does early stopping help where 30 % of 300 labels are drawn at random?",
        variants(FEW, "stop", {"last epoch": "last", "best on validation": "best"}),
        ADAM,
        epochs=60,
        pictures=300,
        noise=0.3,
    ),
    "optimisers": Arm(
        "Which optimiser, each at its best rate?",
        variants(Setting(""), "optimiser", {name: name for name in SCALINGS}),
        (0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
    ),
    "clipping": Arm(
        "Does clipping the gradient's norm help six layers with momentum?",
        variants(replace(DEEP, optimiser="momentum"), "clip", {"none": None, "1": 1.0, "0.1": 0.1}),
        (0.01, 0.1, 1.0),
    ),
    "schedules": Arm(
        "Which schedule, each at its best peak rate?",
        variants(Setting(""), "schedule", {name: name for name in SHAPES}),
        (0.001, 0.003, 0.01),
    ),
    "averaging": Arm(
        "Does averaging the weights help at a constant rate?",
        variants(Setting("", optimiser="momentum"), "average", {"none": "", "EMA": "EMA", "SWA": "SWA"}),
        (0.03, 0.1, 0.3),
        pictures=300,
        epochs=60,
    ),
    "depth": Arm(
        "Deeper, or deeper with shortcuts?",
        (
            *variants(Setting("", width=32), "depth", {f"{n} layers": n for n in (2, 8, 32)}),
            *variants(Setting("", width=32, residual=True), "depth", {f"{n} with shortcuts": n for n in (8, 32)}),
        ),
        ADAM,
    ),
}


@dataclass(frozen=True)
class Config:
    """Options of the experiment."""

    out: str = "out/tricks"
    """The folder for report.html, results.json and the figures."""
    arms: tuple[str, ...] = tuple(ARMS)
    """Which comparisons."""
    seeds: int = 5
    """Runs of each setting and rate."""
    timed: str = "optimisers"
    """The comparison that is trained one run after another as well, for the time that takes; "" for none."""
    small: bool = False
    """Two comparisons, two settings each, two epochs: shows that it runs."""


def main(config: Config, folder: Path, track: Track) -> tuple[Results, list[Section]]:
    """Trains every setting of every comparison."""
    arms = {name: ARMS[name] for name in config.arms}
    if config.small:
        config = replace(config, seeds=2, timed="batch norm")
        arms = {
            name: replace(ARMS[name], settings=ARMS[name].settings[:2], rates=ARMS[name].rates[1:], epochs=2)
            for name in ("batch norm", "averaging")
        }
    compared = {}
    for name, arm in track(arms.items(), "comparisons", len(arms)):
        compared[name] = compare(arm, config.seeds, timed=name == config.timed)
    results = {"config": asdict(config), "arms": compared}
    return results, sections(results)


def compare(arm: Arm, seeds: int, *, timed: bool) -> dict[str, Any]:
    """Trains every setting at every rate with every seed, and picks the rate of each setting on validation pictures."""
    data = jax.tree.map(lambda *parts: jnp.stack(parts), *(pictures(arm, seed) for seed in range(seeds)))
    keys = jax.random.split(jax.random.key(0), seeds)
    rates = jnp.array(arm.rates)
    program = jax.jit(make_program(arm))
    start = time.perf_counter()
    runs = jax.device_get(program(keys, rates, data))
    result = {
        "question": arm.question,
        "seconds": time.perf_counter() - start,
        "runs": len(arm.settings) * len(arm.rates) * seeds,
        "settings": {s.name: chosen(s, arm, run) for s, run in zip(arm.settings, runs, strict=True)},
    }
    if timed:
        result["warm seconds together"] = median_seconds([partial(program, keys, rates, data)] * 3)
        result["warm seconds one by one"] = one_by_one(arm, keys, rates, data)
    return result


def pictures(arm: Arm, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(n, 64) inputs and (n,) labels to "train", "val" and "test" on."""
    source = open_source("digits")
    values = np.stack([source.picture(i)[..., 0].reshape(-1) for i in range(len(source.files))]) / np.float32(255)
    shares = split(source, val_fraction=0.2, seed=seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(shares["train"])
    where = {"train": order[287:][: arm.pictures], "val": order[:287], "test": shares["val"]}
    labels = {name: source.labels[index] for name, index in where.items()}
    wrong = rng.random(len(labels["train"])) < arm.noise
    labels["train"] = np.where(wrong, rng.integers(0, 10, len(wrong)), labels["train"]).astype(np.int32)
    return {name: (values[index] - 0.3, labels[name]) for name, index in where.items()}


class Perceptron(nn.Module):
    """Dense layers as the setting has them, and ten logits."""

    setting: Setting

    @nn.compact
    def __call__(self, x: Float[Array, "b 64"], *, train: bool) -> Float[Array, "b 10"]:
        """(b, 64) -> (b, 10)."""
        setting = self.setting
        for layer in range(setting.depth):
            y = nn.Dense(setting.width, kernel_init=INITS[setting.init])(x)
            y = nn.BatchNorm(not train, momentum=0.9)(y) if setting.batch_norm else y
            y = nn.Dropout(setting.dropout, deterministic=not train)(nn.relu(y))
            x = x + y / setting.depth**0.5 if setting.residual and layer else y
        return nn.Dense(10, kernel_init=INITS[setting.init])(x)


def make_program(arm: Arm) -> Callable:
    """(keys (seeds,), rates (r,), data with a leading axis of seeds) -> for each setting {what: (seeds, r, epochs)}."""

    def program(keys, rates, data):
        def both(setting):
            by_rate = jax.vmap(partial(train_one, setting, arm), in_axes=(None, 0, None))
            return jax.vmap(by_rate, in_axes=(0, None, 0))(keys, rates, data)

        return [both(setting) for setting in arm.settings]

    return program


def train_one(setting: Setting, arm: Arm, key: Array, rate: Array, data: dict[str, Any]) -> dict[str, Array]:
    """One run: {"train loss", "val", "test"} after each epoch, (epochs,); pure, so that it can be `vmap`-ed."""
    net = Perceptron(setting)
    images, labels = data["train"]
    steps = len(images) // BATCH
    optimiser = make_optimiser(setting, rate, arm.epochs * steps)
    variables = net.init(key, images[:1], train=False)
    params, stats = variables["params"], variables.get("batch_stats", {})

    def loss(params, stats, batch, key):
        x, y = batch
        variables = {"params": params, "batch_stats": stats}
        logits, changed = net.apply(variables, x, train=True, rngs={"dropout": key}, mutable=["batch_stats"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), changed.get("batch_stats", {})

    def step(carry, number_and_rows):
        params, stats, state, mean = carry
        number, rows = number_and_rows
        batch = images[rows], labels[rows]
        (value, stats), grads = jax.value_and_grad(loss, has_aux=True)(
            params, stats, batch, jax.random.fold_in(key, number)
        )
        updates, state = optimiser.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        mean = averaged(setting.average, mean, params, number, arm.epochs * steps)
        return (params, stats, state, mean), value

    def epoch(carry, number):
        order = jax.random.permutation(jax.random.fold_in(key, number + 1_000_000), len(images))
        rows = order[: steps * BATCH].reshape(steps, BATCH)
        carry, losses = jax.lax.scan(step, carry, (number * steps + jnp.arange(steps), rows))
        params, stats, _, mean = carry
        variables = {"params": mean if setting.average else params, "batch_stats": stats}
        right = {
            name: (net.apply(variables, data[name][0], train=False).argmax(-1) == data[name][1]).mean()
            for name in ("val", "test")
        }
        return carry, {"train loss": losses.mean(), **right}

    start = (params, stats, optimiser.init(params), params)
    return jax.lax.scan(epoch, start, jnp.arange(arm.epochs))[1]


def make_optimiser(setting: Setting, rate: Array, steps: int) -> optax.GradientTransformation:
    """Clipping, the optimiser's own scaling, decoupled weight decay, and the rate on its schedule."""
    parts = [optax.clip_by_global_norm(setting.clip)] if setting.clip else []
    parts.append(SCALINGS[setting.optimiser]())
    if setting.weight_decay:
        kernels = partial(jax.tree.map, lambda leaf: leaf.ndim > 1)
        parts.append(optax.add_decayed_weights(setting.weight_decay, kernels))
    shape = SHAPES[setting.schedule]
    return optax.chain(*parts, optax.scale_by_learning_rate(lambda count: rate * shape(count / steps)))


def averaged(kind: str, mean: Any, params: Any, number: Array, steps: int) -> Any:
    """The running mean of the weights after step `number`."""
    if kind == "EMA":
        share = jnp.maximum(0.02, 1 / (number + 1))
    elif kind == "SWA":
        share = 1 / jnp.maximum(number + 1 - steps // 2, 1)  # before half time: the weights as they are
    else:
        return mean
    return jax.tree.map(lambda old, new: old + share * (new - old), mean, params)


def one_by_one(arm: Arm, keys: Array, rates: Array, data: Any) -> float:
    """Seconds of all runs, one after another, each setting compiled once beforehand."""
    seconds = 0.0
    for setting in arm.settings:
        single = jax.jit(partial(train_one, setting, arm))
        each = [jax.tree.map(lambda part, seed=seed: part[seed], data) for seed in range(len(keys))]
        runs = [partial(single, key, rate, own) for key, own in zip(keys, each, strict=True) for rate in rates]
        jax.block_until_ready(runs[0]())
        seconds += len(runs) * median_seconds(runs)
    return seconds


def median_seconds(runs: Sequence[Callable[[], Any]]) -> float:
    """The median, so that what else the machine does counts little."""
    seconds = []
    for run in runs:
        start = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def chosen(setting: Setting, arm: Arm, run: dict[str, np.ndarray]) -> dict[str, Any]:
    """The rate that is best on validation pictures, over seeds, and what it gives on test pictures."""
    epoch = run["val"].argmax(-1) if setting.stop == "best" else np.full(run["val"].shape[:2], arm.epochs - 1)
    val, test = (np.take_along_axis(run[name], epoch[..., None], -1)[..., 0] for name in ("val", "test"))
    best = int(val.mean(0).argmax())
    return {
        "rate": arm.rates[best],
        "test": test[:, best].tolist(),
        "by rate": {f"{rate:g}": test[:, i].tolist() for i, rate in enumerate(arm.rates)},
        "curve": np.round(run["test"][:, best].astype(float), 4).tolist(),
    }


def findings(results: Results) -> list[Finding]:
    """What it found: each setting at its best rate, what it gains, and what one program for all runs saves."""
    columns = ["trick", "setting", "best rate", "accuracy on test pictures", "points over the trick's first setting"]
    rows = [row for name, arm in results["arms"].items() for row in compared(name, arm["settings"])]
    lines: list[Finding] = [Table(columns, rows, limit=len(rows))]
    for name, arm in results["arms"].items():
        if "warm seconds one by one" in arm:
            together, single = arm["warm seconds together"], arm["warm seconds one by one"]
            lines.append(
                f"{arm['runs']} runs of the comparison of {name} in one program: {duration(together)}; one after "
                f"another: {duration(single)}, {single / together:.1f} times as long (compiled beforehand, medians)."
            )
    return lines


def compared(name: str, settings: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """A row for each setting of a trick; gains are those on the same seeds."""
    base, rows = next(iter(settings.values()))["test"], []
    for setting, measured in settings.items():
        gain = spread(*interval(np.subtract(measured["test"], base))).removesuffix(" %") if rows else ""
        accuracy = spread(*interval(measured["test"]))
        rows.append(("" if rows else name, setting, f"{measured['rate']:g}", accuracy, gain))
    return rows


def drawings(results: Results) -> dict[str, Figure]:
    """The figures, from what results.json holds."""
    lines, rates = {}, {}
    for name, arm in results["arms"].items():
        curves = {setting: np.array(measured["curve"]) for setting, measured in arm["settings"].items()}
        lines[name] = {setting: (np.arange(1, curve.shape[1] + 1), curve) for setting, curve in curves.items()}
        if name in ("initialisation", "batch norm", "optimisers", "clipping", "depth"):
            rates[name] = {
                setting: ([float(rate) for rate in measured["by rate"]], np.array(list(measured["by rate"].values())).T)
                for setting, measured in arm["settings"].items()
            }
    made = {
        "curves": Figure(
            comparison.curves(lines, xlabel="epoch"),
            "Accuracy on test pictures against the epoch, at the best rate of each setting",
        )
    }
    if rates:
        made["rates"] = Figure(
            comparison.curves(rates, xlabel="learning rate", log=True),
            "Accuracy on test pictures at the end against the learning rate",
        )
    return made


def sections(results: Results) -> list[Section]:
    """What the page shows besides."""
    rows = [(name, arm["question"], arm["runs"], duration(arm["seconds"])) for name, arm in results["arms"].items()]
    return [Section("What was asked", [Table(["trick", "question", "runs in one program", "with compiling"], rows)])]


EXPERIMENT = Experiment(__doc__, Config, main, findings, drawings)

if __name__ == "__main__":
    program(EXPERIMENT)
