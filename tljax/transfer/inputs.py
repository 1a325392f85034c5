"""What a run starts from: the photos that its options name, and a pretrained network or a run of one's own."""

import hashlib
from dataclasses import replace
from typing import Any

from tljax.data.source import Source
from tljax.data.sources import open_source
from tljax.errors import refuse
from tljax.models.network import Network
from tljax.transfer.config import TrainConfig
from tljax.transfer.config_file import read_run
from tljax.transfer.feature_cache import variables_digest
from tljax.transfer.head import with_unknown
from tljax.transfer.run import load_backbone, load_run

SOURCE_OPTIONS = ("labels", "label_regex", "file_column", "label_column", "split_column", "fixes", "min_photos")
"""The options that say which photos there are and what their classes are."""


def source_options(config: TrainConfig) -> dict[str, Any]:
    """`SOURCE_OPTIONS` as `open_source` takes them."""
    return {"labels_csv" if name == "labels" else name: getattr(config, name) for name in SOURCE_OPTIONS}


def opened(data: str, config: TrainConfig, *, min_classes: int = 2) -> Source:
    """The photos of a run; see `open_source`."""
    return open_source(data, **source_options(config), min_classes=min_classes)


def started_from(config: TrainConfig) -> TrainConfig:
    """The configuration with what it takes over from the run of `init_from`, where there is one.

    Raises:
        InputError: no RUN; --weights as well; a --model that is not that run's.
    """
    if config.init_from is None:
        return config
    record = read_run(config.init_from)
    model = record["model"]
    wrong = config.model not in (TrainConfig.model, model)
    early = record["layer"] is not None and config.mode == "finetune"
    refuse(
        {
            "--init-from RUN brings the weights: leave --weights out": config.weights is not None,
            f'"{config.init_from}" is a run of {model}, not of {config.model}: leave --model out': wrong,
            f'"{config.init_from}" stands on the layer {record["layer"]}: --mode finetune cannot go on from it': early,
        }
    )
    size, crop_mode = config.image_size or record["image_size"], config.crop_mode or record["crop_mode"]
    return replace(config, model=model, image_size=size, crop_mode=crop_mode)


def load_start(config: TrainConfig) -> tuple[Network, str]:
    """The network whose features are learned from, and the SHA-256 of its weight file, or of a run's variables."""
    if config.init_from is None:
        return load_backbone(config.model, config.weights)
    net = with_unknown(load_run(config.init_from), None).replace(calibration=None)
    return net, variables_digest(net.variables, digest=hashlib.sha256())
