"""Looking inside in PyTorch: the recipe of `tljax.synth.ideal`, and plain projected gradient descent."""

import json
import math
import subprocess
import sys
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from experiments.benchmark.draw import draw_images
from experiments.benchmark.rows import Row
from experiments.benchmark.worker import Work

EPS = 4 / 255
RECIPE = """
import dataclasses, json
from tljax.synth import Recipe, fourier
print(json.dumps(dataclasses.asdict(Recipe()) | {"colours": fourier.COLOURS.tolist()}))
"""


def recipe() -> dict[str, Any]:
    """The default recipe, printed by a process that may import JAX."""
    printed = subprocess.run([sys.executable, "-c", RECIPE], check=True, capture_output=True, text=True).stdout
    return json.loads(printed)


def ideal(scorer: nn.Module, row: Row) -> Work:
    """Ideal images of the first classes, all in one batch, by the same recipe."""
    settings = recipe()
    classes = torch.arange(row.count)
    moments = Moments(scorer)

    def value(spectrum: torch.Tensor, size: int) -> torch.Tensor:
        images = fourier_images(spectrum, size, settings["colours"])
        variation = sum(images.diff(dim=axis).abs().sum() for axis in (2, 3))
        moments.clear()
        scores = scorer(transformed(images, settings["transforms"]).permute(0, 2, 3, 1))
        worth = settings["score"] * scores[torch.arange(row.count), classes].sum()
        worth = worth - settings["batch_norm_matching"] * row.count * moments.batch_norm_matching()
        return worth - settings["total_variation"] * variation / images[0].numel()

    def run() -> torch.Tensor:
        torch.manual_seed(0)
        spectrum = 0.01 * torch.randn(row.count, row.size, row.size // 2 + 1, 3, 2)
        spectrum.requires_grad_()
        optimiser = torch.optim.Adam([spectrum], lr=settings["learning_rate"])
        falling = max(1, round(0.3 * row.steps))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda i: min(1.0, (row.steps - i) / falling))
        done, share = 0, 0.0
        for part, scale in settings["stages"]:
            share += part
            for _ in range(done, round(row.steps * share)):
                spectrum.grad = torch.autograd.grad(-value(spectrum, 2 * round(row.size * scale / 2)), spectrum)[0]
                optimiser.step()
                schedule.step()
            done = max(done, round(row.steps * share))
        return fourier_images(spectrum.detach(), row.size, settings["colours"]).permute(0, 2, 3, 1)

    def outcome(images: torch.Tensor) -> dict[str, float]:
        with torch.no_grad():
            probs = scorer(images).softmax(-1)
        return {"mean probability": probs[torch.arange(row.count), classes].mean().item()}

    return Work(run, outcome=outcome)


def fourier_images(spectrum: torch.Tensor, size: int, colours: list[list[float]]) -> torch.Tensor:
    """(n, 3, size, size) in [0, 1] from (n, full, full // 2 + 1, 3, 2); see `tljax.synth.fourier`."""
    rows, half = np.fft.fftfreq(size, 1 / size).astype(int), size // 2 + 1
    if size < spectrum.shape[1]:
        spectrum = spectrum[:, torch.from_numpy(rows)][:, :, :half]
    frequency = torch.from_numpy(np.hypot(rows[:, None], np.arange(half)[None, :])).float().clamp(min=1)
    waves = torch.view_as_complex((spectrum / frequency[..., None, None]).contiguous())
    plain = torch.fft.irfft2(waves, (size, size), dim=(1, 2)) * (size * size / 4)
    return torch.sigmoid(plain @ torch.tensor(colours).T).permute(0, 3, 1, 2)


def transformed(images: torch.Tensor, how: dict[str, Any]) -> torch.Tensor:
    """Each image moved, zoomed, turned, mirrored, tinted and given noise on its own; see `tljax.synth.transforms`."""
    n = len(images)

    def uniform(*shape: int) -> torch.Tensor:
        return 2 * torch.rand(shape) - 1

    low, high = map(math.log, how["zoom"])
    zoom = torch.exp(low + (high - low) * torch.rand(n))
    angle = math.radians(how["rotate"]) * uniform(n)
    side = torch.where(torch.rand(n) < 0.5, 1.0, -1.0) if how["flip"] else torch.ones(n)
    shift = 2 * how["shift"] * uniform(n, 2, 1)
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([cos * side, -sin * side, sin, cos], -1).reshape(n, 2, 2) / zoom[:, None, None]
    grid = functional.affine_grid(torch.cat([turn, shift], -1), list(images.shape), align_corners=True)
    moved = functional.grid_sample(images - 0.5, grid, align_corners=True)
    gain, offset = how["tint"] * uniform(2, n, 3, 1, 1)
    moved = moved * (1 + gain) + offset / 2
    spread = how["noise"] * math.sqrt(3) * torch.rand(n, 1, 1, 1)
    return moved + spread * uniform(*moved.shape[1:]) + 0.5


class Moments:
    """How unusual the inputs of batch norms are where the network narrows; see `tljax.synth.batch_norm_distance`."""

    def __init__(self, network: nn.Module):
        self.clear()
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        widths = [math.inf, *[norm.num_features for norm in norms], math.inf]
        for norm, (before, own, after) in zip(norms, zip(widths, widths[1:], widths[2:], strict=False), strict=True):
            if own <= min(before, after):
                norm.register_forward_pre_hook(self._meet)

    def clear(self) -> None:
        """Forgets what was met."""
        self.terms: list[torch.Tensor] = []

    def batch_norm_matching(self) -> torch.Tensor:
        """The mean over layers."""
        return torch.stack(self.terms).mean() if self.terms else torch.zeros(())

    def _meet(self, norm: nn.BatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
        x, variance = inputs[0] - norm.running_mean[:, None, None], norm.running_var + norm.eps
        mean, square = x.mean((0, 2, 3)) / variance.sqrt(), (x * x).mean((0, 2, 3)) / variance
        deviation = (square - mean**2).clamp(min=1e-8).sqrt()
        scale = norm.weight.abs()
        self.terms.append(((scale / (scale + 0.1)) ** 2 * (mean**2 + (deviation - 1) ** 2)).mean())


def pgd(scorer: nn.Module, row: Row) -> Work:
    """Flees the network's own first guess, within 4/255, from a random start; the last image is returned."""
    images = torch.from_numpy(draw_images(row.size, row.size, row.count))
    with torch.inference_mode():
        labels = scorer(images).argmax(-1)
    labels = labels.clone()

    def run() -> torch.Tensor:
        torch.manual_seed(0)
        x = (images + EPS * (2 * torch.rand(images.shape) - 1)).clamp(0, 1)
        for _ in range(row.steps):
            x.requires_grad_()
            slope = torch.autograd.grad(functional.cross_entropy(scorer(x), labels, reduction="sum"), x)[0]
            x = x.detach() + 2.5 * EPS / row.steps * slope.sign()
            x = torch.clamp(torch.clamp(x, images - EPS, images + EPS), 0, 1)
        return x

    def outcome(attacked: torch.Tensor) -> dict[str, float]:
        with torch.inference_mode():
            return {"fooled": (scorer(attacked).argmax(-1) != labels).float().mean().item()}

    return Work(run, outcome=outcome)
