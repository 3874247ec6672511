"""Scores of several folds at one γ, against a plain loop over every γ that can matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from zsl.scores.details import Details
from zsl.scores.folds import score_folds

SEEN, UNSEEN = (3, 4, 9, 11), (20, 2, 30)
CLASSES = torch.tensor(SEEN + UNSEEN)


def random_details(seed: int, count: int = 40) -> Details:
    """Answers of a model that is right more often than chance and prefers seen classes."""
    random = torch.Generator().manual_seed(seed)

    def part(classes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        ids = torch.tensor(classes)
        labels = torch.cat([ids, ids[torch.randint(len(ids), (count,), generator=random)]])
        scores = torch.randn(len(labels), len(CLASSES), generator=random) + 1.5 * (labels[:, None] == CLASSES)
        scores[:, : len(SEEN)] += 1 + seed / 4  # each fold would choose another γ
        return labels, scores

    (seen_labels, seen_scores), (unseen_labels, unseen_scores) = part(SEEN), part(UNSEEN)
    return Details(
        zsl_classes=CLASSES[len(SEEN) :],
        gzsl_classes=CLASSES,
        seen_rows=torch.arange(len(seen_labels)),
        seen_labels=seen_labels,
        seen_predicted=CLASSES[seen_scores.argmax(1)],
        seen_scores=seen_scores,
        unseen_rows=torch.arange(len(unseen_labels)),
        unseen_labels=unseen_labels,
        unseen_predicted=CLASSES[unseen_scores.argmax(1)],
        unseen_scores=unseen_scores,
        unseen_zsl_predicted=CLASSES[len(SEEN) :][unseen_scores[:, len(SEEN) :].argmax(1)],
    )


def accuracy(labels: Tensor, predicted: Tensor) -> float:
    return float(np.mean([(predicted[labels == label] == label).float().mean() for label in labels.unique()]))


def seen_and_unseen(details: Details, gamma: float) -> tuple[float, float]:
    """S and U by their definition: subtract γ, take the best column."""
    lowered = torch.where(torch.isin(CLASSES, torch.tensor(SEEN)), gamma, 0.0).double()
    seen, unseen = (
        accuracy(labels, CLASSES[(scores.double() - lowered).argmax(1)])
        for labels, scores in (
            (details.seen_labels, details.seen_scores),
            (details.unseen_labels, details.unseen_scores),
        )
    )
    return seen, unseen


def mean_harmonic(folds: list[Details], gamma: float) -> float:
    pairs = [seen_and_unseen(details, gamma) for details in folds]
    return float(np.mean([2 * seen * unseen / (seen + unseen) if seen + unseen else 0.0 for seen, unseen in pairs]))


@pytest.mark.parametrize("count", [1, 3])
def test_scores_of_folds_are_those_of_a_plain_loop(count: int) -> None:
    folds = [random_details(seed) for seed in range(count)]
    scores = score_folds(folds)
    assert scores.harmonic == pytest.approx(mean_harmonic(folds, scores.gamma))
    margins = [
        images[:, : len(SEEN)].amax(1).double() - images[:, len(SEEN) :].amax(1).double()
        for details in folds
        for images in (details.seen_scores, details.unseen_scores)
    ]
    breaks = torch.cat(margins).unique()
    between = ((breaks[1:] + breaks[:-1]) / 2).tolist()
    assert scores.harmonic == pytest.approx(max(mean_harmonic(folds, gamma) for gamma in between))
    assert scores.acc_seen == pytest.approx(np.mean([seen_and_unseen(details, 0.0)[0] for details in folds]))
    zsl = [accuracy(details.unseen_labels, details.unseen_zsl_predicted) for details in folds]
    assert scores.acc_zsl == pytest.approx(np.mean(zsl))


def test_the_area_is_the_mean_of_the_folds_areas_under_seen_over_unseen() -> None:
    folds = [random_details(seed) for seed in range(2)]
    gammas = np.linspace(-8, 8, 1601)
    areas = []
    for details in folds:
        points = np.array([seen_and_unseen(details, gamma) for gamma in gammas])
        areas.append(np.trapezoid(points[:, 0], points[:, 1]))
    assert score_folds(folds).ausuc == pytest.approx(np.mean(areas), abs=1e-3)


def test_folds_share_one_gamma_though_each_would_choose_another() -> None:
    folds = [random_details(seed) for seed in range(3)]
    alone = [score_folds([details]) for details in folds]
    assert len({scores.gamma for scores in alone}) > 1
    assert score_folds(folds).harmonic <= np.mean([scores.harmonic for scores in alone]) + 1e-12


def test_no_fold_is_refused() -> None:
    with pytest.raises(ValueError, match="no fold to score"):
        score_folds([])
