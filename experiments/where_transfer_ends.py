"""Where do a photo network's features stop helping, at which depth, and does fine-tuning go on from there?

    python -m experiments.where_transfer_ends --data pets37 textures digits --out out/ends
    python -m experiments.where_transfer_ends --data digits --finetune 0 --finetune-seeds 5 --out out/ends
    python -m experiments.where_transfer_ends --data digits tfds:eurosat tfds:plant_village --out out/ends
    python -m experiments.where_transfer_ends --small --out out/small

The same linear probe on raw pixels, on every stage of the network (averaged over space, and over each of four
quarters), on the same stages with random weights, and the whole network fine-tuned; against the number of training
pictures, over seeds that draw pictures anew. Beside it a distance from the photos that the network was trained on:
the Frechet distance of each batch norm's input, channel by channel, to what that batch norm remembers of ImageNet.

Expected: on photographs and textures the last stage beats pixels by 60 points and more. On digits, which are centred
and of one size, pixels (97.6 %) beat the last stage (95.7 %), by 1.9 ± 1.5 points, paired over five seeds (± 2.2 if one
allows for training sets that overlap). The stage that folds of the training pictures choose, an earlier one that keeps
where things are, reaches 99.0 %: 3.3 ± 0.4 points over the last stage, but 1.4 ± 1.6 over pixels, which five seeds
cannot tell from zero. Fine-tuning reaches 99.0 % over three seeds: 3.4 ± 1.4 over the last stage, 0.9 ± 2.1 over
pixels, 0.3 ± 0.7 over the chosen stage. The distance orders the sets: pets, textures, digits.
Time on two CPU cores: a quarter of an hour without fine-tuning; a fine-tuning run on all digits takes two minutes.
The small preset takes a minute.
"""

import itertools
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import tljax
from experiments import Experiment, Results, comparison, program
from experiments.findings import Finding
from tljax import metrics
from tljax.data.loader import batches
from tljax.data.source import Source
from tljax.data.sources import open_source
from tljax.data.splits import split
from tljax.metrics import interval
from tljax.models.network import Network
from tljax.models.statistics import with_moments
from tljax.progress import Track
from tljax.report.blocks import Card, Figure, Row, Table, Text
from tljax.report.page import Section
from tljax.report.text import percent, spread
from tljax.transfer import FinetuneConfig, extract, finetune, fit_probe, predict_probs, with_probe
from tljax.transfer.config import TINY_LR
from tljax.transfer.prediction import predict_source

PIXELS, FINETUNED, CHOSEN = "pixels", "fine-tuned", "stage chosen by folds"
RANDOM = "random "
OWN = "the set brings its own test pictures, so seeds vary only the folds, and intervals say nothing of other pictures"
OVERLAP = (
    "Paired: on the same training and test pictures, seed by seed. All seeds draw from the same pictures, so their "
    "training sets overlap, which Student's t does not know; the wider interval allows for it (Nadeau and Bengio 2003)."
)
TINY, TINY_SIZE, SIDE = 64, 96, 32


@dataclass(frozen=True)
class Config:
    """Options of the experiment."""

    data: tuple[str, ...] = ("textures", "digits")
    """Sets of pictures: digits, textures, folders, tfds:NAME."""
    out: str = "out/ends"
    """The folder for report.html, results.json and the figures."""
    model: str = "efficientnet_lite0"
    """The network."""
    sizes: tuple[int, ...] = (50, 200, 800)
    """Numbers of training pictures, below all of them; those below two a class are left out."""
    seeds: int = 5
    """How often pictures are drawn anew."""
    every: int = 1
    """Look at every n-th stage, counted from the last."""
    limit: int = 2000
    """At most this many pictures of a set are looked at."""
    finetune: tuple[int, ...] = ()
    """Numbers of training pictures to fine-tune on as well; 0 stands for all."""
    finetune_data: tuple[str, ...] = ()
    """Sets to fine-tune on, of those in --data; by default all."""
    finetune_seeds: int = 3
    """Seeds of fine-tuning, which takes most of the time."""
    epochs: int = 5
    """Of fine-tuning."""
    batch_size: int = 32
    """Pictures at once."""
    small: bool = False
    """Digits only, few of them, two seeds: shows that it runs."""


