"""Writes the reference values of the parity tests: `python -m tests.golden.make [NAME...]`, all by default.

Those of Keras' networks come from `make_keras.py`.

Needs the extra `parity` (made with torch 2.14.1, torchvision 0.29.1 and timm 1.0.31). Weights and images are those of
`draw.py`, so only results are stored, in `tests/golden/NAME.npz`:

    names, shapes       of the weight file: (n,) and (n, 4), filled up with zeros
    sizes               (2, 2): height and width, native and odd
    logits_HxW          (2, 1000) at both sizes; scores_HxW too for SqueezeNet
    embed_HxW           (2, d) at the odd size; where there is no classifier, at both, and no logits
    gradient            (1, 49, 57, 3), for `GRADIENTS`: of the projected scores of an image with respect to that image
    gradient_seed       the seed of that image
    torch_error         how far torch's own float32 is from these float64 results: logits (both sizes), gradient
    alive               the least, over all parameters p, of |dL/dp * p| / |scores|, L being the projected scores
    versions

Results are float64 rounded to float32.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torchvision

from experiments.benchmark import reference
from experiments.benchmark.draw import draw_images, draw_projection, draw_state

FOLDER = Path(__file__).parent
ODD = (169, 199)  # gives each of SqueezeNet's pools a partial window
GRADIENTS = ("vgg16", "resnet18", "mobilenet_v2", "efficientnet_lite0", "squeezenet1_1")
GRADIENT_SIZE = (49, 57)
SEEDS = 200


def make(name: str) -> dict[str, np.ndarray]:
    """The contents of one file."""
    shapes = reference.state_shapes(name)
    state = draw_state(shapes)
    original = reference.REFERENCES[name]
    sizes = [(original.size,) * 2, tuple(side // original.patch * original.patch for side in ODD)]
    results = compute(name, state, sizes, torch.float64)
    rounded = compute(name, state, sizes, torch.float32, results.get("gradient_seed"))
    output = "logits" if original.classes else "embed"
    compared = [key for key in results if key.startswith(output) or key == "gradient"]
    return {
        "names": np.array(list(shapes)),
        "shapes": np.array([(*shape, 0, 0, 0, 0)[:4] for shape in shapes.values()], np.int32),
        "sizes": np.array(sizes, np.int32),
        **{key: value.astype(np.float32 if value.ndim else value.dtype) for key, value in results.items()},
        "torch_error": np.array([relative_error(rounded[key], results[key]) for key in compared]),
        "versions": np.array(f"torch {torch.__version__}, torchvision {torchvision.__version__}"),
    }


def compute(
    name: str, state: dict, sizes: list[tuple[int, int]], dtype: torch.dtype, seed: int | None = None
) -> dict[str, np.ndarray]:
    """All results of a network in `dtype`; `seed` is that of the gradient's image, None to find one."""
    network = reference.load(name, state, dtype)
    results = {}
    with torch.no_grad():
        for size in sizes:
            x = reference.prepare(name, torch.from_numpy(draw_images(*size)).to(dtype))
            tag = "{}x{}".format(*size)
            if not reference.REFERENCES[name].classes:
                results[f"embed_{tag}"] = reference.embed(network, x)
                continue
            results[f"logits_{tag}"] = network(x)
            if name.startswith("squeezenet"):
                results[f"scores_{tag}"] = reference.scores(network, x)
        results[f"embed_{tag}"] = reference.embed(network, x)
    if name in GRADIENTS:
        seed = smooth_seed(name, network) if seed is None else int(seed)
        images = torch.from_numpy(draw_images(*GRADIENT_SIZE, batch=1, seed=seed)).to(dtype)
        results |= {"gradient": image_gradient(name, network, images), "gradient_seed": torch.tensor(seed)}
    results["alive"] = torch.tensor(liveness(name, network, dtype))
    return {key: value.numpy() for key, value in results.items()}


def smooth_seed(name: str, network: torch.nn.Module) -> int:
    """The first seed whose image lies well inside a region where the network is linear.

    The gradient of a network of ReLUs and max pools is constant in such a region, and jumps at its border; where a
    border is as near as float32's rounding, no float32 computation can be held to the gradient.
    """
    for seed in range(SEEDS):
        image = torch.from_numpy(draw_images(*GRADIENT_SIZE, batch=1, seed=seed)).double()
        expected = image_gradient(name, network, image).numpy()
        generator = torch.Generator().manual_seed(seed)
        noise = (1e-6 * torch.randn(image.shape, generator=generator, dtype=image.dtype) for _ in range(4))
        if all(relative_error(image_gradient(name, network, image + n).numpy(), expected) < 1e-9 for n in noise):
            return seed
    raise RuntimeError(f"no smooth image for {name} in {SEEDS} seeds")


def image_gradient(name: str, network: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The gradient of the projected scores with respect to images (b, h, w, 3), of the same shape and dtype."""
    images = images.detach().requires_grad_()
    projection = torch.from_numpy(draw_projection(1000)).to(images)
    objective = (reference.scores(network, reference.prepare(name, images)) * projection).sum()
    return torch.autograd.grad(objective, images)[0]


def liveness(name: str, network: torch.nn.Module, dtype: torch.dtype) -> float:
    """How much the least important parameter matters, by the gradient at a small image."""
    x = reference.prepare(name, torch.from_numpy(draw_images(*_least(name))[:1]).to(dtype))
    weights = list(reference.parameters(network).values())
    output = reference.scores(network, x)
    projection = torch.from_numpy(draw_projection(output.shape[1])).to(dtype)
    gradients = torch.autograd.grad((output * projection).sum(), weights)
    least = min((gradient * weight).norm() for gradient, weight in zip(gradients, weights, strict=True))
    return (least / output.norm()).item()


def _least(name: str) -> tuple[int, int]:
    """The size of a small image."""
    side = 96 // reference.REFERENCES[name].patch * reference.REFERENCES[name].patch
    return (side, side)


def relative_error(value: np.ndarray, expected: np.ndarray) -> float:
    """max |value - expected| / max |expected|."""
    return float(np.abs(value - expected).max() / np.abs(expected).max())


def main() -> None:
    """Make the files of the named networks."""
    for name in sys.argv[1:] or reference.REFERENCES:
        contents = make(name)
        np.savez_compressed(FOLDER / f"{name}.npz", **contents)
        size = (FOLDER / f"{name}.npz").stat().st_size
        largest = max(np.abs(contents[key]).max() for key in contents if key.startswith(("logits", "embed")))
        error, alive = contents["torch_error"], float(contents["alive"])
        print(f"{name}: {size} bytes, max |logit| {largest:.3g}, alive {alive:.2g}, torch float32 {error}", flush=True)


if __name__ == "__main__":
    main()
