"""Does an exported file say what its network says?

    python -m experiments.exported --photos FOLDER --out out/exported
    python -m experiments.exported --photos FOLDER --small --out out/small

One network of each family, with drawn weights: logits in ONNX Runtime against ours, as a share of the largest. The
networks whose weights are here, on photos: the same, and whether the most likely class is. Then the photos at odd
sizes, squeezed or stretched, on their side or mirrored with the tag that says so, in three hands: `tljax.predict` with
the network, the same with the exported file in its place, and three lines of Pillow and ONNX Runtime, which somebody
writes who has nothing but the file. The last need not be equal: of a large JPEG tljax decodes a half or a quarter.

Expected: logits to 1e-4, all classes equal; odd photos to 1e-4 by tljax, and to about 0.02 (SqueezeNet 0.08) by Pillow
alone. Time: two minutes and a half on 2 CPU cores; the small preset takes 20 s.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image, ImageOps

import tljax
from experiments import Experiment, Results, program
from experiments.findings import Finding
from tljax.data.loader import batches
from tljax.data.sources import image_source
from tljax.models.network import Network, for_inference
from tljax.progress import Track
from tljax.report.blocks import Table
from tljax.report.page import Section
from tljax.report.text import percent
from tljax.synth import default_judges
from tljax.transfer.onnx_export import write_onnx
from tljax.transfer.onnx_file import read_onnx
from tljax.transfer.prediction import score_source

ORIENTATION = 0x0112  # the tag of EXIF; 1 to 8
SHORTEST, LONGEST = 17, 1701  # sides of odd photos


@dataclass(frozen=True)
class Config:
    """Options of the experiment."""

    photos: str
    """A folder of photos; they need no labels."""
    out: str = "out/exported"
    """The folder for report.html and results.json."""
    count: int = 100
    """How many photos."""
    models: tuple[str, ...] = ()
    """Networks that see them; by default all whose weights are here."""
    families: tuple[str, ...] = ()
    """Networks with drawn weights; by default the smallest of each family."""
    seed: int = 0
    """Of weights, photos and odd sizes."""
    small: bool = False
    """One network, three photos: shows that it runs."""


def main(config: Config, folder: Path, track: Track) -> tuple[Results, list[Section]]:
    """Exports, and asks both."""
    if config.small:
        config = replace(config, count=3, models=("efficientnet_lite0",), families=("squeezenet1_1",))
    drawn = config.families or smallest_of_each_family()
    real = config.models or tuple(default_judges(()))
    families = {name: drawn_weights(name, config.seed) for name in track(drawn, "families", len(drawn))}
    photos, odd = {}, {}
    for name in track(real, "networks", len(real)):
        net = tljax.load_pretrained(name)
        photos[name], odd[name] = on_photos(net, config), on_odd_photos(net, config)
    return {"config": config.__dict__, "families": families, "photos": photos, "odd": odd}, []


def smallest_of_each_family() -> tuple[str, ...]:
    """Of those with a classifier."""
    specs = [spec for spec in map(tljax.get_spec, tljax.list_models()) if spec.classes]
    chosen = {spec.family: spec.name for spec in sorted(specs, key=lambda spec: -spec.params)}
    return tuple(sorted(chosen.values()))


def drawn_weights(name: str, seed: int) -> float:
    """The largest difference of a logit on two images of noise, as a share of the largest logit."""
    net = tljax.init_network(name, key=jax.random.key(seed))
    shape = (2, net.spec.input_size, net.spec.input_size, 3)
    images = np.asarray(jax.random.uniform(jax.random.key(seed + 1), shape))
    return difference(*both_logits(settled(net, images))(images))


def settled(net: Network, images: np.ndarray, steps: int = 30) -> Network:
    """A network whose batch norm has the statistics of the images.

    Else drawn weights may grow from block to block (EfficientNetV2), until no two programs in float32 agree.
    """
    layers, variables = tuple(net.variables["batch_stats"]), net.variables
    train = jax.jit(partial(net.replace(plain=True).apply_train, update_stats=layers))
    for step in range(steps if layers else 0):
        variables = {**variables, "batch_stats": train(variables, images, key=jax.random.key(step))[1]}
    return net.replace(variables=variables)


def on_photos(net: Network, config: Config) -> dict[str, float]:
    """Logits of photos as tljax shows them."""
    source = image_source([config.photos])
    feed = batches(source, chosen(source.files, config), net.spec, batch_size=10)
    both = both_logits(net)
    said = [both(batch.images[batch.mask].astype(np.float32) / 255) for batch in feed]
    theirs, ours = (np.concatenate(logits) for logits in zip(*said, strict=True))
    return {"photos": len(ours), "difference": difference(theirs, ours), "same class": agreement(theirs, ours)}


def on_odd_photos(net: Network, config: Config) -> dict[str, float]:
    """Probabilities of odd photos: the exported file's, asked by tljax and by Pillow alone, against the network's."""
    with tempfile.TemporaryDirectory() as scratch:
        write_onnx(net, Path(scratch) / "net.onnx")
        file = read_onnx(Path(scratch) / "net.onnx")
        photos = image_source(odd_photos(Path(scratch), config))
        ours, *_ = score_source(net, photos)
        by_tljax, *_ = score_source(file, photos)
        run = session(str(file.path))
        opened = (ImageOps.exif_transpose(Image.open(path)).convert("RGB") for path in photos.files)
        by_pillow = np.concatenate([run(np.asarray(photo)[None]) for photo in opened])
    return {
        "photos": len(ours),
        "difference": float(np.abs(by_tljax - ours).max()),
        "same class": agreement(by_tljax, ours),
        "difference by Pillow": float(np.abs(by_pillow - ours).max()),
        "same class by Pillow": agreement(by_pillow, ours),
    }


def odd_photos(folder: Path, config: Config) -> list[str]:
    """The photos at odd sizes and in the eight orientations of EXIF, as JPEG files."""
    source = image_source([config.photos])
    rng = np.random.default_rng(config.seed)
    files = []
    for number, i in enumerate(chosen(source.files, config)):
        size = np.exp(rng.uniform(np.log(SHORTEST), np.log(LONGEST), 2)).astype(int) | 1
        exif = Image.Exif()
        exif[ORIENTATION] = number % 8 + 1
        file = folder / f"{number:04d}.jpg"
        Image.open(source.files[i]).convert("RGB").resize(size.tolist()).save(file, quality=90, exif=exif)
        files.append(str(file))
    return files


def chosen(files: tuple[str, ...], config: Config) -> np.ndarray:
    """Where the photos that are looked at stand."""
    return np.sort(np.random.default_rng(config.seed).permutation(len(files))[: config.count])


def both_logits(net: Network) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Images in [0, 1] -> (logits in ONNX Runtime, ours)."""
    plain = for_inference(net).replace(plain=True)
    shape = (("b", net.spec.input_size, net.spec.input_size, 3), "float32")
    run = session(tljax.onnx.export(lambda images: plain.apply(plain.variables, images), shape))
    return lambda images: (run(images), np.asarray(net.apply(net.variables, images)))


