"""Does training against attacks make a classifier of cats and dogs robust, and what does that cost?

    python -m experiments.defend --data FOLDER --out out/defend
    python -m experiments.defend --data FOLDER --small --out out/small

One network three times: with a linear probe, fine-tuned as usual, and fine-tuned against attacks (PGD within 2/255 in
each step, Madry et al. 2017, arXiv 1706.06083), with the same photos, order and number of steps. AutoAttack then
changes photos that none of them was trained on, within 1/255 and 2/255, as 8-bit files hold them: what stays right is
an upper bound of the robust accuracy. The cost is the time of a step, where everything is compiled.

To be found out: it was not run at its full size yet. Steps against attacks took two to three times as long. The small
preset takes a minute or two on 2 cores, and says nothing of robustness.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax

import tljax
from experiments import Experiment, Results, program
from experiments.findings import Finding
from tljax.data.source import Source
from tljax.data.sources import open_source
from tljax.data.splits import split
from tljax.models.network import Network
from tljax.progress import Track
from tljax.report.blocks import Table
from tljax.report.page import Section
from tljax.report.text import budgets, percent
from tljax.synth import robust_accuracy
from tljax.transfer import FinetuneConfig, Hooks, extract, finetune, fit_probe, with_probe

BUDGETS = (0.0, 1 / 255, 2 / 255)
PROBE, TUNED, DEFENDED = "linear probe", "fine-tuned", "fine-tuned against attacks"


@dataclass(frozen=True)
class Config:
    """Options of the experiment."""

    data: str
    """A folder of cats and dogs, one subfolder for each, or another labelled set."""
    out: str = "out/defend"
    """The folder for report.html and results.json."""
    model: str = "efficientnet_lite0"
    """The network that is trained."""
    image_size: int = 128
    """Side in pixels that it sees; time grows with its square."""
    adversarial: float = 2 / 255
    """The budget that it is trained against."""
    epochs: int = 8
    """Passes over the training photos; at least two, as the last one is timed."""
    batch_size: int = 32
    """Photos at once."""
    attacked: int = 100
    """Photos to attack, at most, of the fifth that is kept aside."""
    steps: int = 50
    """Gradients of each of AutoAttack's runs."""
    seed: int = 0
    """Of the split, the order of photos, augmentation and attacks."""
    small: bool = False
    """Few photos, the smallest network here: shows that it runs."""


def main(config: Config, folder: Path, track: Track) -> tuple[Results, list[Section]]:
    """Trains the network three times and attacks each."""
    if config.small:
        smallest = [config.model, *tljax.synth.default_judges([config.model])][-1]
        config = replace(config, model=smallest, image_size=64, epochs=2, batch_size=8, attacked=4, steps=2)
    source = open_source(config.data)
    train, val = (source.subset(part) for part in parts(source, config))
    start = probed(tljax.load_pretrained(config.model), train, config)
    key = jax.random.key(config.seed)
    arms: dict[str, tuple[Network, Sequence[Mapping[str, Any]]]] = {PROBE: (start, ())}
    for name, eps in ((TUNED, None), (DEFENDED, config.adversarial)):
        options = FinetuneConfig(epochs=config.epochs, batch_size=config.batch_size, adversarial=eps)
        arms[name] = finetune(start, train, config=options, key=key, hooks=Hooks(track=track))
    attack = {"method": "auto_attack", "steps": config.steps, "limit": config.attacked, "seed": config.seed}
    rows = {
        name: {**robust_accuracy(net, val, BUDGETS, **attack, track=track), "seconds of a step": step_seconds(history)}
        for name, (net, history) in arms.items()
    }
    return {"config": asdict(config), "photos": len(train.files), "arms": rows}, []


def parts(source: Source, config: Config) -> list[Any]:
    """The places of the photos that train, and of those that are attacked."""
    places = split(source, val_fraction=0.2, seed=config.seed)
    every = max(len(places["train"]) // 24, 1) if config.small else 1
    return [places["train"][::every], places["val"]]


def probed(net: Network, train: Source, config: Config) -> Network:
    """The network at its size, with a probe on its features."""
    net = net.replace(spec=replace(net.spec, input_size=config.image_size))
    features = extract(net, train, batch_size=config.batch_size, cache=True)
    probe = fit_probe(features.values, features.labels, classes=train.classes, seed=config.seed)
    return with_probe(net, probe)


def step_seconds(history: Sequence[Mapping[str, Any]]) -> float | None:
    """The time of a step in the last epoch, by when everything is compiled; None where nothing was tuned."""
    epochs = [line for line in history if "epoch" in line]
    return epochs[-1]["seconds"] * len(epochs) / epochs[-1]["step"] if epochs else None


def findings(results: Results) -> list[Finding]:
    """What stays right within each budget, and what a step costs."""
    config, arms = results["config"], results["arms"]
    images = arms[PROBE]["images"]
    columns = ["network", "photos as they are", *(f"within {name}" for name in budgets(BUDGETS[1:])), "seconds a step"]
    rows = [
        (
            name,
            *(
                f"{percent(point['accuracy'])} ({' to '.join(map(percent, point['interval']))})"
                for point in row["curve"]
            ),
            "–" if row["seconds of a step"] is None else f"{row['seconds of a step']:.2f}",
        )
        for name, row in arms.items()
    ]
    cost = arms[DEFENDED]["seconds of a step"] / arms[TUNED]["seconds of a step"]
    return [
        f"{config['model']} at {config['image_size']} pixels, {results['photos']} photos to train on, "
        f"{config['epochs']} epochs, against attacks of {budgets([config['adversarial']])[0]}; AutoAttack on {images} "
        "other photos, with 95 % intervals for their choice.",
        Table(columns, rows),
        f"A step against attacks takes {cost:.1f} times as long.",
    ]


EXPERIMENT = Experiment(__doc__, Config, main, findings)

if __name__ == "__main__":
    program(EXPERIMENT)
