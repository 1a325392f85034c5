"""None of these: photos of other things, digits and noise against photos of the classes, beside pytorch-ood."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

import tljax
from experiments.trust.common import Set, quiet
from tljax.models.network import Network
from tljax.progress import Track
from tljax.transfer import extract, fit_probe, fit_unknown, unknown_score
from tljax.transfer.probe import Probe

RATE = 0.05
NOISE = 200
CATS_AND_DOGS = {*range(151, 269), *range(281, 286)}  # of ImageNet's classes


def strangers(net: Network, others: str, limit: int | None, track: Track) -> dict[str, np.ndarray]:
    """Features of what is none of the classes: ImageNet's photos but cats and dogs, digits, noise."""
    photos = tljax.data.image_source(other_photos(others)[:limit])
    digits = tljax.data.open_source("digits")
    noise = np.random.default_rng(0).integers(0, 256, (NOISE, 224, 224, 3)).astype(np.uint8)
    few = digits.subset(range(limit or 500))
    return {
        name: extract(net, shown, cache=True, skip=True, track=track).values
        for name, shown in (("other photos", photos), ("digits", few), ("noise", noise[:limit]))
    }


def other_photos(folder: str) -> list[str]:
    """Photos of a folder; where a table names their class of ImageNet, those of no cat and no dog."""
    table = Path(folder) / "labels.csv"
    if not table.is_file():
        return list(tljax.data.image_source([folder]).files)
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [str(Path(folder) / row["file"]) for row in rows if int(row["imagenet_index"]) not in CATS_AND_DOGS]


def measure(sets: list[Set], strange: dict[str, np.ndarray], seeds: int, track: Track) -> dict[str, Any]:
    """AUROC by set, task and method, and the share of own photos turned away, over seeds that draw what is held out."""
    with quiet():
        return {
            one.name: [once(one, strange, seed) for seed in track(range(seeds), f"{one.name}: none of these", seeds)]
            for one in sets
        }


def once(one: Set, strange: dict[str, np.ndarray], seed: int) -> dict[str, Any]:
    """One draw: four fifths of each class are known, the others are own photos that nobody saw."""
    classes, known = len(one.classes), np.zeros(len(one.labels), bool)
    random = np.random.default_rng(seed)
    for label in range(classes):
        members = random.permutation(np.flatnonzero(one.labels == label))
        known[members[: round(0.8 * len(members))]] = True
    values, labels = one.values[known], one.labels[known]
    fitted = fit_unknown(values, labels, classes=classes, rate=RATE)
    probe = fit_probe(values, labels, classes=classes)
    methods = {"tljax": lambda features: np.asarray(unknown_score(fitted, features)), **peers(values, labels, probe)}
    own = {name: score(one.values[~known]) for name, score in methods.items()}
    return {
        "turned away": float((own["tljax"] > 1).mean()),
        "auroc": {
            task: {name: auroc(own[name], score(features)) for name, score in methods.items()}
            for task, features in strange.items()
        },
    }


def auroc(own: np.ndarray, strange: np.ndarray) -> float:
    """How often a strange photo scores higher than one of the classes."""
    from sklearn.metrics import roc_auc_score

    truth = np.r_[np.zeros(len(own)), np.ones(len(strange))]
    return float(roc_auc_score(truth, np.nan_to_num(np.r_[own, strange])))


def peers(values: np.ndarray, labels: np.ndarray, probe: Probe) -> dict[str, Any]:
    """Detectors of pytorch-ood on the same features, or on the probe's logits of them."""
    try:
        import torch
        from pytorch_ood.detector import KNN, RMD, EnergyBased, Mahalanobis, MaxLogit, MaxSoftmax, ViM
    except ImportError:
        return {}
    features, classes = torch.as_tensor(values), torch.as_tensor(labels)
    weight, bias = torch.as_tensor(probe.kernel.T.copy()), torch.as_tensor(probe.bias)

    def by_logits(detector):
        return lambda x: detector.predict_logits(torch.as_tensor(x) @ weight.T + bias).numpy()

    def by_features(detector):
        detector.fit_features(features, classes)
        return lambda x: detector.predict_features(torch.as_tensor(x)).numpy()

    made = {
        "maximum softmax": lambda: by_logits(MaxSoftmax(None)),
        "maximum logit": lambda: by_logits(MaxLogit(None)),
        "energy": lambda: by_logits(EnergyBased(None)),
        "Mahalanobis": lambda: by_features(Mahalanobis(None)),
        "relative Mahalanobis": lambda: by_features(RMD(None)),
        "k-th neighbour": lambda: by_features(KNN(None, k=min(50, len(values) // 4))),
        "ViM": lambda: by_features(ViM(None, min(values.shape[1] // 2, len(values) // 2), weight, bias)),
    }
    return {name: make() for name, make in made.items()}
