"""Cats or dogs: how good are frozen features, and when is fine-tuning worth it?

    python -m experiments.cats_vs_dogs --data PetImages --out out/cats-dogs
    python -m experiments.cats_vs_dogs --data PetImages --arms 700 all tuned --finetune-seeds 1 --out out/cats-dogs
    python -m experiments.cats_vs_dogs --data tfds:cats_vs_dogs --models vgg16 resnet50 --out out/cats-dogs
    python -m experiments.cats_vs_dogs --data PetImages --small --out out/small

For each backbone: a linear probe on 700 photos, tested on 100 others and on all others; a probe on 80 % of all photos;
on the main one also fine-tuning, which goes on from the probe. And the usual mistake beside the usual remedy: on few
photos, everything fine-tuned at once under a random head, against probe first.

Expected: 700 photos 97 % or better on efficientnet_lite0 (the lesson's notebook: 98 % on 100 photos with VGG-16); all
photos 98 %, 98.8 % on efficientnet_lite2. Fine-tuned on all photos the lesson reports 97.4 % (PyTorch) and 96.5 %
(TensorFlow). On 100 photos, probe first wins over all at once by 0.9 ± 0.8 points, and the probe alone is as good.
Time on two CPU cores and 2,005 photos: half a minute a backbone for the probes, three to five minutes for each
fine-tuning on all.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

import tljax
from experiments import Experiment, Results, comparison, program
from experiments.findings import Finding
from tljax import metrics, trees
from tljax.data.loader import batches
from tljax.data.source import Source
from tljax.data.sources import open_source
from tljax.data.splits import split
from tljax.metrics import interval
from tljax.models.network import Network, abstract_variables
from tljax.progress import Track
from tljax.report import run_page
from tljax.report.blocks import Figure, Table, Text
from tljax.report.page import Section
from tljax.report.text import duration, spread
from tljax.synth import default_judges
from tljax.transfer import (
    FinetuneConfig,
    Probe,
    extract,
    finetune,
    finetune_rules,
    fit_probe,
    label_variables,
    predict_probs,
    trainable_labels,
    with_probe,
)
from tljax.transfer.head import run_spec
from tljax.transfer.prediction import predict_source

Arm = Literal["700", "all", "tuned", "few"]
FEW, FEW_FIRST, FEW_AT_ONCE = "few photos, probe", "few photos, probe first, then tuned", "few photos, all at once"
TRIED = "700 photos, 100 to test"
REST = "700 photos, all others to test"
ALL, TUNED = "80 % of all photos, probe", "80 % of all photos, tuned"


@dataclass(frozen=True)
class Config:
    """Options of the experiment."""

    data: str
    """A folder such as PetImages, or tfds:cats_vs_dogs."""
    out: str = "out/cats-dogs"
    """The folder for report.html, results.json and the figures."""
    models: tuple[str, ...] = ()
    """Backbones, the main one first; by default all whose weights are here."""
    arms: tuple[Arm, ...] = ("700", "all", "few")
    """What is trained: probes on 700 or all photos, fine-tuning on all (tuned) or on few photos."""
    seeds: int = 5
    """How often photos are drawn anew."""
    finetune_seeds: int = 1
    """The same for fine-tuning on all photos."""
    few: int = 200
    """Photos of the arm of few photos."""
    few_epochs: int = 5
    """Passes over them."""
    epochs: int = 2
    """Passes of fine-tuning over all photos."""
    test: int = 500
    """Photos to test on, at most, in the arm of few photos."""
    batch_size: int = 32
    """Photos at once."""
    small: bool = False
    """Few photos, one network, two seeds: shows that it runs."""


def main(config: Config, folder: Path, track: Track) -> tuple[Results, list[Section]]:
    """Trains every arm on every backbone."""
    models = list(config.models) or default_judges(())
    if config.small:
        config = replace(config, arms=("all", "few"), seeds=2, few=12, few_epochs=1, test=12, batch_size=4)
        models = models[-1:]
    source = open_source(config.data)
    if config.small:
        source = some_photos(source, 60)
    results: dict[str, Any] = {"config": asdict(config), "models": models, "backbones": {}}
    pages: list[Section] = []
    for number, name in enumerate(models):
        net = tljax.load_pretrained(name)
        measured, curves, shown = one_backbone(net, source, config, main=number == 0, track=track)
        results["backbones"][name] = measured
        if number == 0:
            results["curves"], pages = curves, shown
    return results, [*sections(results), *pages]


def some_photos(source: Source, count: int) -> Source:
    """The set with `count` labelled photos, drawn by chance."""
    kept = np.random.default_rng(0).permutation(len(source.labels))[:count]
    return replace(source, labels=np.where(np.isin(np.arange(len(source.labels)), kept), source.labels, -1))


def one_backbone(
    net: Network, source: Source, config: Config, *, main: bool, track: Track
) -> tuple[dict[str, Any], dict[str, Any], list[Section]]:
    """Accuracies and costs of one backbone; for the main one also curves and what the page shows of it."""
    start = time.perf_counter()
    chosen = np.flatnonzero(source.labels >= 0)
    computed = Counted(track)
    labelled = source.subset(chosen)
    features = extract(net, labelled, batch_size=config.batch_size, cache=True, skip=True, track=computed)
    seconds = time.perf_counter() - start
    lab = Lab(net, source, features.values, chosen[features.index], config)
    accuracy: dict[str, list[float]] = {}
    curves: dict[str, Any] = {}
    times: dict[str, float] = {"features": seconds, "features computed": computed.photos}
    pages: list[Section] = []
    if "700" in config.arms:
        runs = [lab.tried(seed) for seed in range(config.seeds)]
        accuracy |= {TRIED: [run[0] for run in runs], REST: [run[1] for run in runs]}
        times["probe on 700"] = float(np.mean([run[2] for run in runs]))
    if "all" in config.arms:
        start = time.perf_counter()
        accuracy[ALL] = [lab.on_all(seed)[0] for seed in range(config.seeds)]
        times["probe on all"] = (time.perf_counter() - start) / config.seeds
        pages = lab.pages() if main else []
    if "tuned" in config.arms and main:
        runs = [lab.tuned(seed) for seed in track(range(config.finetune_seeds), "tuned on all", config.finetune_seeds)]
        accuracy[TUNED], times[TUNED] = [run["accuracy"] for run in runs], runs[0]["seconds"]
        curves[TUNED] = [run["curve"] for run in runs]
    if "few" in config.arms and main:
        runs = [lab.few(seed) for seed in track(range(config.seeds), "few photos", config.seeds)]
        for name in (FEW, FEW_FIRST, FEW_AT_ONCE):
            accuracy[name] = [run[name]["accuracy"] for run in runs]
            times[name] = runs[0][name]["seconds"]
            curves[name] = [run[name]["curve"] for run in runs]
    trainable = {"probe": (net.spec.feature_dim + 1) * len(source.classes), "tuned": lab.trainable(None)}
    measured = {
        "photos": len(features.index),
        "skipped": len(features.skipped),
        "accuracy": accuracy,
        "seconds": times,
        "trainable": {**trainable, "all at once": lab.trainable(())},
    }
    return measured, {name: runs for name, runs in curves.items() if runs[0]}, pages


class Counted:
    """A `track` that counts the photos that pass."""

    def __init__(self, track: Track):
        self.track, self.photos = track, 0

    def __call__(self, items: Any, description: str, total: int) -> Any:
        """The items, counted."""
        for batch in self.track(items, description, total):
            self.photos += int(batch.mask.sum())
            yield batch


@dataclass(frozen=True)
class Lab:
    """One backbone with the features of the photos that can be read.

    values: (n, D). index: (n,), their places in the source.
    """

    net: Network
    source: Source
    values: np.ndarray
    index: np.ndarray
    config: Config

    def probe(self, train: np.ndarray, test: np.ndarray, seed: int) -> tuple[float, Probe, np.ndarray]:
        """(accuracy, probe, probabilities) of rows `test` after fitting on rows `train`."""
        labels = self.source.labels[self.index]
        probe = fit_probe(self.values[train], labels[train], classes=self.source.classes, seed=seed)
        probs = predict_probs(probe, self.values[test])
        return metrics.accuracy(probs.argmax(1), labels[test]), probe, probs

    def tried(self, seed: int) -> tuple[float, float, float]:
        """700 photos to train: (accuracy on 100 others, on all others, seconds of the probe)."""
        order = np.random.default_rng(seed).permutation(len(self.index))
        train = order[: min(700, len(order) // 2)]
        start = time.perf_counter()
        rest = order[len(train) :]
        accuracy, _, probs = self.probe(train, rest, seed)
        hundred = metrics.accuracy(probs[:100].argmax(1), self.source.labels[self.index[rest[:100]]])
        return hundred, accuracy, time.perf_counter() - start

    def rows(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of 80 % and 20 % of the photos (or of the split that came with the data)."""
        unreadable = np.setdiff1d(np.flatnonzero(self.source.labels >= 0), self.index)
        shares = split(self.source, val_fraction=0.2, seed=seed, skip=unreadable)
        return np.searchsorted(self.index, shares["train"]), np.searchsorted(self.index, shares["val"])

    def on_all(self, seed: int) -> tuple[float, Probe, np.ndarray, np.ndarray]:
        """(accuracy, probe, probabilities of the test rows, test rows) of a probe on most photos."""
        train, test = self.rows(seed)
        return *self.probe(train, test, seed), test

    def tuned(self, seed: int) -> dict[str, Any]:
        """Fine-tuning on most photos, from the probe."""
        train, test = self.rows(seed)
        probe = self.probe(train, test, seed)[1]
        return self.tune(probe, train, test, seed, epochs=self.config.epochs)

    def few(self, seed: int) -> dict[str, dict[str, Any]]:
        """On few photos: the probe; tuned from it; everything tuned at once from a random head."""
        train, test = self.rows(seed)
        rng = np.random.default_rng(seed)
        train, test = rng.permutation(train)[: self.config.few], rng.permutation(test)[: self.config.test]
        start = time.perf_counter()
        accuracy, probe, _ = self.probe(train, test, seed)
        seconds, epochs = time.perf_counter() - start, self.config.few_epochs
        kernel = rng.normal(size=probe.kernel.shape) / len(probe.kernel) ** 0.5
        chance = probe._replace(kernel=kernel, bias=0 * probe.bias)
        return {
            FEW: {"accuracy": accuracy, "seconds": seconds, "curve": []},
            FEW_FIRST: self.tune(probe, train, test, seed, epochs=epochs),
            FEW_AT_ONCE: self.tune(chance, train, test, seed, epochs=epochs, freeze=(), depth_decay=1.0),
        }

    def tune(self, head: Probe, train: np.ndarray, test: np.ndarray, seed: int, **options: Any) -> dict[str, Any]:
        """Accuracy, seconds, and the accuracy on the test photos after each epoch, of fine-tuning from a head."""
        config = FinetuneConfig(batch_size=self.config.batch_size, **options)
        photos, others = (self.source.subset(np.sort(self.index[rows])) for rows in (train, test))
        start = time.perf_counter()
        net, history = finetune(with_probe(self.net, head), photos, others, config=config, key=jax.random.key(seed))
        seconds = time.perf_counter() - start
        probs, index, _ = predict_source(net, others, batch_size=config.batch_size)
        curve = [line["val_accuracy"] for line in history if "val_accuracy" in line]
        accuracy = metrics.accuracy(probs.argmax(1), others.labels[index])
        return {"accuracy": accuracy, "seconds": seconds, "curve": curve}

    def trainable(self, freeze: Sequence[str] | None) -> int:
        """How many parameters fine-tuning changes."""
        spec = run_spec(self.net.spec, self.source.classes)
        variables = abstract_variables(spec)
        labels = label_variables(variables, finetune_rules(spec, freeze))
        chosen, _ = trees.partition(variables["params"], labels["params"], trainable_labels(labels))
        return sum(leaf.size for leaf in jax.tree.leaves(chosen))

    def pages(self) -> list[Section]:
        """The page of the probe on most photos: feature maps of one, and the most wrong ones."""
        _, probe, probs, test = self.on_all(0)
        source, net = self.source, tljax.for_inference(self.net)
        labels = source.labels[self.index[test]]
        sure = np.where(probs.argmax(1) != labels, probs.max(1), 0)
        worst = [row for row in np.argsort(-sure)[:8] if sure[row]]
        images = next(iter(batches(source, self.index[test[:1]], net.spec, batch_size=1))).images
        maps = net.intermediates(net.variables, images.astype(np.float32) / 255)
        names = list(maps)
        shown = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, 4).astype(int))]
        record = {
            "classes": source.classes,
            "probs": probs,
            "labels": labels,
            "l2": probe.l2,
            "l2_path": probe.path,
            "photo": images[0],
            "feature_maps": [(name, np.asarray(maps[name][0])) for name in shown],
            "wrong": [
                {
                    "image": source.picture(int(self.index[test[row]])),
                    "file": source.files[self.index[test[row]]],
                    "true": source.classes[labels[row]],
                    "predicted": source.classes[probs[row].argmax()],
                    "prob": float(probs[row].max()),
                }
                for row in worst
            ],
        }
        return run_page.sections(record)


