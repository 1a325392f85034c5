"""The options of the experiment, and the words for what becomes of an input."""

from dataclasses import dataclass

from experiments.fuzz.mutations import IMAGES, WEIGHTS

SHARES = {**dict.fromkeys(WEIGHTS, 0.1), **dict.fromkeys(IMAGES, 0.05), "AVIF": 0.01, "run": 0.05, "onnx": 0.02}
FAILURES = ("crash", "hang", "memory", "executed", "unclear")


@dataclass(frozen=True)
class Config:
    """Options of the experiment."""

    out: str = "out/fuzz"
    """The folder for report.html, results.json and the inputs that failed."""
    inputs: int = 20_000
    """How many, over all kinds."""
    kinds: tuple[str, ...] = tuple(SHARES)
    """Which kinds."""
    seed: int = 0
    """Of the mutations."""
    seconds: float = 5.0
    """A hang is whatever takes longer: CPU time, or six times as long by the clock if it waits for something then."""
    batch: int = 500
    """Inputs in one process, unless it dies before."""
    small: bool = False
    """300 inputs, without RUN folders and ONNX files: shows that it runs."""
