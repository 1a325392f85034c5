"""What a PyTorch user would write for one run, as lean as it goes; `processes` starts it as a file, without tljax.

python experiments/benchmark/lean.py classify|attack|tune MODEL WEIGHTS.safetensors PHOTO_or_FOLDER
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from reference import REFERENCES, load, parameters  # pyright: ignore[reportMissingImports]: it lies beside this file
from safetensors.numpy import load_file
from torch.nn import functional

SIZE, EPS, STEPS = 224, 4 / 255, 40
BATCH, EPOCHS, RATE, MOMENTUM = 32, 3, 0.01, 0.9


def network(model: str, weights: str) -> torch.nn.Module:
    """In inference mode, channels last."""
    net = load(model, load_file(weights), torch.float32)
    return net.to(memory_format=torch.channels_last).requires_grad_(False)


def picture(path: Path, side: int = SIZE) -> torch.Tensor:
    """(1, 3, side, side) in [0, 1], cut from the middle."""
    photo = Image.open(path).convert("RGB")
    scale = 256 / 224 * side / min(photo.size)
    photo = photo.resize((round(scale * photo.width), round(scale * photo.height)), Image.Resampling.BICUBIC)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    pixels = np.array(photo.crop((left, top, left + side, top + side)))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def scorer(model: str, weights: str):
    """Images (b, 3, h, w) in [0, 1] to logits, and the network."""
    net, preprocessing = network(model, weights), REFERENCES[model]
    mean, std = (torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
    return lambda images: net(((images - mean) / std).contiguous(memory_format=torch.channels_last)), net


@torch.inference_mode()
def classify(model: str, weights: str, photo: str) -> None:
    """The five likeliest classes."""
    scores, _ = scorer(model, weights)
    probs, classes = functional.softmax(scores(picture(Path(photo))), 1)[0].topk(5)
    print(classes.tolist(), probs.tolist())


def attack(model: str, weights: str, photo: str) -> None:
    """PGD, 40 steps, away from the class that the network sees."""
    scores, _ = scorer(model, weights)
    image = picture(Path(photo))
    label = scores(image).argmax(1)
    x = (image + EPS * (2 * torch.rand(image.shape) - 1)).clamp(0, 1)
    for _ in range(STEPS):
        x.requires_grad_()
        slope = torch.autograd.grad(functional.cross_entropy(scores(x), label), x)[0]
        x = x.detach() + 2.5 * EPS / STEPS * slope.sign()
        x = torch.clamp(torch.clamp(x, image - EPS, image + EPS), 0, 1)
    changed = (255 * x).round()
    Image.fromarray(changed[0].permute(1, 2, 0).to(torch.uint8).numpy()).save("adversarial.png")
    with torch.inference_mode():
        print(label.item(), scores(changed / 255).argmax(1).item())


def tune(model: str, weights: str, folder: str) -> None:
    """A new head and the later half of the network, three epochs; four of five photos train, the others measure."""
    torch.manual_seed(0)
    scores, net = scorer(model, weights)
    head = net.classifier[-1] = torch.nn.Linear(net.classifier[-1].in_features, len(list(Path(folder).iterdir())))
    later = list(parameters(net.features[len(net.features) // 2 :]).values())
    optimiser = torch.optim.SGD([*later, *head.parameters()], RATE, MOMENTUM)
    files = sorted(Path(folder).glob("*/*"))
    classes = sorted({file.parent.name for file in files})
    labels = torch.tensor([classes.index(file.parent.name) for file in files])
    images = torch.cat([picture(file) for file in files])
    order = torch.randperm(len(files))
    train, val = order[len(files) // 5 :], order[: len(files) // 5]
    for _ in range(EPOCHS):
        for rows in train[torch.randperm(len(train))].split(BATCH):
            seen = images[rows].flip(3) if torch.rand(()) < 0.5 else images[rows]
            optimiser.zero_grad()
            functional.cross_entropy(scores(seen), labels[rows]).backward()
            optimiser.step()
        with torch.inference_mode():
            print((scores(images[val]).argmax(1) == labels[val]).float().mean().item())
    torch.save(net.state_dict(), "tuned.pt")


if __name__ == "__main__":
    {"classify": classify, "attack": attack, "tune": tune}[sys.argv[1]](*sys.argv[2:])
