"""Every architecture against torchvision or timm, with references made on the spot.

    python -m tests.golden.on_the_spot [--only PATTERN] [--size 224] [--results FILE]

Needs the extra `parity`. Of timm's architectures, those of which a family knows what their settings say. Weights are
those of `draw.py`, after which every batch norm takes the statistics that it meets in a batch of images, so that every
layer is alive however deep the network is: the column "alive" is the least, over all parameters p, of
|dL/dp * p| / |logits|, L being the projected logits. The original runs in float64. Errors of logits and embeddings
count from the largest value. Gradients are compared by root mean square: a few units lie at a kink of ReLU or of
pooling, where two exact programs take different sides.

Results are appended to FILE, and what it has is not computed again.
"""

import argparse
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import timm
import torch
import torchvision

from experiments.benchmark import reference
from experiments.benchmark.draw import draw_images, draw_projection, draw_state
from tljax.errors import InputError
from tljax.models.network import abstract_variables, make_network
from tljax.models.spec import ModelSpec, get_spec, list_models
from tljax.models.timm import spec_of
from tljax.weights.convert import convert

ODD = (97, 133)
GRADIENT_SIZE = (81, 97)


def architectures() -> list[str]:
    """What is compared, by "torchvision/NAME" and "timm/NAME"."""
    names = [name for name in list_models() if "." not in name]
    published = [name for name in names if any("pytorch.org" in source for source in get_spec(name).sources)]
    found = [f"torchvision/{name}" for name in published]
    for name in timm.list_models():
        try:
            spec_of(settings(name, 224))
        except InputError:
            continue
        found.append(f"timm/{name}")
    return found


def settings(architecture: str, size: int) -> dict[str, Any]:
    """The `config.json` that timm would write, for images of another size and a classifier of 1,000 classes."""
    given = timm.get_pretrained_cfg(architecture).to_dict() | {"input_size": (3, size, size)}
    return {"architecture": architecture, "num_classes": 1000, "pretrained_cfg": given}


def specification(name: str, size: int) -> ModelSpec:
    """Ours, for images of the nearest size below that patches divide, normalised as most networks expect."""
    library, _, architecture = name.partition("/")
    patch = int(match[1]) if (match := re.search(r"patch(\d+)", name)) else 1
    size = size // patch * patch
    spec = spec_of(settings(architecture, size)) if library == "timm" else get_spec(architecture)
    return replace(spec, input_size=size, mean=ModelSpec.mean, std=ModelSpec.std)


def original(name: str, spec: ModelSpec) -> torch.nn.Module:
    """The original, alive, in float64 and in inference mode."""
    library, _, architecture = name.partition("/")
    if library == "timm":
        options = {"img_size": spec.input_size, "dynamic_img_size": True} if spec.family == "vit" else {}
        network = timm.create_model(architecture, num_classes=1000, **options)
    else:
        network = torchvision.models.get_model(architecture, weights=None)
    state = draw_state({key: tuple(value.shape) for key, value in network.state_dict().items()})
    network.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    network.eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            layer.train().momentum = 1.0
    with torch.no_grad():
        network(torch_images(draw_images(*divided(spec, (128, 128)), batch=4, seed=1), torch.float32))
    return network.eval().double()


