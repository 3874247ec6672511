"""What a model is worth on several validation folds, at one γ for all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from zsl.scores.curves import choose_gamma
from zsl.scores.details import Details
from zsl.scores.summary import curve_of, scores_of


@dataclass(frozen=True, kw_only=True)
class FoldScores:
    """Means over folds, as fractions in [0, 1].  A score that an older file does not hold is NaN."""

    gamma: float  # the one γ for all folds with the highest mean H, in units of the GZSL scores
    harmonic: float  # H at that γ
    acc_seen: float = math.nan  # S at γ = 0
    acc_zsl: float  # T1
    ausuc: float = math.nan  # area under the seen-unseen curve


def score_folds(details: Sequence[Details]) -> FoldScores:
    """Choose γ on all folds together, and take the mean of each score.

    details: one model's answers a fold; a fold may occur once for each seed.

    Raises:
        ValueError: there is no fold.
    """
    if not details:
        raise ValueError("no fold to score: give at least one")
    curves = [curve_of(of_fold) for of_fold in details]
    scores = [scores_of(of_fold) for of_fold in details]
    gamma = choose_gamma(curves)
    return FoldScores(
        gamma=gamma,
        harmonic=_mean([curve.harmonic_at(gamma) for curve in curves]),
        acc_seen=_mean([of_fold.acc_seen for of_fold in scores]),
        acc_zsl=_mean([of_fold.acc_zsl for of_fold in scores]),
        ausuc=_mean([of_fold.ausuc for of_fold in scores]),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
