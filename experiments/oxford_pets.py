"""How well does a linear probe tell 37 breeds apart, from how few photos, and do several networks see more than one?

    python -m experiments.oxford_pets --data tfds:oxford_iiit_pet --out out/pets
    python -m experiments.oxford_pets --data pets37 --out out/pets
    python -m experiments.oxford_pets --data pets37 --small --out out/small

The backbones stay as they are; a probe is fitted on their features. With the official split of Oxford-IIIT Pet, the
seeds draw the few photos of the few-shot curve; a folder without a split is split anew for each seed, 7 of 10 photos
of a breed to train on. All figures are mean per-class accuracy, the usual one for this set.

Expected on 37 breeds x 10 photos, efficientnet_lite0: 88 % from 7 photos a breed, 63 % from one, and cat or dog always
right. Four networks' features side by side gain 2 points over it, and nothing over the best of the four, lite2 with
91 %. For scale, on the whole set a ResNet-50's frozen features give 91.5 % (BYOL, arXiv 2006.07733, table 3).
Time on two CPU cores: two minutes for the folder; the whole set, 7,349 photos, has not been timed. The small preset
takes half a minute.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments import Experiment, Results, comparison, program
from experiments.findings import Finding
from tljax import metrics
from tljax.data.source import Source
from tljax.data.sources import open_source
from tljax.data.splits import split
from tljax.metrics import interval, top_confusions
from tljax.progress import Track
from tljax.report import figures
from tljax.report.blocks import Figure, Table, Text
from tljax.report.page import Section
from tljax.report.text import percent, spread
from tljax.synth import default_judges
from tljax.transfer import extract, fit_probe, predict_probs
from tljax.transfer.run import load_network

CATS = (
    *("abyssinian", "bengal", "birman", "bombay", "british_shorthair", "egyptian_mau"),
    *("maine_coon", "persian", "ragdoll", "russian_blue", "siamese", "sphynx"),
)
TOGETHER, VOTES = "features side by side", "probabilities averaged"
ALL = "all"


@dataclass(frozen=True)
class Config:
    """Options of the experiment."""

    data: str
    """tfds:oxford_iiit_pet, or a folder with a folder of photos for each breed."""
    out: str = "out/pets"
    """The folder for report.html, results.json and the figures."""
    models: tuple[str, ...] = ()
    """Backbones, the main one first; by default all whose weights are here."""
    shots: tuple[int, ...] = (1, 2, 5)
    """Photos a breed on the few-shot curve, which ends with all."""
    seeds: int = 5
    """How often photos are drawn anew."""
    val_fraction: float = 0.3
    """Of each breed, to test on, where the data brings no split."""
    small: bool = False
    """Eight breeds, two networks, two seeds: shows that it runs."""


def main(config: Config, folder: Path, track: Track) -> tuple[Results, list[Section]]:
    """Probes every network, and all together, for every seed."""
    models = list(config.models) or default_judges(())
    source = open_source(config.data)
    if config.small:
        config, models = replace(config, shots=(1,), seeds=2), [models[0], models[-1]]
        source = some_classes(source, 8)
    began = time.perf_counter()
    chosen = np.flatnonzero(source.labels >= 0)
    features, readable = backbone_features(models, source, chosen, track)
    if len(models) > 1:
        features[TOGETHER] = np.concatenate([unit_rows(values) for values in features.values()], 1)
    measured = [
        one_seed(features, source, readable, config, seed) for seed in track(range(config.seeds), "seeds", config.seeds)
    ]
    results = {
        "config": asdict(config),
        "models": models,
        "classes": list(source.classes),
        "photos": measured[0]["photos"],
        "breeds": {name: [one["breeds"][name] for one in measured] for name in measured[0]["breeds"]},
        "cat_or_dog": [one["cat_or_dog"] for one in measured if "cat_or_dog" in one],
        "shots": {name: [one["shots"][name] for one in measured] for name in measured[0]["shots"]},
        "confusion": sum(one["confusion"] for one in measured).tolist(),
        "seconds": time.perf_counter() - began,
    }
    return results, sections(results)


def some_classes(source: Source, count: int) -> Source:
    """The set with at most `count` of its classes, evenly chosen; photos of the others become unlabelled."""
    kept = np.unique(np.linspace(0, len(source.classes) - 1, count).round().astype(int))
    new = np.full(len(source.classes), -1, np.int32)
    new[kept] = np.arange(len(kept))
    return replace(
        source,
        classes=tuple(source.classes[i] for i in kept),
        labels=np.where(source.labels < 0, -1, new[source.labels]),
    )


def backbone_features(
    models: list[str], source: Source, chosen: np.ndarray, track: Track
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Network -> (n, D) features of the n photos that can be read, and the places of these."""
    photos = source.subset(chosen)
    by_network = {name: extract(load_network(name), photos, cache=True, skip=True, track=track) for name in models}
    first = next(iter(by_network.values()))
    return {name: one.values for name, one in by_network.items()}, chosen[first.index]


