"""How often does each attack succeed within the same budget, and does an 8-bit file keep it?

    python -m experiments.attack_success --photos FOLDER --out out/attacks
    python -m experiments.attack_success --photos FOLDER --small --out out/small

Targeted: every photo is to become another class, drawn at random. Untargeted: it is to become anything else; there, the
PGD of foolbox runs beside ours where it is installed, on the same function, photos, budget and number of gradients.
All results are saved as PNG and read back; distances are those of the files.

Expected, on efficientnet_lite0: FGSM hardly ever reaches a target, PGD and both APGDs always do within 4/255; cw_l2
needs less than half of the length that PGD uses. It takes 200 gradients for each photo, twice: most of the half an hour
that 100 photos take on 2 CPU cores. The small preset takes half a minute.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import Experiment, Results, program
from experiments.findings import Finding
from tljax import synth
from tljax.data.loader import batches
from tljax.data.png import through_png
from tljax.data.sources import image_source
from tljax.progress import Track
from tljax.report.blocks import Table
from tljax.report.page import Section
from tljax.report.text import percent
from tljax.synth import default_judges
from tljax.transfer.run import load_network

TARGETED = {
    "fgsm": {"eps": 4 / 255},
    "mi_fgsm": {"eps": 4 / 255, "steps": 40},
    "pgd": {"eps": 4 / 255, "steps": 40},
    "apgd_ce": {"eps": 4 / 255, "steps": 40},
    "apgd_dlr": {"eps": 4 / 255, "steps": 40},
    "pgd (l2)": {"eps": 3.0, "norm": "l2", "steps": 40},
    "cw_l2": {"eps": None, "norm": "l2", "steps": 200},
}
UNTARGETED = {"pgd": {"steps": 10}, "apgd_ce": {"steps": 10}, "apgd_dlr": {"steps": 10}}


@dataclass(frozen=True)
class Config:
    """Options of the experiment."""

    photos: str
    """A folder of photos; labels are the network's own answers, so photos need none."""
    out: str = "out/attacks"
    """The folder for report.html and results.json."""
    count: int = 100
    """How many photos."""
    model: str = "efficientnet_lite0"
    """The network attacked."""
    l2_count: int = 100
    """How many of them for attacks in L2; the search of cw_l2 takes 200 gradients for each, twice."""
    attacks: tuple[str, ...] = tuple(TARGETED)
    """Which targeted ones."""
    eps: float = 1 / 255
    """Budget of the untargeted comparison: the smallest that an 8-bit file can use, so that some photos survive."""
    batch_size: int = 20
    """Photos at once."""
    seed: int = 0
    """Of the photos, the targets and the random starts."""
    small: bool = False
    """Four photos, few steps, the smallest network here: shows that it runs."""


def main(config: Config, folder: Path, track: Track) -> tuple[Results, list[Section]]:
    """Attacks, and reads the files back."""
    targeted, untargeted = {name: TARGETED[name] for name in config.attacks}, UNTARGETED
    if config.small:
        smallest = [config.model, *default_judges([config.model])][-1]
        config = replace(config, count=4, batch_size=4, model=smallest)
        targeted = {"fgsm": TARGETED["fgsm"], "pgd": {"eps": 4 / 255, "steps": 5}}
        untargeted = {"pgd": {"steps": 3}}
    net = load_network(config.model)
    images, first_guesses = photographs(net, config)
    rng = np.random.default_rng(config.seed)
    classes = len(net.spec.classes)
    targets = (first_guesses + rng.integers(1, classes, len(first_guesses))) % classes
    rows = {}
    for name, options in track(targeted.items(), "targeted attacks", len(targeted)):
        count = config.l2_count if options.get("norm") == "l2" else config.count
        options = {**options, "targeted": True}
        rows[name] = one_attack(net, images[:count], targets[:count], name, options, config)
    standing = {}
    for name, options in track(untargeted.items(), "untargeted attacks", len(untargeted)):
        options = {**options, "eps": config.eps}
        standing[name] = 1 - one_attack(net, images, first_guesses, name, options, config)["success"]
    if not config.small:
        standing |= foolbox_peer(net, images, first_guesses, config, untargeted["pgd"]["steps"])
    results = {"config": config.__dict__, "targeted": rows, "untargeted still right": standing}
    return results, []


def photographs(net: Any, config: Config) -> tuple[np.ndarray, np.ndarray]:
    """`count` photos drawn from the folder, uint8 (n, s, s, 3), and what the network takes them for, (n,)."""
    source = image_source([config.photos])
    chosen = np.random.default_rng(config.seed).permutation(len(source.files))
    feed = batches(source, np.sort(chosen[: 2 * config.count]), net.spec, batch_size=config.batch_size)
    images = np.concatenate([batch.images[batch.mask] for batch in feed])[: config.count]
    return images, synth.probabilities(net, images).argmax(-1)