def main(config: Config, folder: Path, track: Track) -> tuple[Results, list[Section]]:
    """Measures every representation of every set."""
    if config.small:
        config = replace(config, data=config.data[-1:], sizes=(40,), seeds=2, limit=120, every=8)
    net = tljax.load_pretrained(config.model)
    if config.small:
        net = net.replace(spec=replace(net.spec, input_size=TINY_SIZE))
    sets = {}
    for data in config.data:
        source = open_source(data)
        tuned = config.finetune if data in (config.finetune_data or config.data) else ()
        sets[Path(source.name).name] = one_set(net, source, replace(config, finetune=tuned), track)
    results = {"config": asdict(config), "sets": sets}
    return results, sections(results)


def one_set(net: Network, source: Source, config: Config, track: Track) -> dict[str, Any]:
    """Accuracies of every representation of one set, and its distance from photographs."""
    began = time.perf_counter()
    chosen = np.flatnonzero(source.labels >= 0)
    if len(chosen) > config.limit:
        chosen = np.sort(np.random.default_rng(0).permutation(chosen)[: config.limit])
    rows, stages, distance = representations(net, source, chosen, config, track)
    source = replace(source, labels=np.where(np.isin(np.arange(len(source.labels)), rows["index"]), source.labels, -1))
    runs = [
        one_draw(rows, source, config, seed)
        for seed in track(range(config.seeds), f"{Path(source.name).name}: probes", config.seeds)
    ]
    train = runs[0]["train"]
    tuned: dict[str, list[float]] = {}
    for size in config.finetune:
        if (size or train) > train:
            continue
        tuned[str(size or train)] = [
            tune(net, source, config, size or train, seed)
            for seed in track(range(config.finetune_seeds), f"fine-tuning on {size or train}", config.finetune_seeds)
        ]
    return {
        "classes": len(source.classes),
        "train": train,
        "test": runs[0]["test"],
        "own split": len(source.splits) > 1,
        "stages": stages,
        "distance": distance,
        "by_stage": gathered([run["by_stage"] for run in runs]),
        "by_size": {size: gathered([run["by_size"][size] for run in runs]) for size in runs[0]["by_size"]},
        "chosen": [run["chosen"] for run in runs],
        FINETUNED: tuned,
        "seconds": time.perf_counter() - began,
    }


