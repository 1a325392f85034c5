"""Transfer learning: features, linear probe, fine-tuning, metrics. Each name is imported when it is first used."""

import importlib
from typing import Any

_WHERE = {
    "Features": "features",
    "extract": "features",
    "Probe": "probe",
    "fit_probe": "probe",
    "predict_probs": "probe",
    "predict": "prediction",
    "make_train_step": "train_step",
    "TrainConfig": "config",
    "train": "training",
    "evaluate": "run",
    "load_run": "run",
    "export_network": "export",
}

__all__ = [*_WHERE]


def __getattr__(name: str) -> Any:
    """Imports a public name on first use (PEP 562)."""
    if name in _WHERE:
        return getattr(importlib.import_module(f"tljax.transfer.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'tljax.transfer' has no attribute '{name}'")