def one_attack(
    net: Any, images: np.ndarray, labels: np.ndarray, name: str, options: dict[str, Any], config: Config
) -> dict[str, Any]:
    """Success and mean distances of one attack, by the files that it leaves."""
    attack = getattr(synth, name.split(" ")[0])

    def run(part: np.ndarray, own: np.ndarray, number: int, **more: Any) -> np.ndarray:
        key = jax.random.fold_in(jax.random.key(config.seed), number)
        return attack(net.scores, net.variables, as_floats(part), jnp.asarray(own), key=key, **options, **more)

    start = time.perf_counter()
    made = in_batches(run, images, labels, config.batch_size)
    seconds = time.perf_counter() - start
    saved = np.stack([through_png(image) for image in np.asarray(synth.to_bytes(made))])
    answers = synth.probabilities(net, saved).argmax(-1)
    change = (saved.astype(float) - images) / 255
    won = answers == labels if options.get("targeted") else answers != labels
    l2 = np.sqrt((change**2).sum((1, 2, 3)))
    result = {
        "photos": len(images),
        "success": float(won.mean()),
        "linf (255ths)": float(np.round(255 * np.abs(change).max(), 3)),
        "mean l2 of successes": float(l2[won].mean()) if won.any() else None,
        "seconds": seconds,
    }
    if options.get("norm") == "l2":
        free = in_batches(lambda *a: run(*a, quantized=False), images, labels, config.batch_size)
        free_l2 = np.sqrt(((free - images / np.float32(255)) ** 2).sum((1, 2, 3)))
        result["mean l2 before rounding"] = float(free_l2[won].mean()) if won.any() else None
    return result


def foolbox_peer(net: Any, images: np.ndarray, labels: np.ndarray, config: Config, steps: int) -> dict[str, float]:
    """The share that foolbox's PGD leaves right on the same function; {} where foolbox is not installed."""
    try:
        import eagerpy as ep
        import foolbox
    except ImportError:
        return {}
    model = foolbox.JAXModel(lambda x: net.scores(net.variables, x), bounds=(0, 1))
    attack = foolbox.attacks.LinfPGD(steps=steps, rel_stepsize=2.5 / steps)
    right = 0
    for part, own in zip(parts(images, config.batch_size), parts(labels, config.batch_size), strict=True):
        _, clipped, _ = attack(model, ep.astensor(as_floats(part)).raw, jnp.asarray(own), epsilons=config.eps)
        right += int((net.scores(net.variables, clipped).argmax(-1) == own).sum())
    return {"foolbox pgd (before rounding)": right / len(images)}


def in_batches(run: Callable, images: np.ndarray, labels: np.ndarray, batch_size: int) -> np.ndarray:
    """float32 results of `run(images, labels, number)` on batches."""
    pairs = zip(parts(images, batch_size), parts(labels, batch_size), strict=True)
    return np.concatenate([np.asarray(run(part, own, i)) for i, (part, own) in enumerate(pairs)])


def parts(values: np.ndarray, size: int) -> list[np.ndarray]:
    """Consecutive pieces of at most `size` rows."""
    return [values[i : i + size] for i in range(0, len(values), size)]


def as_floats(images: np.ndarray) -> jax.Array:
    """uint8 -> float32 in [0, 1]."""
    return jnp.asarray(images, jnp.float32) / 255


def findings(results: Results) -> list[Finding]:
    """What it found: how often each attack succeeds, and how far it had to go."""
    config = results["config"]
    lengths = ("mean l2 of successes", "mean l2 before rounding")
    targeted = [
        (
            name,
            row["photos"],
            percent(row["success"]),
            f"{row['linf (255ths)']:g}",
            *("–" if row.get(key) is None else f"{row[key]:.3f}" for key in lengths),
            f"{row['seconds']:.0f}",
        )
        for name, row in results["targeted"].items()
    ]
    columns = ["attack", "photos", "success", "largest change, 255ths", "mean L2", "mean L2 before rounding", "seconds"]
    standing = [(name, percent(share)) for name, share in results["untargeted still right"].items()]
    return [
        f"{config['model']}, to a random target; success is counted from PNG files, read back.",
        Table(columns, targeted),
        f"When a photo may become anything else, within L∞ {255 * config['eps']:g}/255:",
        Table(["attack", "photos still right"], standing),
    ]


EXPERIMENT = Experiment(__doc__, Config, main, findings)

if __name__ == "__main__":
    program(EXPERIMENT)
