"""What bounds the features of ImageNet-1k on TPU v5e chips: decoding, the network, or the chip?

    python -m experiments.tpu.bounds --photos FOLDER

Measures how many photos a second of one core's time is enough for (hashing, reading, decoding, resizing), counts the
work of each network in its convolutions, and puts both beside the data sheet of a chip and its host. What it prints is
an upper bound for each part, in photos a second; the least of a row is the bound of the whole. See README.md.

Expected: decoding bounds at 1, 8 and 64 chips, with the 8 threads that the loader takes by default and with all cores.
Time: under a minute.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
import tyro

from tljax.data.loader import batches, digests
from tljax.data.sources import image_source
from tljax.models.network import abstract_variables, make_network
from tljax.models.spec import get_spec

PEAK, BANDWIDTH = 197e12, 819e9
"""Of a v5e chip: bfloat16 operations and bytes of its memory, a second (Google's data sheet)."""
PHOTOS, PHOTO_BYTES = 1_281_167, 147.9e9 / 1_281_167
"""ImageNet-1k's training photos: how many, and the mean size of their JPEGs."""
SLICES = {1: (1, 24, 25e9 / 8), 8: (1, 224, 200e9 / 8), 64: (8, 224, 200e9 / 8)}
"""Chips -> hosts, vCPUs of a host, bytes that its network brings a second: two 100 Gbit/s cards on a host of 8 chips,
of which we assume an eighth for a single chip."""


THREADS = 8
"""That `loader.batches` takes at most, unless told otherwise."""


@dataclass(frozen=True)
class Config:
    """Options of the experiment."""

    photos: str
    """A folder of photos, best of ImageNet's size (about 115 kB)."""
    models: tuple[str, ...] = ("efficientnet_lite0", "resnet50")
    """Networks."""
    most: int = 100
    """Photos to decode."""


def main(config: Config) -> None:
    """Prints what was measured, and the table."""
    per_core, size = measure(config.photos, config.most)
    print(f"{per_core:.0f} photos a second of one core's time, {size / 1e3:.0f} kB each\n")
    print("| model | chips | 8 threads | all vCPUs | network | chips' work | all photos by 8 threads | by all vCPUs |")
    print("|---|---|---|---|---|---|---|---|")
    for model in config.models:
        operations, moved = work(model)
        for chips, (hosts, cores, incoming) in SLICES.items():
            decoding = hosts * min(cores, THREADS) * per_core, hosts * cores * per_core
            others = hosts * incoming / PHOTO_BYTES, chips / max(operations / PEAK, moved / BANDWIDTH)
            rates = " | ".join(f"{rate:,.0f}" for rate in (*decoding, *others))
            times = " | ".join(f"{PHOTOS / min(rate, *others):,.0f} s" for rate in decoding)
            print(f"| {model} | {chips} | {rates} | {times} |")
    for model in config.models:
        operations, moved = work(model)
        print(f"\n{model}: {operations / 1e9:.2f} GFLOP, {moved / 1e6:.1f} MB of activations a photo", end="")
    print()


def measure(folder: str, most: int) -> tuple[float, float]:
    """Photos a second of one core's time through `extract`'s own loader, and their mean size in bytes."""
    source = image_source([folder])
    indices = np.linspace(0, len(source.files) - 1, min(most, len(source.files))).astype(int)
    spec = get_spec("efficientnet_lite0")
    size = np.mean([os.path.getsize(source.files[i]) for i in indices])
    began = time.process_time()  # of all threads, and not of what else the machine does
    digests(source, indices, threads=1)
    rows = sum(int(batch.mask.sum()) for batch in batches(source, indices, spec, batch_size=32, threads=1))
    return rows / (time.process_time() - began), float(size)


def work(model: str) -> tuple[float, float]:
    """Operations of a photo, and bytes of bfloat16 that its convolutions read and write, each once."""
    spec = get_spec(model)
    net = replace(make_network(spec, abstract_variables(spec)), plain=True)
    images = jax.ShapeDtypeStruct((1, spec.input_size, spec.input_size, 3), np.float32)
    operations = moved = 0
    for equation in _convolutions(jax.make_jaxpr(net.embed)(net.variables, images).jaxpr):
        image, kernel = (variable.aval for variable in equation.invars)
        (out,) = (variable.aval for variable in equation.outvars)
        channels = kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
        operations += 2 * out.size * kernel.size // channels
        moved += 2 * (image.size + out.size)
    return float(operations), float(moved)


def _convolutions(program: Any) -> Iterator[Any]:
    """The convolutions of a traced program, also of those inside it."""
    for equation in program.eqns:
        if equation.primitive.name == "conv_general_dilated":
            yield equation
        for inner in equation.params.values():
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from _convolutions(inner)


if __name__ == "__main__":
    main(tyro.cli(Config))
