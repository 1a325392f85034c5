"""DenseNet: Huang et al., 2016 (arXiv 1608.06993), with torchvision's weights, whose names timm kept."""

from typing import NamedTuple

from tljax.models import timm
from tljax.models.rules import Rule, batch_norm, conv, dense, layer, normed
from tljax.models.spec import Family, ModelSpec
from tljax.models.torchvision import Weights, published


class DenseNetConfig(NamedTuple):
    """A DenseNet as data: channels of the stem, channels that each layer adds, and layers of each block."""

    stem: int
    growth: int
    repeats: tuple[int, ...]
    eps: float = 1e-5

    @property
    def features(self) -> int:
        """Channels of the last map."""
        channels = self.stem
        for repeats in self.repeats[:-1]:
            channels = (channels + repeats * self.growth) // 2
        return channels + self.repeats[-1] * self.growth


def _rules(spec: ModelSpec) -> dict[str, list[Rule]]:
    """torchvision's names; in its files, older than they are, `norm.1` stands for `norm1`."""
    rules = [*normed(r"features\.conv0", r"features\.norm0", "stem"), *layer("classifier", "head", dense)]
    rules += batch_norm(r"features\.norm5", "last_norm")
    theirs, ours = r"features\.denseblock(\d)\.denselayer(\d+)\.", r"block\1_layer\2/"
    rules += batch_norm(rf"{theirs}norm\.?1", rf"{ours}first_norm")
    rules += normed(rf"{theirs}conv\.?1", rf"{theirs}norm\.?2", f"{ours}conv1")
    rules += [Rule(rf"{theirs}conv\.?2\.weight", f"params/{ours}conv2/kernel", conv)]
    rules += batch_norm(r"features\.transition(\d)\.norm", r"transition\1/first_norm")
    rules += [Rule(r"features\.transition(\d)\.conv\.weight", r"params/transition\1/conv/kernel", conv)]
    return {"torchvision": rules}


def _network(stem: int, growth: int, repeats: tuple[int, ...], params: int, weights: Weights) -> tuple[ModelSpec, ...]:
    config = DenseNetConfig(stem, growth, repeats)
    name = f"densenet{2 * sum(repeats) + 5}"
    return published(ModelSpec(name, "densenet", config, config.features, "last_norm", params), weights)


_PUBLISHED = (
    _network(64, 32, (6, 12, 24, 16), 7_978_856, Weights("densenet121-a639ec97", 74.43)),
    _network(96, 48, (6, 12, 36, 24), 28_681_000, Weights("densenet161-8d451a50", 77.14)),
    _network(64, 32, (6, 12, 32, 32), 14_149_480, Weights("densenet169-b2777c0a", 75.60)),
    _network(64, 32, (6, 12, 48, 32), 20_013_928, Weights("densenet201-c1103571", 76.90)),
)
ARCHITECTURES = {versions[0].name: versions[0] for versions in _PUBLISHED}

FAMILY = Family(
    name="densenet",
    module="tljax.models.modules.densenet:DenseNet",
    blocks=(
        "stem",
        r"block1_layer\d+|transition1",
        r"block2_layer\d+|transition2",
        r"block3_layer\d+|transition3",
        r"block4_layer\d+|last_norm",
    ),
    min_input_size=29,
    rules=_rules,
    timm=timm.table(ARCHITECTURES),
    networks=tuple(versions[0] for versions in _PUBLISHED),
    versions=tuple(spec for versions in _PUBLISHED for spec in versions[1:]),
)
