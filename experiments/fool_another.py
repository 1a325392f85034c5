"""Does an adversarial image made on one network fool another?

    python -m experiments.fool_another --photos FOLDER --out out/fool-another
    python -m experiments.fool_another --photos FOLDER --small --out out/small

Images are made on every network whose weights are here and judged by all of them, as 8-bit files at the maker's
resolution, brought to the judge's. Untargeted: the share of photos whose answer changes, of those that the judge and
the maker see alike without attack. Targeted: the share that the judge sees as the target. PGD stands beside MI-FGSM,
which was made to transfer.

Expected: on the diagonal nearly all succeed; off it, untargeted images of one family fool the others of the family
much more often than another architecture, MI-FGSM more often than PGD; targets hardly ever transfer. Time: see
README.md; the small preset takes half a minute.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import Experiment, Results, program
from tljax import synth
from tljax.data.loader import batches
from tljax.data.sources import image_source
from tljax.progress import Track
from tljax.report import figures
from tljax.report.blocks import Figure, Text
from tljax.report.page import Section
from tljax.report.text import percent
from tljax.synth import default_judges
from tljax.transfer.run import load_network


@dataclass(frozen=True)
class Config:
    """Options of the experiment."""

    photos: str
    """A folder of photos; they need no labels."""
    out: str = "out/fool-another"
    """The folder for report.html, results.json and the figures."""
    count: int = 48
    """How many photos."""
    models: tuple[str, ...] = ()
    """Networks that make and judge; by default all whose weights are here."""
    eps: float = 8 / 255
    """L∞ budget."""
    steps: int = 20
    """Gradients of each attack."""
    batch_size: int = 24
    """Photos at once."""
    seed: int = 0
    """Of the photos, the targets and the random starts."""
    small: bool = False
    """Four photos, two networks, few steps, untargeted: shows that it runs."""


def main(config: Config, folder: Path, track: Track) -> tuple[Results, list[Section]]:
    """Makes images on every network, and lets all of them judge."""
    names, aims = list(config.models) or default_judges(()), ("untargeted", "targeted")
    if config.small:
        config, names = replace(config, count=4, batch_size=4, steps=3), names[:1] + names[1:][-1:]
        aims = aims[:1]
    nets = {name: load_network(name) for name in names}
    matrices = {}
    for aim in aims:
        for method in ("pgd", "mi_fgsm"):
            values = [row(nets, name, method, aim == "targeted", config) for name in track(names, method, len(names))]
            matrices[f"{method}, {aim}"] = values
    results = {"config": config.__dict__, "networks": names, "matrices": matrices}
    return results, [Section("How it was measured", [Text(in_words(config))])]


def in_words(config: Config) -> str:
    """The settings in words."""
    return (
        f"L∞ {255 * config.eps:g}/255, {config.steps} steps, {config.count} photos. Untargeted: of the photos that "
        "both networks see alike, the share that the judge sees differently afterwards. Targeted: the share of all "
        "photos that the judge sees as the target."
    )


def row(nets: dict[str, Any], maker: str, method: str, targeted: bool, config: Config) -> list[float | None]:
    """How often the maker's images succeed with each judge; None where no photo counts."""
    net = nets[maker]
    source = image_source([config.photos])
    chosen = np.random.default_rng(config.seed).permutation(len(source.files))[: config.count]
    fooled, counted = dict.fromkeys(nets, 0), dict.fromkeys(nets, 0)
    for number, batch in enumerate(batches(source, np.sort(chosen), net.spec, batch_size=config.batch_size)):
        clean = batch.images[batch.mask]
        before = {name: synth.probabilities(judge, clean).argmax(-1) for name, judge in nets.items()}
        classes = len(net.spec.classes)
        targets = (before[maker] + 1 + np.random.default_rng([config.seed, number]).integers(0, classes - 1)) % classes
        labels = targets if targeted else before[maker]
        made = getattr(synth, method)(
            net.scores,
            net.variables,
            jnp.asarray(clean, jnp.float32) / 255,
            jnp.asarray(labels),
            eps=config.eps,
            steps=config.steps,
            targeted=targeted,
            key=jax.random.fold_in(jax.random.key(config.seed), number),
        )
        pixels = np.asarray(synth.to_bytes(made))
        for name, judge in nets.items():
            after = synth.probabilities(judge, pixels).argmax(-1)
            alike = before[name] == before[maker]
            fooled[name] += int((after == targets).sum() if targeted else (alike & (after != before[name])).sum())
            counted[name] += len(clean) if targeted else int(alike.sum())
    return [fooled[name] / counted[name] if counted[name] else None for name in nets]


def findings(results: Results) -> list[str]:
    """What it found, a sentence for each matrix."""
    lines, names = [], results["networks"]
    for title, values in results["matrices"].items():
        shares, own = np.array(values, float), np.eye(len(names), dtype=bool)  # None becomes nan
        others = np.where(own, -1, np.nan_to_num(shares))
        maker, judge = np.unravel_index(np.argmax(others), others.shape)
        lines.append(
            f"{title}: {mean_of(shares[own])} of the images fool their maker, "
            f"{mean_of(shares[~own])} another network; most often those of {names[maker]} fool "
            f"{names[judge]} ({percent(others[maker, judge])})."
        )
    return lines


def mean_of(shares: np.ndarray) -> str:
    """The mean in words, of those that were counted."""
    counted = shares[~np.isnan(shares)]
    return percent(counted.mean()) if len(counted) else "none that counts"


def drawings(results: Results) -> dict[str, Figure]:
    """The figures, from what results.json holds."""
    names, made = results["networks"], {}
    for title, values in results["matrices"].items():
        figure = figures.transfer_matrix(np.array(values, float), names, names)
        alt = f"How often images made on one network fool another: {title}"
        made[title.replace(", ", "-")] = Figure(figure, alt, title)
    return made


EXPERIMENT = Experiment(__doc__, Config, main, findings, drawings)

if __name__ == "__main__":
    program(EXPERIMENT)
