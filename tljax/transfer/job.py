"""What the parts of a run share, and what fitting comes to."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from tljax.data.source import Source
from tljax.models.network import Network
from tljax.progress import Track
from tljax.transfer.config import TrainConfig
from tljax.transfer.config_file import Recorded
from tljax.transfer.preemption import Stop
from tljax.transfer.probe import Probe
from tljax.transfer.run_folder import RUN

Shares = Mapping[str, Int[np.ndarray, " n"]]


@dataclass(frozen=True)
class Job:
    """What the parts of a run share.

    Attributes:
        data: how config.json names the photos of `source`.
        before: of the run that is repeated, if there is one, what must be as it was.
        folder: the RUN to be; of several processes each but the first has one that is dropped.
        partial: OUT.partial, the same for all processes.
        stop: is set by SIGTERM and Ctrl-C.
        began: the moment, by the monotonic clock.
    """

    config: TrainConfig
    source: Source
    data: str
    before: Recorded | None
    folder: Path
    partial: Path
    stop: Stop
    track: Track
    began: float

    @property
    def checkpoint(self) -> Path:
        """Where all processes save it."""
        return self.partial / RUN / "checkpoint"

    def seconds(self) -> float:
        """How long the run has taken until now."""
        return round(time.monotonic() - self.began, 3)


@dataclass(frozen=True)
class Fitted:
    """The classifier, what it says of the validation photos at `index`, and the history of fine-tuning.

    Where all photos train, these are the training photos, and what the probe says of each fold held out.

    Attributes:
        probe_accuracy: of the probe, on these photos.
        curve: the probe's `LearningCurve`, where there is one.
        unknown: from `fit_unknown`. sets: from `calibrate_sets`, empty where no photo is new to the network.
    """

    net: Network
    probe: Probe
    probe_accuracy: float
    curve: Mapping[str, Any] | None
    probs: np.ndarray
    index: np.ndarray
    lines: Sequence[Mapping[str, Any]] = ()
    unknown: Mapping[str, np.ndarray] = field(default_factory=dict)
    sets: Mapping[str, np.ndarray] = field(default_factory=dict)
