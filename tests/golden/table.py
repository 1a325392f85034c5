"""The parity table: `python -m tests.golden.table [NAME...]`, all networks by default. Needs no torch and no Keras.

For each network the weights are drawn again, written to a file, loaded with `tljax.load_pretrained(name, weights=path)`
and compared with the stored float64 results, in float32 with exact products ("highest"). An error is
max |value - reference| / max |reference|. Exits 1 if any is above 2e-5.
"""

import sys
import tempfile
from collections import ChainMap
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import jax
import numpy as np
from safetensors.numpy import save_file

import tljax
from experiments.benchmark.draw import draw_images, draw_projection, draw_state
from experiments.fuzz.torch_files import write_numpy, write_stream, write_tar, write_zip
from tests import keras_files
from tljax.models.network import Network

FOLDER = Path(__file__).parent
TOLERANCE = 2e-5

WRITERS = {
    "zip": write_zip,
    "stream": write_stream,
    "tar": write_tar,
    "safetensors": lambda path, state: save_file(state, path),
    "numpy": write_numpy,
    **keras_files.WRITERS,
}

NETWORKS = {  # name -> the container that its weights go through
    "vgg16": "zip",
    "vgg19": "safetensors",
    "resnet18": "tar",
    "resnet34": "stream",
    "resnet50": "zip",
    "resnet101": "safetensors",
    "resnet152": "stream",
    "resnext50_32x4d": "zip",
    "seresnext26d_32x4d": "safetensors",
    "vgg11_bn": "stream",
    "squeezenet1_0": "tar",
    "mobilenet_v2": "tar",
    "efficientnet_lite0": "stream",
    "efficientnet_lite1": "zip",
    "efficientnet_lite2": "safetensors",
    "mobilenet_v3_small": "zip",
    "efficientnet_b0": "safetensors",
    "densenet121": "stream",
    "squeezenet1_1": "tar",
    "convnextv2_nano": "safetensors",
    "vit_tiny_patch16": "safetensors",
    "dinov2_vits14_reg": "safetensors",
    "squeezenet1_1.caffe": "numpy",
    "vgg16.keras": "h5 of 2016",
    "vgg19.keras": "h5 model",
    "resnet50.keras": "h5 of 2018",
    "mobilenet_v2.keras": "h5 of 2018",
}


def golden(name: str) -> dict[str, np.ndarray]:
    """The stored results of a network; `make.py` and `make_keras.py` say what they are."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


def golden_state(name: str) -> dict[str, np.ndarray]:
    """The weights that the stored results were made with, by the names of the original."""
    stored = golden(name)
    shapes = [tuple(size for size in map(int, row) if size) for row in stored["shapes"]]
    return draw_state(dict(zip(map(str, stored["names"]), shapes, strict=True)))


def load(name: str, state: dict[str, np.ndarray], container: str, folder: Path) -> Network:
    """A network from `state` by way of a file, which is removed afterwards."""
    path = folder / f"{name}.weights"
    WRITERS[container](path, state)
    try:
        return tljax.load_pretrained(name, weights=path)
    finally:
        path.unlink()


def errors(net: Network, name: str) -> dict[str, float]:
    """The relative error of each stored result: "logits_224x224", "embed_169x199", "gradient", ..."""
    stored = golden(name)
    tasks = [partial(outputs, net, stored, size) for size in stored["sizes"].tolist()]
    if "gradient" in stored:
        tasks.append(partial(image_gradient, net, stored))
    with ThreadPoolExecutor() as pool:  # most of the time goes into compiling, which runs outside Python's lock
        values = dict(ChainMap(*pool.map(lambda task: task(), tasks)))
    return {key: relative_error(value, stored[key]) for key, value in values.items()}


def outputs(net: Network, stored: dict[str, np.ndarray], size: tuple[int, int]) -> dict[str, jax.Array]:
    """Logits, scores and embedding, as far as they are stored for this size, in one compiled program."""
    functions = {"logits": net.apply, "scores": net.scores, "embed": net.embed}
    tagged = {"{}_{}x{}".format(part, *size): function for part, function in functions.items()}
    wanted = {key: function for key, function in tagged.items() if key in stored}
    with jax.default_matmul_precision("highest"):
        program = jax.jit(lambda v, x: {key: function(v, x) for key, function in wanted.items()})
        return program(net.variables, draw_images(*size))


def image_gradient(net: Network, stored: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """The gradient of the projected scores with respect to the image that was chosen for it."""
    projection, shape = draw_projection(1000), stored["gradient"].shape
    images = draw_images(*shape[1:3], batch=1, seed=int(stored["gradient_seed"]))
    with jax.default_matmul_precision("highest"):
        gradient = jax.jit(jax.grad(lambda x, v: (net.scores(v, x) * projection).sum()))
        return {"gradient": gradient(images, net.variables)}


def relative_error(value: jax.Array, expected: np.ndarray) -> float:
    """max |value - expected| / max |expected|; infinite where a value is no number. Shapes must agree."""
    value = np.asarray(value, np.float64)
    if value.shape != expected.shape:
        raise ValueError(f"shape {value.shape}, expected {expected.shape}")
    if not np.isfinite(value).all():
        return np.inf
    return float(np.abs(value - expected).max() / np.abs(expected).max())


def row(name: str, folder: Path) -> tuple[str, float]:
    """A line of the table and its largest error."""
    found = errors(load(name, golden_state(name), NETWORKS[name], folder), name)
    stored = golden(name)
    native, odd = ("{}x{}".format(*size) for size in stored["sizes"])
    largest = np.abs(stored.get(f"logits_{native}", stored[f"embed_{odd}"])).max()
    cells = [f"{found[key]:.1e}" if key in found else "-" for key in columns(native, odd)]
    return (
        f"{name:20} {NETWORKS[name]:12} {native:8} {largest:8.2f} "
        + " ".join(f"{cell:>10}" for cell in cells)
        + f" {stored['torch_error'].max():10.1e}",
        max(found.values()),
    )


def columns(native: str, odd: str) -> list[str]:
    """The results that have a column."""
    return [f"logits_{native}", f"logits_{odd}", f"scores_{odd}", f"embed_{odd}", "gradient"]


def main() -> None:
    """Print the table of the named networks."""
    names = sys.argv[1:] or list(NETWORKS)
    titles = "".join(f" {title:>10}" for title in ("native", "odd", "scores", "embed", "gradient", "theirs f32"))
    print(f"{'network':20} {'container':12} {'native':8} {'|logit|':>8}{titles}")
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            line, error = row(name, Path(folder))
            worst = max(worst, error)
            print(line, flush=True)
    print(f"largest error {worst:.1e}, allowed {TOLERANCE:.0e}")
    sys.exit(worst > TOLERANCE)


if __name__ == "__main__":
    main()