def one_seed(
    features: dict[str, np.ndarray], source: Source, readable: np.ndarray, config: Config, seed: int
) -> dict[str, Any]:
    """Everything that is measured with one draw of photos."""
    shares = split(source, val_fraction=config.val_fraction, seed=seed)
    test_name = "test" if "test" in shares else "val"
    rows = {int(i): row for row, i in enumerate(readable)}
    train, test = (np.array([rows[i] for i in shares[name].tolist() if i in rows]) for name in ("train", test_name))
    labels = source.labels[readable]
    kinds = np.array([name.lower().replace(" ", "_") in CATS for name in source.classes]).astype(np.int32)[labels]
    classes = len(source.classes)

    def fit_and_predict(name: str, some: np.ndarray) -> np.ndarray:
        probe = fit_probe(features[name][some], labels[some], classes=classes, seed=seed)
        return predict_probs(probe, features[name][test])

    def matrix(probs: np.ndarray) -> np.ndarray:
        return metrics.confusion(probs.argmax(1), labels[test], classes)

    first = next(iter(features))
    on_all = {name: fit_and_predict(name, train) for name in features}
    result = {
        "photos": {"train": len(train), "test": len(test)},
        "confusion": matrix(on_all[first]),
        "shots": {name: {} for name in features if name in (first, TOGETHER)},
    }
    if len(features) > 1:
        on_all[VOTES] = np.mean([probs for name, probs in on_all.items() if name != TOGETHER], 0)
    result["breeds"] = {name: metrics.balanced_accuracy(matrix(probs)) for name, probs in on_all.items()}
    for name, by_shots in result["shots"].items():
        for shots in config.shots:
            probs = fit_and_predict(name, draw(train, labels, shots, seed))
            by_shots[str(shots)] = metrics.balanced_accuracy(matrix(probs))
        by_shots[ALL] = result["breeds"][name]
    if 0 < kinds.mean() < 1:
        probe = fit_probe(features[first][train], kinds[train], classes=2, seed=seed)
        predicted = predict_probs(probe, features[first][test]).argmax(1)
        result["cat_or_dog"] = metrics.balanced_accuracy(metrics.confusion(predicted, kinds[test], 2))
    return result


def draw(train: np.ndarray, labels: np.ndarray, shots: int, seed: int) -> np.ndarray:
    """`shots` rows of each class, at random; a class with fewer gives all that it has."""
    rng = np.random.default_rng([seed, shots])
    by_class = [rng.permutation(train[labels[train] == label])[:shots] for label in np.unique(labels[train])]
    return np.concatenate(by_class)


def unit_rows(values: np.ndarray) -> np.ndarray:
    """Each photo's features at length 1, so that no network outweighs another."""
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


def findings(results: Results) -> list[Finding]:
    """What it found: every network, few photos, and the breeds that are confused."""
    main_name, photos, pets = results["models"][0], results["photos"], results["cat_or_dog"]
    seeds, per_breed = len(results["breeds"][main_name]), photos["train"] / len(results["classes"])
    found: list[Finding] = [
        f"{len(results['classes'])} breeds, {per_breed:.3g} training photos each; {seeds} seeds, {photos['test']} test "
        "photos each; mean accuracy over the breeds."
        + (f" Cat or dog, by {main_name}: {spread(*interval(pets))}." if pets else ""),
        networks(results),
        few_photos(results["shots"]),
    ]
    worst = top_confusions(np.array(results["confusion"]), results["classes"], limit=3)
    if worst:
        rows = [(true, taken, percent(share)) for true, taken, _, share in worst]
        found.append(Table(["most often confused", "taken for", "share of its photos"], rows))
    return found


def networks(results: Results) -> Table:
    """The accuracy of each network and of all together, and what they gain over the first and the best, by seed."""
    breeds = results["breeds"]
    best = max(results["models"], key=lambda name: np.mean(breeds[name]))
    others = dict.fromkeys((results["models"][0], best)) if len(breeds) > 1 else ()
    rows = [
        (name, spread(*interval(values)), *(points(values, breeds[one]) if one != name else "" for one in others))
        for name, values in breeds.items()
    ]
    return Table(["features of", "accuracy", *(f"points over {one}" for one in others)], rows)


def points(values: Sequence[float], others: Sequence[float]) -> str:
    """How much better, in points: "2.0 ± 1.7"."""
    return spread(*interval(np.subtract(values, others))).removesuffix(" %")


def few_photos(shots: Results) -> Table:
    """Accuracy against the number of training photos a breed."""
    counts = next(iter(shots.values()))[0]
    rows = [(count, *(spread(*interval([run[count] for run in runs])) for runs in shots.values())) for count in counts]
    return Table(["training photos a breed", *shots], rows)


def drawings(results: Results) -> dict[str, Figure]:
    """The figures, from what results.json holds."""
    train = round(results["photos"]["train"] / len(results["classes"]))
    lines = {}
    for name, runs in results["shots"].items():
        places = [train if key == ALL else int(key) for key in runs[0]]
        lines[name] = (places, np.array([list(run.values()) for run in runs]))
    return {
        "networks": Figure(
            comparison.dots(results["breeds"], xlabel="mean per-class accuracy"),
            "Accuracy on breeds of each network's features and of all together",
        ),
        "shots": Figure(
            comparison.curves(lines, xlabel="training photos a breed", title="Mean per-class accuracy", log=True),
            "Accuracy against the number of training photos a breed",
        ),
    }


def sections(results: Results) -> list[Section]:
    """What the page shows besides."""
    matrix = np.array(results["confusion"])
    worst = [
        (true, taken, count, percent(share))
        for true, taken, count, share in top_confusions(matrix, results["classes"], limit=12)
    ]
    alt = "Confusion matrix of the breeds; the most frequent mistakes are listed as text"
    blocks = [
        Text(f"Test photos of all seeds, {results['models'][0]}."),
        Figure(figures.confusion(matrix, results["classes"]), alt),
        Table(["True breed", "Taken for", "Photos", "of its breed"], worst) if worst else Text("No mistake at all."),
    ]
    return [Section("Which breeds look alike", blocks)]


EXPERIMENT = Experiment(__doc__, Config, main, findings, drawings)

if __name__ == "__main__":
    program(EXPERIMENT)
