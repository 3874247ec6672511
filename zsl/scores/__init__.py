"""The scores of a model: accuracies, curves, accuracies of classes, and the only reader of a TestSplit."""

from typing import TYPE_CHECKING

from zsl.common.lazy import lazy_names

if TYPE_CHECKING:
    from zsl.scores.curves import Curve, seen_unseen_curve
    from zsl.scores.details import Details, load_details, save_details
    from zsl.scores.evaluate import evaluate_details
    from zsl.scores.model import Calibrated, ZeroShotModel
    from zsl.scores.per_class import class_accuracies, confusion_matrix, per_class_top1
    from zsl.scores.summary import Scores, curve_of, harmonic_mean, scores_of
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "Calibrated",
    "Curve",
    "Details",
    "Scores",
    "ZeroShotModel",
    "class_accuracies",
    "confusion_matrix",
    "curve_of",
    "evaluate_details",
    "harmonic_mean",
    "load_details",
    "per_class_top1",
    "save_details",
    "scores_of",
    "seen_unseen_curve",
]
