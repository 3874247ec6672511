"""The scores of a method on several validation folds, with one γ for all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from zsl.scores.curves import choose_gamma
from zsl.scores.details import Details
from zsl.scores.summary import curve_of, scores_of


@dataclass(frozen=True, kw_only=True)
class FoldScores:
    """Mean scores over folds, as fractions in [0, 1].  A score that an older file does not hold is NaN."""

    gamma: float  # the γ with the highest mean H over the folds, in units of the GZSL scores
    harmonic: float  # H at that γ
    acc_seen: float = math.nan  # S at γ = 0
    acc_zsl: float  # T1
    ausuc: float = math.nan  # area under the seen-unseen curve


def score_folds(details: Sequence[Details]) -> FoldScores:
    """Choose one γ for all folds, and compute the mean of each score.

    details: the answers of each fold's model; a fold can occur once for each seed.

    Raises:
        ValueError: `details` is empty.
    """
    if not details:
        raise ValueError("no fold to score: give at least one")
    curves = [curve_of(answers) for answers in details]
    scores = [scores_of(answers) for answers in details]
    gamma = choose_gamma(curves)
    return FoldScores(
        gamma=gamma,
        harmonic=_mean([curve.harmonic_at(gamma) for curve in curves]),
        acc_seen=_mean([score.acc_seen for score in scores]),
        acc_zsl=_mean([score.acc_zsl for score in scores]),
        ausuc=_mean([score.ausuc for score in scores]),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
