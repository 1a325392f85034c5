"""PyTorch: eager with channels last, and with batch norm fused and `torch.compile`. Its own default allocator."""

import copy
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from experiments.benchmark import reference
from experiments.benchmark.draw import draw_images
from experiments.benchmark.rows import COMPILE, Row
from experiments.benchmark.worker import Context, Work
from tljax.weights.read import read_weights

CHECKED = 2
RATE, MOMENTUM = 1e-4, 0.9
DROPOUT = {"efficientnet_lite0": 0.2}


class Scorer(nn.Module):
    """Images (b, h, w, 3) in [0, 1] to what a network gives; `scores`: before SqueezeNet's last activation."""

    def __init__(self, name: str, network: nn.Module, *, scores: bool = False):
        super().__init__()
        self.name, self.network, self.before = name, network, scores
        preprocessing = reference.REFERENCES[name]
        self.register_buffer("mean", torch.tensor(preprocessing.mean))
        self.register_buffer("std", torch.tensor(preprocessing.std))

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """(b, 3, h, w), channels last in memory."""
        return ((images - self.mean) / self.std).permute(0, 3, 1, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(b, 1000)."""
        x = self.normalised(images)
        return reference.scores(self.network, x) if self.before else self.network(x)


def make(peer: str, row: Row, context: Context) -> Work:
    """What this peer does for a row."""
    torch.set_num_threads(context.threads)
    if row.model == "-":
        return {"matmul": matmul, "stream": stream}[row.task](row)
    network = load(row, context)
    if row.task in ("features", "train"):
        from experiments.benchmark import torch_photos

        return getattr(torch_photos, row.task)(Scorer(row.model, network), row, context)
    if row.task in ("ideal", "pgd"):
        from experiments.benchmark import torch_synth

        return getattr(torch_synth, row.task)(Scorer(row.model, network, scores=True), row)
    if peer == COMPILE:
        network = fused(network)
    return {"forward": forward, "gradient": gradient, "step": step}[row.task](network, row, peer == COMPILE)


def load(row: Row, context: Context) -> nn.Module:
    """The reference network in inference mode, channels last, with the weights that all peers have."""
    state = {name: np.array(value) for name, value in read_weights(context.weights[row.model]).items()}  # to write to
    network = reference.load(row.model, state, torch.float32)
    return network.to(memory_format=torch.channels_last).requires_grad_(False)


def fused(module: nn.Module) -> nn.Module:
    """A copy with each batch norm folded into the convolution that stands in front of it."""
    module = copy.deepcopy(module)
    for part in list(module.modules()):
        children = list(part.named_children())
        for (first, convolution), (second, norm) in pairwise(children):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(part, first, fuse_conv_bn_eval(convolution, norm).to(memory_format=torch.channels_last))
                setattr(part, second, nn.Identity())
    return module


# --- the network -------------------------------------------------------------------------------------------


def forward(network: nn.Module, row: Row, compiled: bool) -> Work:
    """Images in [0, 1] to logits, in inference mode; compiled with the weights as constants ("freezing")."""
    scorer = Scorer(row.model, network).eval()
    images = torch.from_numpy(draw_images(row.size, row.size, row.count))
    call = scorer
    if compiled:
        from torch._inductor import config

        config.freezing = True
        call = torch.compile(scorer)

    def run() -> torch.Tensor:
        with torch.inference_mode():
            return call(images)

    return Work(run, lambda: logits(scorer, row))


def gradient(network: nn.Module, row: Row, compiled: bool) -> Work:
    """The gradient of one class's score with respect to the images; the weights need none."""
    scorer = Scorer(row.model, network, scores=True).eval()
    images = torch.from_numpy(draw_images(row.size, row.size, row.count)).requires_grad_()
    call = torch.compile(scorer) if compiled else scorer

    def run() -> torch.Tensor:
        return torch.autograd.grad(call(images)[:, 3].sum(), images)[0]

    return Work(run, lambda: logits(Scorer(row.model, network).eval(), row))


def step(network: nn.Module, row: Row, compiled: bool) -> Work:
    """One step of fine-tuning all parameters by SGD with momentum, batch norm in training mode."""
    if row.model in DROPOUT:
        network._fc = nn.Sequential(nn.Dropout(DROPOUT[row.model]), network._fc)
    check = logits(Scorer(row.model, network).eval(), row)
    scorer = Scorer(row.model, network).train()
    optimiser = torch.optim.SGD(network.requires_grad_().parameters(), lr=RATE, momentum=MOMENTUM)
    images = torch.from_numpy(draw_images(row.size, row.size, row.count))
    labels, losses = torch.arange(row.count), []

    def run() -> float:
        optimiser.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(scorer(images), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        return losses[-1]

    return Work(run, lambda: check | {"loss": losses[:1]})


def logits(scorer: nn.Module, row: Row) -> dict[str, list[float]]:
    """The check of a network; never of the compiled one, which would compile for another shape."""
    with torch.inference_mode():
        return {"logits": scorer(torch.from_numpy(draw_images(row.size, row.size, CHECKED))).reshape(-1).tolist()}


# --- the machine -------------------------------------------------------------------------------------------


def matmul(row: Row) -> Work:
    """A product of two square matrices."""
    a, b = (torch.from_numpy(np.random.default_rng(i).normal(size=(row.count,) * 2).astype("f")) for i in (0, 1))
    return Work(lambda: a @ b, flops=2.0 * row.count**3, bytes=12.0 * row.count**2)


def stream(row: Row) -> Work:
    """The triad of McCalpin's STREAM, a = b + 3 c, on arrays that no cache holds."""
    size = row.count * 10**6
    a, b, c = torch.zeros(size), torch.ones(size), torch.ones(size)
    return Work(lambda: torch.add(b, c, alpha=3, out=a), flops=2.0 * size, bytes=12.0 * size)
