"""Units of γ: each is undone by its inverse, and one that fits how models differ loses nothing on the way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import percentileofscore

from zsl.scores.curves import Curve, best_gamma, seen_margins, seen_unseen_curve
from zsl.scores.units import (
    UNITS,
    Judged,
    Yardstick,
    gamma_in,
    gamma_of_share,
    harmonic_lost,
    logit_gap,
    sent_to_unseen,
    value_in,
)

CLASSES = torch.tensor([4, 9, 2, 7, 5])
IS_SEEN = torch.tensor([True, True, True, False, False])


def model(seed: int, scale: float = 1.0, shift: float = 0.0) -> tuple[Curve, Yardstick]:
    """A drawn model with scores `scale` times as large and seen ones `shift` higher: its curve and yardstick."""
    draw = torch.Generator().manual_seed(seed)
    labels = CLASSES[torch.arange(400) % 5]
    scores = torch.randn(400, 5, generator=draw, dtype=torch.float64) + 2.5 * (labels[:, None] == CLASSES)
    scores = scale * (scores + IS_SEEN * (1 + shift))
    seen = torch.isin(labels, CLASSES[IS_SEEN])
    curve = seen_unseen_curve(scores[seen], labels[seen], scores[~seen], labels[~seen], CLASSES, IS_SEEN)
    gap = logit_gap(scores[seen], labels[seen], CLASSES, IS_SEEN)
    return curve, Yardstick(margins=seen_margins(scores[seen], IS_SEEN), alg=gap)


def test_the_logit_gap_is_the_mean_over_photos_of_wrong_seen_minus_unseen_scores() -> None:
    scores = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([4, 9, 2, 2, 4, 9])
    gaps = []
    for photo, label in zip(scores, labels.tolist(), strict=True):
        wrong = [photo[k].item() for k in range(5) if IS_SEEN[k] and CLASSES[k] != label]
        unseen = [photo[k].item() for k in range(5) if not IS_SEEN[k]]
        gaps.append(np.mean(wrong) - np.mean(unseen))
    assert logit_gap(scores, labels, CLASSES, IS_SEEN) == pytest.approx(np.mean(gaps), rel=1e-6)


def test_margins_say_which_gamma_changes_a_prediction() -> None:
    scores = torch.randn(50, 5, generator=torch.Generator().manual_seed(1))
    for gamma in (-1.0, 0.0, 0.7):
        lowered = scores.double() - gamma * IS_SEEN
        to_unseen = ~IS_SEEN[lowered.argmax(1)]
        assert torch.equal(to_unseen, seen_margins(scores, IS_SEEN) < gamma)


def test_the_share_that_is_sent_to_unseen_classes_is_a_percentile_of_the_margins() -> None:
    margins = torch.randn(40, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    gammas = torch.linspace(-2, 2, 9, dtype=torch.float64)
    shares = sent_to_unseen(gammas, margins)
    for gamma, share in zip(gammas, shares, strict=True):
        counted = percentileofscore(margins.numpy(), gamma.item()) / 100
        assert share.item() == pytest.approx(counted, abs=1 / 39)
    inside = (shares > 0) & (shares < 1)
    assert inside.sum() > 5
    torch.testing.assert_close(gamma_of_share(shares[inside], margins), gammas[inside])


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_undone_by_its_inverse_and_never_falls(name: str) -> None:
    _, yardstick = model(0, scale=3.0)
    gammas = torch.linspace(float(yardstick.margins.min()), float(yardstick.margins.max()), 30, dtype=torch.float64)
    values = UNITS[name].measure(gammas, yardstick)
    assert (values.diff() >= 0).all()
    torch.testing.assert_close(UNITS[name].gamma(values, yardstick), gammas)


@pytest.mark.parametrize("name", UNITS)
def test_one_model_alone_gets_its_own_best_gamma_in_each_unit(name: str) -> None:
    curve, yardstick = model(3)
    value = value_in(UNITS[name], [Judged(fold=1, curve=curve, yardstick=yardstick)])
    reached = curve.harmonic_at(gamma_in(UNITS[name], value, yardstick))
    assert reached == pytest.approx(best_gamma(curve)[1], abs=1e-12)


def judged(*models: tuple[Curve, Yardstick]) -> list[Judged]:
    return [Judged(fold=fold, curve=curve, yardstick=yardstick) for fold, (curve, yardstick) in enumerate(models)]


def test_scores_that_are_a_multiple_travel_in_all_units_but_the_raw_one() -> None:
    folds = judged(model(5), model(5, scale=40.0))
    for name in ("spread", "share", "alg"):
        assert harmonic_lost(UNITS[name], folds) == pytest.approx(0, abs=1e-12)
    assert harmonic_lost(UNITS["raw"], folds) > 0.05


def test_seen_scores_that_are_shifted_travel_as_a_share_alone() -> None:
    folds = judged(model(6), model(6, shift=4.0))
    assert harmonic_lost(UNITS["share"], folds) == pytest.approx(0, abs=1e-12)
    for name in ("raw", "spread"):
        assert harmonic_lost(UNITS[name], folds) > 0.05


def test_a_fold_is_not_among_those_that_choose_its_gamma() -> None:
    curve, yardstick = model(7)
    halves = [Judged(fold=1, curve=curve, yardstick=yardstick)] * 2
    with pytest.raises(ValueError, match="no other fold can choose"):
        harmonic_lost(UNITS["raw"], halves)
