"""Do other networks recognise an ideal image, and does the way it was made matter?

    python -m experiments.ideal_classes --out out/ideal-classes
    python -m experiments.ideal_classes --small --out out/small

Twenty ImageNet classes are made four ways: by plain gradient descent on pixels (the textbook way), without and with
total variation; in Fourier space on one network; in Fourier space on three networks at once. Every image is saved as
PNG, read back, and judged by networks that had no part in it.

Expected: Fourier images made on efficientnet_lite0 are first for lite1 and lite2 for all of 20, and in the top 5
of squeezenet1_1.caffe, another architecture, for 14. Those of pixels and total variation convince their maker of 97 to
100 % (81 % at worst) and nobody else: first for at most two of 20, and the margin that `classify` cuts off would lose
them their maker, too. Fourier on one network takes three and a quarter minutes on 2 CPU cores, a quarter of a minute
for each of two programs that are compiled among them; the pixels' way a quarter of an hour and more, as do three
networks. Pixels without total variation are not measured at this size. The small preset takes half a minute.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import Experiment, Results, program
from experiments.findings import Finding
from tljax.data.png import file_stem, read_png, save_png
from tljax.progress import Track
from tljax.report import figures, synth_page
from tljax.report.blocks import Figure, Table
from tljax.report.page import Section
from tljax.report.text import duration, percent
from tljax.synth import PixelRecipe, default_judges, dream, judge_ideals, to_bytes
from tljax.transfer.run import load_network

CLASSES = (284, 281, 340, 207, 292, 130, 963, 9, 417, 604, 386, 984, 985, 291, 96, 388, 949, 701, 973, 1)


@dataclass(frozen=True)
class Config:
    """Options of the experiment."""

    out: str = "out/ideal-classes"
    """The folder for report.html, results.json, the figure and the pictures."""
    classes: tuple[int, ...] = CLASSES
    """Indices of ImageNet classes."""
    steps: int | None = None
    """Steps of every method; by default 256 in Fourier space and 1,000 on pixels."""
    size: int = 224
    """Side of the images, in pixels."""
    ways: tuple[str, ...] = ("pixel", "pixel + TV", "fourier", "fourier on three")
    """Which of the four ways."""
    makers: tuple[str, ...] = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
    """Networks that make the images: the first alone, and all of them for "fourier on three"."""
    judges: tuple[str, ...] = ()
    """Networks that judge; by default all whose weights are here and that did not make the image."""
    seed: int = 0
    """Of the noise that everything starts from."""
    small: bool = False
    """Two classes, few steps: shows that it runs."""


def main(config: Config, folder: Path, track: Track) -> tuple[Results, list[Section]]:
    """Makes images every way, and lets the other networks judge."""
    if config.small:
        config = replace(config, classes=config.classes[:2], steps=2, size=64, ways=("pixel + TV", "fourier"))
        smallest = default_judges(config.makers[:1])[-1:]
        if smallest:  # it makes, and the network that would have made judges
            config = replace(config, makers=tuple(smallest), judges=config.makers[:1])
    results = {"config": config.__dict__, "ways": {way: one_way(way, config, folder, track) for way in config.ways}}
    return results, sections(results, folder)


def one_way(way: str, config: Config, folder: Path, track: Track) -> dict[str, Any]:
    """The images of one way, with the maker's and the judges' opinions."""
    makers = config.makers if way == "fourier on three" else config.makers[:1]
    nets = {name: load_network(name, folded=False) for name in makers}
    options: dict[str, Any] = {"method": "fourier"}
    if way.startswith("pixel"):
        plain = PixelRecipe(cross_entropy=1.0, total_variation=0.0)
        options = {"method": "pixel", "recipe": PixelRecipe() if way == "pixel + TV" else plain}
    start = time.perf_counter()
    made = dream(
        [net.scores for net in nets.values()],
        [net.variables for net in nets.values()],
        config.classes,
        key=jax.random.key(config.seed),
        steps=config.steps,
        size=config.size,
        track=track,
        **options,
    )
    pixels = np.asarray(to_bytes(made.images))
    seconds = time.perf_counter() - start
    names = [nets[makers[0]].spec.classes[c] for c in config.classes]
    own_folder = folder / file_stem(way)
    own_folder.mkdir()
    files = [save_png(own_folder / f"{file_stem(n)}.png", image) for n, image in zip(names, pixels, strict=True)]
    judges = {name: load_network(name) for name in config.judges or default_judges(makers)}
    images = judge_ideals(nets, judges, [read_png(file) for file in files], [str(c) for c in config.classes])
    for image, name, file in zip(images, names, files, strict=True):
        del image["image"]  # the file holds it
        image |= {"class": name, "file": str(Path(file).relative_to(folder))}
    return {"makers": list(makers), "seconds": seconds, "images": images}


def summaries(images: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """(judge, share first, share in the top 5, median rank) for each judge."""
    rows = []
    for judge in images[0]["judges"]:
        ranks = np.array([image["judges"][judge]["rank"] for image in images])
        shares = (percent(float((ranks <= most).mean())) for most in (1, 5))
        rows.append((judge, *shares, f"{np.median(ranks):g}"))
    return rows


def findings(results: Results) -> list[Finding]:
    """What it found: how each judge ranks the images of each way."""
    rows = [(way, *summary) for way, made in results["ways"].items() for summary in summaries(made["images"])]
    times = "; ".join(f"{way} {duration(made['seconds'])}" for way, made in results["ways"].items())
    return [
        "The share of the classes that each judge puts first, and among its first five.",
        Table(["way", "judge", "first", "top 5", "median rank"], rows),
        f"{len(results['config']['classes'])} classes; time: {times}.",
    ]


def drawings(results: Results) -> dict[str, Figure]:
    """The figure, from what results.json holds."""
    judges = sorted({judge for way in results["ways"].values() for judge in way["images"][0]["judges"]})
    none = {"rank": np.nan}
    ranks = [
        [[i["judges"].get(j, none)["rank"] for i in w["images"]] for j in judges] for w in results["ways"].values()
    ]
    first = np.where(np.isnan(ranks).any(-1), np.nan, np.mean(np.equal(ranks, 1), -1))
    figure = figures.transfer_matrix(first, list(results["ways"]), judges, ylabel="made by")
    return {"first": Figure(figure, "The share of ideal images that each judge puts first, by the way they were made")}


def sections(results: Results, folder: Path) -> list[Section]:
    """What the page shows besides."""
    pictures = {
        way: [{**image, "image": read_png(folder / image["file"])} for image in made["images"]]
        for way, made in results["ways"].items()
    }
    return [Section(way, synth_page.ideal_blocks(images)) for way, images in pictures.items()]


EXPERIMENT = Experiment(__doc__, Config, main, findings, drawings)

if __name__ == "__main__":
    program(EXPERIMENT)
