"""The scores of a model: T1, U, S, H and AUSUC from what it said about each test image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zsl.scores.curves import TIE, Curve, best_gamma, seen_unseen_curve
from zsl.scores.details import Details
from zsl.scores.per_class import per_class_share, per_class_top1

SCORES = ("acc_zsl", "acc_unseen", "acc_seen", "harmonic", "ausuc")  # what a results table shows, in this order


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Fractions in [0, 1], γ apart; every accuracy is a mean over classes, not over images (eq. 11).

    What is not known, as in a file of a version that did not compute it, is NaN.
    """

    acc_zsl: float  # T1: unseen images, unseen labels only
    acc_unseen: float  # U: unseen images, all labels
    acc_seen: float  # S: test_seen images, all labels
    harmonic: float  # H
    ausuc: float = math.nan  # area under the seen-unseen curve of calibrated stacking
    pulled_to_seen: float = math.nan  # share of unseen images that are given a seen label, mean over classes
    harmonic_uncalibrated: float = math.nan  # H at γ = 0
    harmonic_oracle: float = math.nan  # no result but a bound: H at the γ that is best on the test rows themselves
    oracle_gamma: float = math.nan  # that γ, in units of the GZSL scores


def harmonic_mean(seen: float, unseen: float) -> float:
    """H = 2 S U / (S + U), 0 if both are 0."""
    return 2 * seen * unseen / (seen + unseen) if seen + unseen > 0 else 0.0


def scores_of(details: Details) -> Scores:
    """The Scores that `details` amount to."""

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
    """The seen-unseen curve of the GZSL scores."""
    return seen_unseen_curve(
        details.seen_scores,
        details.seen_labels,
        details.unseen_scores,
        details.unseen_labels,
        details.gzsl_classes,
        ~torch.isin(details.gzsl_classes, details.zsl_classes),
    )