def session(model: bytes | str) -> Callable[[np.ndarray], np.ndarray]:
    """The first output of an ONNX model, bytes or a file, by ONNX Runtime."""
    import onnxruntime

    runtime = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (asked,) = runtime.get_inputs()
    return lambda array: runtime.run(None, {asked.name: array})[0]


def difference(theirs: np.ndarray, ours: np.ndarray) -> float:
    """The largest, as a share of the largest value."""
    return float(np.abs(theirs - ours).max() / np.abs(ours).max())


def agreement(theirs: np.ndarray, ours: np.ndarray) -> float:
    """The share of rows with the same place of the largest."""
    return float((theirs.argmax(-1) == ours.argmax(-1)).mean())


def findings(results: dict[str, Any]) -> list[Finding]:
    """What it found, as tables."""
    families = [(name, f"{value:.1e}") for name, value in results["families"].items()]
    photos = [(name, *pair(row, "")) for name, row in results["photos"].items()]
    odd = [(name, *pair(row, ""), *pair(row, " by Pillow")) for name, row in results["odd"].items()]
    count = max(row["photos"] for row in results["photos"].values())
    return [
        "Drawn weights, images of noise: the largest difference of a logit, as a share of the largest logit.",
        Table(["network", "logits"], families, limit=len(families)),
        f"Trained weights, {count} photos: the same, and how often the most likely class is the same.",
        Table(["network", "logits", "same class"], photos),
        f"{count} photos of odd sizes and orientations: the largest difference of a probability between the exported "
        "file and the network, when tljax reads the photos for both, and when Pillow alone does for the file.",
        Table(["network", "by tljax", "same class", "by Pillow", "same class by Pillow"], odd),
    ]


def pair(row: dict[str, float], by: str) -> tuple[str, str]:
    """A difference and an agreement in words."""
    return f"{row['difference' + by]:.1e}", percent(row["same class" + by])


EXPERIMENT = Experiment(__doc__, Config, main, findings)

if __name__ == "__main__":
    program(EXPERIMENT)
