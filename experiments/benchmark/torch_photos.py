"""PyTorch on photos from disk: a DataLoader with two workers, torchvision's transforms on Pillow's pictures."""

from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from experiments.benchmark import reference
from experiments.benchmark.rows import Row
from experiments.benchmark.worker import Context, Work
from tljax.models.spec import get_spec

BATCH, WORKERS = 32, 2
EPOCHS, RATE = 5, 1e-3


class Photos(Dataset):
    """Photos of a folder with a folder for each class; None for one that cannot be read."""

    def __init__(self, folder: str, files: list[str], size: int):
        self.paths = [Path(folder) / file for file in files]
        self.classes = sorted({path.parent.name for path in self.paths})
        resize = transforms.Resize(int(size / 0.875), transforms.InterpolationMode.BICUBIC)
        self.prepare = transforms.Compose([resize, transforms.CenterCrop(size), transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int):
        try:
            picture = Image.open(self.paths[index]).convert("RGB")
        except OSError:
            return None
        return self.prepare(picture).permute(1, 2, 0), self.classes.index(self.paths[index].parent.name)


def load(photos: Photos, *, shuffle: bool = False) -> DataLoader:
    """Batches of those photos that can be read."""

    def collate(rows):
        return torch.utils.data.default_collate([row for row in rows if row is not None])

    seed = torch.Generator().manual_seed(0)
    return DataLoader(photos, BATCH, shuffle, num_workers=WORKERS, collate_fn=collate, generator=seed)


def features(scorer: nn.Module, row: Row, context: Context) -> Work:
    """Features of photos on disk."""
    folder = context.photos[str(row.count)]
    files = context.files(folder)

    def run(some: list[str] = files) -> torch.Tensor:
        with torch.inference_mode():
            return torch.cat([embed(scorer, x) for x, _ in load(Photos(folder, some, row.size))])

    return Work(run, lambda: {"features": run(files[:8]).mean(0).tolist()})


def train(scorer: nn.Module, row: Row, context: Context) -> Work:
    """The lesson's way: a frozen network run through in every epoch, Adam on a new head; then the accuracy."""
    folder = context.photos[str(row.count)]
    shares = context.splits[folder]

    def run() -> float:
        torch.manual_seed(0)
        train, val = (load(Photos(folder, shares[s], row.size), shuffle=s == "train") for s in ("train", "val"))
        head = nn.Linear(get_spec(row.model).feature_dim, len(train.dataset.classes))
        optimiser = torch.optim.Adam(head.parameters(), lr=RATE)
        for _ in range(EPOCHS):
            for images, labels in train:
                with torch.no_grad():
                    x = embed(scorer, images)
                optimiser.zero_grad()
                functional.cross_entropy(head(x), labels).backward()
                optimiser.step()
        with torch.inference_mode():
            right = [(head(embed(scorer, x)).argmax(1) == labels).float() for x, labels in val]
        return torch.cat(right).mean().item()

    return Work(run, outcome=lambda accuracy: {"accuracy": accuracy})


def embed(scorer: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """(b, d): the last convolutional map, averaged over space."""
    return reference.embed(scorer.network, scorer.normalised(images))
