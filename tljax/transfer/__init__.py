"""Transfer learning: features, linear probe, fine-tuning, whole runs. Each name is imported when it is first used."""

from typing import TYPE_CHECKING

from tljax.lazy import lazy

if TYPE_CHECKING:
    from tljax.transfer.augment import augmentation
    from tljax.transfer.comparison import compare
    from tljax.transfer.config import FinetuneConfig, TrainConfig
    from tljax.transfer.evaluation import evaluate
    from tljax.transfer.export import export_network
    from tljax.transfer.features import Features, extract
    from tljax.transfer.finetuning import finetune
    from tljax.transfer.freeze import finetune_rules, label_variables, trainable_labels
    from tljax.transfer.head import with_probe, with_unknown
    from tljax.transfer.history import NotFinite
    from tljax.transfer.hooks import Hooks
    from tljax.transfer.layer_choice import with_best_layer
    from tljax.transfer.naming import Prediction
    from tljax.transfer.onnx_export import export_onnx
    from tljax.transfer.probe import Probe, fit_probe, predict_probs
    from tljax.transfer.run import chosen_network, load_classifier, load_network, load_run
    from tljax.transfer.train_step import (
        TrainState,
        init_state,
        make_optimizer,
        make_schedule,
        make_train_step,
        state_variables,
    )
    from tljax.transfer.training import train
    from tljax.transfer.trust.check import Checked, Issue, check
    from tljax.transfer.trust.copies import Copies, find_duplicates
    from tljax.transfer.trust.label_errors import LabelErrors, find_label_errors
    from tljax.transfer.trust.learning_curve import LearningCurve, learning_curve
    from tljax.transfer.trust.outliers import Outliers, find_outliers
    from tljax.transfer.trust.poor_photos import Poor, find_poor_photos
    from tljax.transfer.trust.sets import calibrate_sets, prediction_sets
    from tljax.transfer.trust.unknown import fit_unknown, unknown_score

_WHERE = {
    "Checked": "trust.check",
    "Copies": "trust.copies",
    "Features": "features",
    "FinetuneConfig": "config",
    "Hooks": "hooks",
    "Issue": "trust.check",
    "LabelErrors": "trust.label_errors",
    "LearningCurve": "trust.learning_curve",
    "NotFinite": "history",
    "Outliers": "trust.outliers",
    "Poor": "trust.poor_photos",
    "Prediction": "naming",
    "Probe": "probe",
    "TrainConfig": "config",
    "TrainState": "train_step",
    "augmentation": "augment",
    "check": "trust.check",
    "calibrate_sets": "trust.sets",
    "chosen_network": "run",
    "compare": "comparison",
    "evaluate": "evaluation",
    "export_network": "export",
    "export_onnx": "onnx_export",
    "extract": "features",
    "find_duplicates": "trust.copies",
    "find_label_errors": "trust.label_errors",
    "find_outliers": "trust.outliers",
    "find_poor_photos": "trust.poor_photos",
    "finetune": "finetuning",
    "finetune_rules": "freeze",
    "fit_probe": "probe",
    "fit_unknown": "trust.unknown",
    "init_state": "train_step",
    "label_variables": "freeze",
    "learning_curve": "trust.learning_curve",
    "load_classifier": "run",
    "load_network": "run",
    "load_run": "run",
    "make_optimizer": "train_step",
    "make_schedule": "train_step",
    "make_train_step": "train_step",
    "predict_probs": "probe",
    "prediction_sets": "trust.sets",
    "state_variables": "train_step",
    "train": "training",
    "trainable_labels": "freeze",
    "unknown_score": "trust.unknown",
    "with_best_layer": "layer_choice",
    "with_probe": "head",
    "with_unknown": "head",
}

__all__ = [
    "Checked",
    "Copies",
    "Features",
    "FinetuneConfig",
    "Hooks",
    "Issue",
    "LabelErrors",
    "LearningCurve",
    "NotFinite",
    "Outliers",
    "Poor",
    "Prediction",
    "Probe",
    "TrainConfig",
    "TrainState",
    "augmentation",
    "calibrate_sets",
    "check",
    "chosen_network",
    "compare",
    "evaluate",
    "export_network",
    "export_onnx",
    "extract",
    "find_duplicates",
    "find_label_errors",
    "find_outliers",
    "find_poor_photos",
    "finetune",
    "finetune_rules",
    "fit_probe",
    "fit_unknown",
    "init_state",
    "label_variables",
    "learning_curve",
    "load_classifier",
    "load_network",
    "load_run",
    "make_optimizer",
    "make_schedule",
    "make_train_step",
    "predict_probs",
    "prediction_sets",
    "state_variables",
    "train",
    "trainable_labels",
    "unknown_score",
    "with_best_layer",
    "with_probe",
    "with_unknown",
]
__getattr__ = lazy(__name__, _WHERE)
