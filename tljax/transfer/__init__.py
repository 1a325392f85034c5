"""Transfer learning: features, linear probe, fine-tuning, whole runs. Each name is imported when it is first used."""

from tljax.lazy import lazy

_WHERE = {
    "Features": "features",
    "FinetuneConfig": "config",
    "Hooks": "hooks",
    "NotFinite": "history",
    "Prediction": "prediction",
    "Probe": "probe",
    "TrainConfig": "config",
    "TrainState": "train_step",
    "augmentation": "augment",
    "chosen_network": "run",
    "evaluate": "evaluation",
    "export_network": "export",
    "export_onnx": "export_onnx",
    "extract": "features",
    "finetune": "finetuning",
    "finetune_rules": "freeze",
    "fit_probe": "probe",
    "init_state": "train_step",
    "label_variables": "freeze",
    "load_classifier": "run",
    "load_network": "run",
    "load_run": "run",
    "make_optimizer": "train_step",
    "make_schedule": "train_step",
    "make_train_step": "train_step",
    "predict_probs": "probe",
    "state_variables": "train_step",
    "train": "training",
    "trainable_labels": "freeze",
    "with_probe": "head",
}

__all__ = [*_WHERE]
__getattr__ = lazy(__name__, _WHERE)