def representations(
    net: Network, source: Source, chosen: np.ndarray, config: Config, track: Track
) -> tuple[dict[str, np.ndarray], list[str], dict[str, float]]:
    """Every representation of the pictures, (n, d) each with their "index"; the stages; the distance by layer."""
    nets = {"": tljax.for_inference(net)}
    nets[RANDOM] = tljax.for_inference(tljax.init_network(net.spec.name, key=jax.random.key(0)))
    stages = stage_names(jax.eval_shape(net.intermediates, net.variables, jnp.zeros((1, 224, 224, 3))))
    stages = stages[:: -config.every][::-1]
    describe = {prefix: make_describe(one, stages, quarters=not prefix) for prefix, one in nets.items()}
    moments = jax.jit(lambda variables, images: with_moments(net.scores)(variables, as_floats(images))[1])
    parts: list[dict[str, np.ndarray]] = []
    of_batches: list[Any] = []
    feed = batches(source, chosen, net.spec, batch_size=config.batch_size)
    for batch in track(feed, f"{Path(source.name).name}: stages", -(-len(chosen) // config.batch_size)):
        part = {"index": batch.index}
        for prefix, one in nets.items():
            part |= {prefix + k: np.asarray(v) for k, v in describe[prefix](one.variables, batch.images).items()}
        parts.append({name: values[batch.mask] for name, values in part.items()})
        if len(of_batches) * config.batch_size < 256:
            by_layer = moments(net.variables, batch.images)
            of_batches.append({name: (m.mean[batch.mask], m.square[batch.mask]) for name, m in by_layer.items()})
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    small = replace(net.spec, input_size=min(SIDE, shortest(source, rows["index"])), crop_pct=1.0)
    plain = [b.images[b.mask] for b in batches(source, rows["index"], small, batch_size=config.batch_size)]
    rows[PIXELS] = np.concatenate(plain).reshape(len(rows["index"]), -1) / np.float32(255)
    return rows, stages, frechet(of_batches)


def stage_names(maps: dict[str, Any]) -> list[str]:
    """The last map of each stage, in the order of the network; SqueezeNet's map of classes is none."""
    last = {re.sub(r"(_block\d+|_\d+)$", "", name): name for name in maps if name != "conv10"}
    return list(last.values())


def make_describe(net: Network, stages: Sequence[str], *, quarters: bool) -> Callable:
    """A jitted (variables, uint8 images) -> {stage: (b, c) means, "stage, quarters": (b, 4 c)}."""

    @jax.jit
    def describe(variables, images):
        maps, means = net.intermediates(variables, as_floats(images)), OrderedDict()  # a dict would come out sorted
        for stage in stages:
            x = maps[stage]
            means[stage] = x.mean((1, 2))
            if not quarters:
                continue
            half = (x.shape[1] + 1) // 2, (x.shape[2] + 1) // 2  # of an odd map, the middle is in both halves
            tops, lefts = (x[:, : half[0]], x[:, -half[0] :]), (slice(0, half[1]), slice(-half[1], None))
            means[f"{stage}, quarters"] = jnp.concatenate([t[:, :, w].mean((1, 2)) for t in tops for w in lefts], -1)
        return means

    return describe


def as_floats(images: np.ndarray) -> jax.Array:
    """uint8 -> float32 in [0, 1]."""
    return images.astype(jnp.float32) / 255


def shortest(source: Source, index: np.ndarray) -> int:
    """The short side of the first picture, in pixels."""
    return min(source.picture(int(index[0])).shape[:2])


def frechet(of_batches: Sequence[dict[str, tuple[np.ndarray, np.ndarray]]]) -> dict[str, float]:
    """Per batch norm, the Frechet distance of its input to the training images, in deviations of these.

    Of two normal distributions with independent channels it is (mean - mean')^2 + (deviation - deviation')^2
    (Dowson and Landau 1982; of Inception's features, Heusel et al. 2017, arXiv 1706.08500); the batch norm's running
    statistics stand for the training images, and the mean is taken over channels. {} without batch norm.
    """
    distances = {}
    for name in of_batches[0] if of_batches else ():
        mean, square = (np.concatenate([one[name][i] for one in of_batches]).mean(0, dtype=np.float64) for i in (0, 1))
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        distances[name.removesuffix("/norm")] = float(np.mean(mean**2 + (deviation - 1) ** 2))
    return distances


def one_draw(rows: dict[str, np.ndarray], source: Source, config: Config, seed: int) -> dict[str, Any]:
    """Accuracies of probes with one draw of training and test pictures."""
    train, test = drawn(source, seed)
    place = np.full(len(source.labels), -1)
    place[rows["index"]] = np.arange(len(rows["index"]))
    train, test = place[train], place[test]
    labels, classes = source.labels[rows["index"]], len(source.classes)

    def probe(name: str, some: np.ndarray) -> tuple[float, float]:
        """(accuracy on the test pictures, accuracy on folds of the training pictures)."""
        values = padded(rows[name])
        fit = fit_probe(values[some], labels[some], classes=classes, seed=seed)
        inside = next(step["val_accuracy"] for step in fit.path if step["l2"] == fit.l2)
        predicted = predict_probs(fit, values[test]).argmax(1)
        return metrics.accuracy(predicted, labels[test]), inside or 0.0

    last = [name for name in rows if name not in ("index", PIXELS) and not name.startswith(RANDOM)][-2]
    every = {name: probe(name, train) for name in rows if name != "index"}
    best = max((name for name in every if not name.startswith(RANDOM) and name != PIXELS), key=lambda n: every[n][1])
    names = {PIXELS: PIXELS, f"last stage, {last}": last, CHOSEN: best, f"random weights, {last}": RANDOM + last}
    by_size = {}
    for size in [size for size in config.sizes if 2 * classes <= size < len(train)]:
        some = stratified(train, labels, size, seed)
        by_size[str(size)] = {title: probe(name, some)[0] for title, name in names.items()}
    by_size[str(len(train))] = {title: every[name][0] for title, name in names.items()}
    return {
        "train": len(train),
        "test": len(test),
        "by_stage": {name: accuracy for name, (accuracy, _) in every.items()},
        "by_size": by_size,
        "chosen": best,
    }


def padded(values: np.ndarray) -> np.ndarray:
    """The features with columns of zeros, to which a probe gives no weight: a few widths, so a few programs."""
    width = next((width for width in (128, 512, 1280, 5120) if width >= values.shape[1]), values.shape[1])
    return np.pad(values, ((0, 0), (0, width - values.shape[1])))


def drawn(source: Source, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training and test pictures: as given, or a fifth of each class drawn to test on."""
    shares = split(source, val_fraction=0.2, seed=seed)
    return shares["train"], shares.get("test", shares["val"])


def stratified(train: np.ndarray, labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """About `size` of the training rows, every class in its proportion and at least once."""
    rng = np.random.default_rng([seed, size])
    some = []
    for label in np.unique(labels[train]):
        members = rng.permutation(train[labels[train] == label])
        some.append(members[: max(1, round(size * len(members) / len(train)))])
    return np.sort(np.concatenate(some))


def tune(net: Network, source: Source, config: Config, size: int, seed: int) -> float:
    """Accuracy after fine-tuning from the probe, as `tljax train --mode finetune` does it."""
    train, test = drawn(source, seed)
    train = stratified(train, source.labels, size, seed) if size < len(train) else train
    tiny = shortest(source, train) <= TINY
    net = net.replace(spec=replace(net.spec, input_size=TINY_SIZE if tiny else net.spec.input_size))
    photos, others = source.subset(train), source.subset(test)
    features = extract(net, photos, batch_size=config.batch_size, cache=True)
    probe = fit_probe(features.values, features.labels, classes=source.classes, seed=seed)
    options = FinetuneConfig(epochs=config.epochs, lr=TINY_LR if tiny else None, flip=not tiny)
    tuned, _ = finetune(with_probe(net, probe), photos, config=options, key=jax.random.key(seed))
    probs, index, _ = predict_source(tuned, others, batch_size=config.batch_size)
    return metrics.accuracy(probs.argmax(1), others.labels[index])


def gathered(runs: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    """A dict for each seed -> a list over seeds for each key."""
    return {key: [run[key] for run in runs] for key in runs[0]}


def findings(results: Results) -> list[Finding]:
    """What it found: accuracies, their differences, and how far each set lies from ImageNet's photos."""
    sets = results["sets"]
    rows = [
        ("training pictures", *(f"{measured['train']:,}" for measured in sets.values())),
        *side_by_side([accuracies(measured) for measured in sets.values()]),
        ("stage chosen most often", *(most_often(measured["chosen"]) for measured in sets.values())),
        ("distance from ImageNet's photos", *(distance(measured) for measured in sets.values())),
    ]
    differences = [{words: points(values) for words, values in pairs(measured).items()} for measured in sets.values()]
    own = [name for name, measured in sets.items() if measured.get("own split")]
    return [
        Table(["accuracy of a probe on", *sets], rows),
        "The distance is Frechet's, the mean over batch norms, in squared deviations."
        + (f" Of {' and '.join(own)}: {OWN}." if own else ""),
        Table(["difference in points, same seeds", *sets], side_by_side(differences)),
    ]


def side_by_side(columns: Sequence[dict[str, str]]) -> list[tuple[str, ...]]:
    """A row for each key that some column has; empty where another has none."""
    return [(key, *(column.get(key, "") for column in columns)) for key in dict.fromkeys(itertools.chain(*columns))]


def accuracies(measured: dict[str, Any]) -> dict[str, str]:
    """What is compared, with its accuracy."""
    return {
        arm.split(",")[0]: spread(*interval(values)) + (f" ({len(values)} seeds)" if arm == FINETUNED else "")
        for arm, values in compared(measured).items()
    }


def most_often(names: Sequence[str]) -> str:
    """The most frequent of the names."""
    return max(dict.fromkeys(names), key=names.count)


def distance(measured: dict[str, Any]) -> str:
    """How far the set lies from ImageNet's photos, where that was measured."""
    return f"{far(measured):.2f}" if measured["distance"] else ""


def compared(measured: dict[str, Any]) -> dict[str, list[float]]:
    """Pixels, the last stage, the chosen one and fine-tuning, where there was any: accuracies on all training pictures.

    The n-th value of each is that of the n-th seed, which draws the same training and test pictures for all of them.
    """
    size = str(measured["train"])
    pixels, last, chosen = list(measured["by_size"][size].items())[:3]
    tuned = [(FINETUNED, measured[FINETUNED][size])] if size in measured[FINETUNED] else []
    return dict([pixels, last, chosen, *tuned])


def pairs(measured: dict[str, Any]) -> dict[str, np.ndarray]:
    """Each of what is compared less each before it, by seed, on the seeds that both have."""
    arms = {arm.split(",")[0]: values for arm, values in compared(measured).items()}
    return {
        f"{one} less {other}": np.array([a - b for a, b in zip(arms[one], arms[other], strict=False)])
        for other, one in itertools.combinations(arms, 2)
    }


def widened(differences: Sequence[float], measured: dict[str, Any]) -> float:
    """Half the interval of paired differences, allowing for seeds whose training sets overlap.

    Student's t takes seeds for independent; the variance of their mean is rather 1 / seeds + test / train times that
    of one (Nadeau and Bengio 2003, "Inference for the generalization error").
    """
    return interval(differences).half * math.sqrt(1 + len(differences) * measured["test"] / measured["train"])


def points(differences: Sequence[float]) -> str:
    """Percentage points with their interval: "3.1 ± 0.8"."""
    return spread(*interval(differences)).removesuffix(" %")


def far(measured: dict[str, Any]) -> float:
    """The distance of a set, over all batch norms."""
    return float(np.mean(list(measured["distance"].values())))


def drawings(results: Results) -> dict[str, Figure]:
    """The figures, from what results.json holds."""
    sizes, depths = {}, {}
    for name, measured in results["sets"].items():
        lines = {}
        for title in measured["by_size"][str(measured["train"])]:
            values = np.array([of[title] for of in measured["by_size"].values()])
            lines["last stage" if title.startswith("last") else title.split(",")[0]] = (
                [int(size) for size in measured["by_size"]],
                values.T,
            )
        if measured[FINETUNED]:
            lines[FINETUNED] = (
                [int(size) for size in measured[FINETUNED]],
                np.array(list(measured[FINETUNED].values())).T,
            )
        sizes[name] = lines
        by_stage, places = measured["by_stage"], np.arange(len(measured["stages"]))
        depths[name] = {
            title: (places, np.array([by_stage[f"{start}{stage}{end}"] for stage in measured["stages"]]).T)
            for title, start, end in (
                ("mean over space", "", ""),
                ("mean of each quarter", "", ", quarters"),
                ("random weights", RANDOM, ""),
            )
        }
        depths[name][PIXELS] = (places, np.array([by_stage[PIXELS]] * len(places)).T)
    ticks = [stage.split("_block")[0] for stage in next(iter(results["sets"].values()))["stages"]]
    return {
        "sizes": Figure(
            comparison.curves(sizes, xlabel="training pictures", log=True),
            "Accuracy against the number of training pictures, for each set and representation",
        ),
        "stages": Figure(
            comparison.curves(depths, xlabel="", ticks=ticks),
            "Accuracy of a probe on each stage of the network, for each set, on all training pictures",
        ),
    }


def sections(results: Results) -> list[Section]:
    """What the page shows besides."""
    made = []
    for name, measured in results["sets"].items():
        own, pixels = measured.get("own split"), np.array(measured["by_stage"][PIXELS])
        train, test = measured["train"], measured["test"]
        rows = [
            (key, spread(*interval(values)), points(values - pixels) if key != PIXELS else "")
            for key, values in measured["by_stage"].items()
        ]
        paired = [
            (words, points(values), "–" if own else f"± {100 * widened(values, measured):.1f}", len(values))
            for words, values in pairs(measured).items()
        ]
        far_layers = [(layer, f"{value:.2f}") for layer, value in measured["distance"].items()]
        chosen = {stage: measured["chosen"].count(stage) for stage in measured["chosen"]}
        times = ", ".join(f"{stage} {percent(n / len(measured['chosen']))}" for stage, n in chosen.items())
        blocks = [
            Text(f"{measured['classes']} classes, {train} pictures to train and {test} to test on."),
            Text(f"Chosen by folds of the training pictures: {times}."),
            Table(["paired", "points", "allowing for overlap", "seeds"], paired),
            Text(f"{OWN[0].upper()}{OWN[1:]}." if own else OVERLAP, note=True),
        ]
        tables = [Card([Table(["features", "accuracy", "less pixels, points"], rows)])]
        if far_layers:
            tables.append(Card([Table(["batch norm", "distance"], far_layers)]))
        made.append(Section(name, [*blocks, Row(tables)]))
    return made


EXPERIMENT = Experiment(__doc__, Config, main, findings, drawings)

if __name__ == "__main__":
    program(EXPERIMENT)
