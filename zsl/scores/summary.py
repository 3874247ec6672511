"""The scores of a model: T1, U, S, H and AUSUC, computed from its answers for each test image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zsl.scores.curves import TIE, Curve, best_gamma, seen_unseen_curve
from zsl.scores.details import Details
from zsl.scores.per_class import per_class_share, per_class_top1

SCORES = ("acc_zsl", "acc_unseen", "acc_seen", "harmonic", "ausuc")  # the columns of a results table, in their order


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The scores of one model: fractions in [0, 1], except γ.

    Every accuracy is a mean over classes, not over images (eq. 11).  A score that an older file does not hold is NaN.
    """

    acc_zsl: float  # T1: images of test_unseen, unseen classes only
    acc_unseen: float  # U: images of test_unseen, all classes
    acc_seen: float  # S: images of test_seen, all classes
    harmonic: float  # H
    ausuc: float = math.nan  # area under the seen-unseen curve of calibrated stacking
    pulled_to_seen: float = math.nan  # share of test_unseen images with a seen class as prediction, mean over classes
    harmonic_uncalibrated: float = math.nan  # H at γ = 0
    harmonic_oracle: float = math.nan  # a bound, not a result: H at the γ that is best on the test rows
    oracle_gamma: float = math.nan  # that γ, in units of the GZSL scores


def harmonic_mean(seen: float, unseen: float) -> float:
    """Return H = 2 S U / (S + U), or 0 if both are 0."""
    return 2 * seen * unseen / (seen + unseen) if seen + unseen > 0 else 0.0


def scores_of(details: Details) -> Scores:
    """Compute the Scores of a model's answers."""

    def accuracy(predicted: Tensor, labels: Tensor) -> float:
        return per_class_top1(predicted, labels, labels.unique()).mean().item()

    acc_unseen = accuracy(details.unseen_predicted, details.unseen_labels)
    acc_seen = accuracy(details.seen_predicted, details.seen_labels)
    pulled, labels = ~torch.isin(details.unseen_predicted, details.zsl_classes), details.unseen_labels
    curve = curve_of(details)
    oracle_gamma, harmonic_oracle = best_gamma(curve)
    harmonic = harmonic_mean(acc_seen, acc_unseen)
    if harmonic_oracle < harmonic < harmonic_oracle + TIE:  # one number, summed in two orders
        harmonic_oracle = harmonic
    return Scores(
        acc_zsl=accuracy(details.unseen_zsl_predicted, details.unseen_labels),
        acc_unseen=acc_unseen,
        acc_seen=acc_seen,
        harmonic=harmonic,
        ausuc=curve.ausuc,
        pulled_to_seen=per_class_share(pulled, labels, labels.unique()).mean().item(),
        harmonic_uncalibrated=curve.harmonic_at(-details.gamma.item()) if details.gamma.isfinite() else math.nan,
        harmonic_oracle=harmonic_oracle,
        oracle_gamma=oracle_gamma,
    )


def curve_of(details: Details) -> Curve:
    """Compute the seen-unseen curve of the GZSL scores."""
    return seen_unseen_curve(
        details.seen_scores,
        details.seen_labels,
        details.unseen_scores,
        details.unseen_labels,
        details.gzsl_classes,
        ~torch.isin(details.gzsl_classes, details.zsl_classes),
    )