def findings(results: Results) -> list[Finding]:
    """What it found: the accuracy of each arm and network, and what one arm gains over another."""
    accuracies = {name: measured["accuracy"] for name, measured in results["backbones"].items()}
    arms = dict.fromkeys(arm for measured in accuracies.values() for arm in measured)
    rows = [
        (arm, *(spread(*interval(measured[arm])) if arm in measured else "" for measured in accuracies.values()))
        for arm in arms
    ]
    photos = results["backbones"][results["models"][0]]["photos"]
    gains = compared(accuracies[results["models"][0]], results["config"]["few"])
    return [
        f"{photos:,} photos in all; few are {results['config']['few']} to train on.",
        Table(["photos and way", *accuracies], rows),
        *([Table(["gain of one way over another, same seeds", "points", "seeds"], gains)] if gains else []),
    ]


def compared(accuracy: Mapping[str, Sequence[float]], few: int) -> list[tuple[str, str, int]]:
    """What fine-tuning gains, on the seeds that both sides have: words, points, seeds."""
    pairs = {
        f"{few} photos: probe first, then tuned, over all at once under a random head": (FEW_FIRST, FEW_AT_ONCE),
        f"{few} photos: probe first, then tuned, over the probe alone": (FEW_FIRST, FEW),
        "80 % of all photos: tuned over the probe alone": (TUNED, ALL),
    }
    rows = []
    for words, (one, other) in pairs.items():
        gains = [a - b for a, b in zip(accuracy.get(one, ()), accuracy.get(other, ()), strict=False)]
        if gains:
            rows.append((words, spread(*interval(gains)).removesuffix(" %"), len(gains)))
    return rows