def torch_images(images: np.ndarray, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """(b, h, w, 3) in [0, 1] -> (b, 3, h, w), normalised as most of these networks expect."""
    x = torch.from_numpy(images).to(dtype)
    return ((x - torch.tensor(ModelSpec.mean)) / torch.tensor(ModelSpec.std)).permute(0, 3, 1, 2).to(dtype)


def divided(spec: ModelSpec, shape: tuple[int, int]) -> tuple[int, int]:
    """The nearest shape below that patches divide."""
    patch = getattr(spec.config, "patch", 1)
    return (shape[0] // patch * patch, shape[1] // patch * patch)


def embed(spec: ModelSpec, network: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """(b, d): what a linear probe is put on."""
    if not hasattr(network, "forward_head"):
        return reference.embed(network, x)
    features = network.forward_features(x)
    if getattr(spec.config, "embed", "") == "both":
        return torch.cat([features[:, 0], features[:, spec.config.prefix :].mean(1)], dim=1)
    if spec.family == "convnext":  # in front of a hidden layer
        return network.head.norm(network.head.global_pool(features)).flatten(1)
    return network.forward_head(features, pre_logits=True) if spec.family == "vit" else features.mean((2, 3))


def compare(name: str, size: int) -> dict[str, float]:
    """The errors by column."""
    spec = specification(name, size)
    network = original(name, spec)
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    state = {key: value.astype(np.float32) if value.dtype.kind == "f" else value for key, value in state.items()}
    net = make_network(spec, convert(state, spec, abstract_variables(spec))).replace(plain=True)
    found = {"millions": sum(leaf.size for leaf in jax.tree.leaves(net.variables["params"])) / 1e6}
    for column, shape in (("native", (spec.input_size,) * 2), ("odd", divided(spec, ODD))):
        images = draw_images(*shape)
        with torch.no_grad():
            expected = network(torch_images(images)).numpy()
        found[column] = relative_error(net.apply(net.variables, images), expected)
        found[f"logit_{column}"] = float(np.abs(expected).max())
        found[f"differ_{column}"] = float(np.abs(expected[0] - expected[1]).max() / np.abs(expected).max())
    with torch.no_grad():
        expected = embed(spec, network, torch_images(images)).numpy()
    found["embed"] = relative_error(net.embed(net.variables, images), expected)
    return found | gradients(net, network)


def gradients(net, network: torch.nn.Module) -> dict[str, float]:
    """The error of the image gradient by root mean square, and how alive the original's parameters are."""
    images, projection = draw_images(*divided(net.spec, GRADIENT_SIZE), batch=1), draw_projection(1000)
    x = torch.from_numpy(images).double().requires_grad_()
    normalised = ((x - torch.tensor(ModelSpec.mean)) / torch.tensor(ModelSpec.std)).permute(0, 3, 1, 2)
    logits = network(normalised)
    weights = list(network.parameters())
    expected, *by_weight = torch.autograd.grad((logits * torch.from_numpy(projection)).sum(), [x, *weights])
    alive = min((gradient * weight).norm() for gradient, weight in zip(by_weight, weights, strict=True)) / logits.norm()
    gradient = jax.grad(lambda x: (net.apply(net.variables, x) * projection).sum())(images)
    off = np.asarray(gradient, np.float64) - expected.numpy()
    return {"gradient": float(np.sqrt((off**2).mean() / (expected.numpy() ** 2).mean())), "alive": float(alive)}


def relative_error(value: jax.Array, expected: np.ndarray) -> float:
    """max |value - expected| / max |expected|."""
    if value.shape != expected.shape:
        raise ValueError(f"shape {value.shape}, expected {expected.shape}")
    return float(np.abs(np.asarray(value, np.float64) - expected).max() / np.abs(expected).max())


COLUMNS = ("millions", "native", "odd", "embed", "gradient", "alive", "differ_odd", "logit_odd")


def main() -> None:
    """Print a line for each architecture."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--results", type=Path, default=Path("on_the_spot.txt"))
    options = parser.parse_args()
    done = {line.split()[0] for line in options.results.read_text().splitlines()} if options.results.exists() else set()
    print(f"{'network':40}" + "".join(f"{column:>11}" for column in COLUMNS))
    for name in architectures():
        if name in done or not re.search(options.only, name):
            continue
        with jax.default_matmul_precision("highest"):
            found = compare(name, options.size)
        line = f"{name:40}" + "".join(f"{found[column]:11.3g}" for column in COLUMNS)
        print(line, flush=True)
        with options.results.open("a") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    main()