def drawings(results: Results) -> dict[str, Figure]:
    """The figures, from what results.json holds."""
    first = results["models"][0]
    rows = dict(results["backbones"][first]["accuracy"])
    for name in results["models"][1:]:
        accuracy = results["backbones"][name]["accuracy"]
        arm = ALL if ALL in accuracy else next(iter(accuracy))
        rows[f"{name}: {arm}"] = accuracy[arm]
    alt = f"Accuracy over seeds; of {first} where no network is named"
    made = {"arms": Figure(comparison.dots(rows, xlabel="accuracy"), alt)}
    lines = {
        arm: (np.arange(1, len(runs[0]) + 1), np.array(runs)) for arm, runs in results["curves"].items() if arm != TUNED
    }
    if lines:
        figure = comparison.curves(lines, xlabel="epoch", title="Accuracy on photos not trained on")
        made["curves"] = Figure(
            figure, "Accuracy after each epoch on few photos, from the probe and from a random head"
        )
    return made


def sections(results: Results) -> list[Section]:
    """What the page shows besides the main backbone's own sections."""
    costs = []
    for name, measured in results["backbones"].items():
        times, trainable = measured["seconds"], measured["trainable"]
        words = f"features of {times['features computed']:,} photos"
        costs.append((name, words, duration(times["features"]), ""))
        for arm, seconds in times.items():
            if not arm.startswith("features"):
                kind = "all at once" if "at once" in arm else "tuned" if "tuned" in arm else "probe"
                costs.append((name, arm, duration(seconds), f"{trainable[kind]:,}"))
    return [
        Section(
            "What it costs",
            [
                Table(["backbone", "what", "time of one seed", "trainable parameters"], costs),
                Text("Features that an earlier run has left in the cache are not computed again.", note=True),
            ],
        ),
    ]


EXPERIMENT = Experiment(__doc__, Config, main, findings, drawings)

if __name__ == "__main__":
    program(EXPERIMENT)
