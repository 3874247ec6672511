"""The exact seen-unseen curve against brute force over γ, and calibration against subtracting by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import auc
from torch import Tensor, nn

from zsl.scores.curves import Curve, best_gamma, choose_gamma, seen_unseen_curve
from zsl.scores.model import Calibrated

CLASSES = torch.tensor([3, 4, 9, 11, 20, 2, 30])  # seen, then unseen, ids in no order
IS_SEEN = torch.tensor([True] * 4 + [False] * 3)
BEYOND = 1e6  # all margins: ∞ itself cannot be subtracted without losing the order of the columns


class Case:
    """Random scores of two test parts; `levels` > 0 rounds them so coarsely that margins coincide."""

    def __init__(self, seed: int, levels: int = 0, count: int = 60) -> None:
        random = torch.Generator().manual_seed(seed)
        self.labels, self.scores = [], []
        for columns in (IS_SEEN, ~IS_SEEN):
            own = CLASSES[columns]
            labels = torch.cat([own, own[torch.randint(len(own), (count,), generator=random)]])
            scores = torch.randn(len(labels), len(CLASSES), generator=random) + (labels[:, None] == CLASSES) + IS_SEEN
            self.labels.append(labels)
            self.scores.append((scores * levels).round() / levels if levels else scores)
        margins = [scores[:, IS_SEEN].amax(1).double() - scores[:, ~IS_SEEN].amax(1).double() for scores in self.scores]
        self.margins = torch.cat(margins).unique()

    def curve(self) -> Curve:
        seen, unseen = zip(self.scores, self.labels, strict=True)
        return seen_unseen_curve(*seen, *unseen, CLASSES, IS_SEEN)

    def at(self, gamma: float) -> tuple[float, float]:
        """U and S by the definition: subtract, take the best column, average over each class, then over classes."""
        accuracies = []
        for scores, labels in zip(self.scores, self.labels, strict=True):
            lowered = scores.double().numpy() - np.where(IS_SEEN, gamma, 0.0)
            right = CLASSES.numpy()[lowered.argmax(1)] == labels.numpy()
            accuracies.append(float(np.mean([right[labels == c].mean() for c in labels.unique()])))
        return accuracies[1], accuracies[0]

    def gammas(self) -> list[float]:
        """One γ between any two images' margins, right or wrong, and two that are beyond all."""
        between = (self.margins[1:] + self.margins[:-1]) / 2
        return [-BEYOND, *between.tolist(), BEYOND]


CASES = [Case(seed, levels) for seed in range(3) for levels in (0, 2)]


def harmonic(point: tuple[float, float]) -> float:
    return 2 * point[0] * point[1] / sum(point) if sum(point) else 0.0


@pytest.mark.parametrize("case", CASES)
def test_the_curve_is_what_subtracting_gives_at_every_gamma(case: Case) -> None:
    curve = case.curve()
    for gamma in [*case.gammas(), *np.linspace(-6, 6, 98).tolist()]:
        assert curve.at(gamma) == pytest.approx(case.at(gamma))
        assert curve.harmonic_at(gamma) == pytest.approx(harmonic(case.at(gamma)))


def test_an_image_at_its_margin_still_has_its_seen_class() -> None:
    case = Case(0, levels=2)  # margins are multiples of 1/2, and so exact
    for gamma in case.margins.tolist():
        assert case.curve().at(gamma) == pytest.approx(case.at(gamma))


def test_beyond_all_margins_only_seen_or_only_unseen_classes_are_named() -> None:
    curve = CASES[0].curve()
    for gamma in (math.inf, -math.inf):
        assert curve.at(gamma) == curve.at(math.copysign(BEYOND, gamma))


@pytest.mark.parametrize("case", CASES)
def test_the_curve_has_each_value_once_and_runs_from_no_unseen_to_no_seen_image(case: Case) -> None:
    curve = case.curve()
    assert curve.unseen[0] == 0
    assert curve.seen[-1] == 0
    assert bool((curve.unseen.diff() >= 0).all() and (curve.seen.diff() <= 0).all())
    assert bool((curve.unseen.diff() - curve.seen.diff() > 0).all())  # a step at every breakpoint


@pytest.mark.parametrize("case", CASES)
def test_the_area_is_that_of_the_brute_force_points(case: Case) -> None:
    points = [case.at(gamma) for gamma in case.gammas()]
    area = 0.0
    for (left, high), (right, low) in itertools.pairwise(points):
        area += (right - left) * (high + low) / 2
    assert case.curve().ausuc == pytest.approx(area)
    assert case.curve().ausuc == pytest.approx(auc(*zip(*points, strict=True)))


def test_without_equal_margins_the_step_rule_gives_the_same_area() -> None:
    curve = Case(0).curve()
    steps = sum(float(du * s) for du, s in zip(curve.unseen.diff(), curve.seen[:-1], strict=True))
    assert curve.ausuc == pytest.approx(steps)


@pytest.mark.parametrize("case", CASES)
def test_the_best_gamma_is_the_best_of_all(case: Case) -> None:
    gamma, best = best_gamma(case.curve())
    assert best == pytest.approx(max(harmonic(case.at(g)) for g in case.gammas()))
    assert harmonic(case.at(gamma)) == pytest.approx(best)
    assert gamma not in case.margins.tolist()


@pytest.mark.parametrize("levels", [0, 2])
def test_one_gamma_for_all_folds_has_the_best_mean(levels: int) -> None:
    cases = [Case(seed, levels, count=20) for seed in (5, 6, 7)]

    def mean(gamma: float) -> float:
        return sum(harmonic(case.at(gamma)) for case in cases) / len(cases)

    union = torch.cat([case.margins for case in cases]).unique()
    candidates = [-BEYOND, *((union[1:] + union[:-1]) / 2).tolist(), BEYOND]
    gamma = choose_gamma([case.curve() for case in cases])
    assert mean(gamma) == pytest.approx(max(map(mean, candidates)))
    assert gamma == choose_gamma([case.curve() for case in reversed(cases)])


def test_of_equally_good_gammas_the_one_nearest_to_zero_is_taken() -> None:
    rising = torch.tensor([0.0, 0.5, 0.5, 1.0]).double()
    for breakpoints, nearest in (([-2.0, 1.0, 4.0], -0.5), ([-4.0, -1.0, 2.0], 0.5)):  # not 2.5, not -2.5
        assert choose_gamma([Curve(torch.tensor(breakpoints).double(), rising, rising.flip(0))]) == nearest
    never_right = seen_unseen_curve(*case_of([[0.0, 1.0]], [9]), *case_of([[0.0, 1.0]], [9]), *two_classes())
    assert (never_right.ausuc, best_gamma(never_right)) == (0.0, (0.0, 0.0))


def case_of(scores: list[list[float]], labels: list[int]) -> tuple[Tensor, Tensor]:
    return torch.tensor(scores), torch.tensor(labels)


def two_classes() -> tuple[Tensor, Tensor]:
    return torch.tensor([0, 1]), torch.tensor([True, False])


def test_an_image_that_no_finite_gamma_turns_stays_where_it_is() -> None:
    seen = case_of([[0.0, -math.inf], [1.0, 0.0]], [0, 0])
    unseen = case_of([[5.0, -math.inf], [2.0, 0.0]], [1, 1])
    curve = seen_unseen_curve(*seen, *unseen, *two_classes())
    assert curve.breakpoints.tolist() == [1, 2]
    assert curve.seen.tolist() == [1, 0.5, 0.5]
    assert curve.unseen.tolist() == [0, 0, 0.5]
    assert math.isfinite(best_gamma(curve)[0])


def test_perfect_scores_have_area_one() -> None:
    classes = torch.arange(7)
    labels = classes.repeat_interleave(torch.tensor([3, 7, 11, 13, 3, 7, 11]))  # weights that no float holds exactly
    scores, seen = torch.nn.functional.one_hot(labels).float(), labels < 4
    curve = seen_unseen_curve(scores[seen], labels[seen], scores[~seen], labels[~seen], classes, classes < 4)
    assert curve.ausuc == pytest.approx(1)
    assert curve.ausuc <= 1
    assert best_gamma(curve) == (0.0, pytest.approx(1))


class Linear(nn.Module):
    """Scores that are linear in the features."""

    zsl_classes: Tensor
    gzsl_classes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("zsl_classes", CLASSES[~IS_SEEN])
        self.register_buffer("gzsl_classes", CLASSES)
        self.zsl, self.gzsl = nn.Linear(5, 3), nn.Linear(5, 7)

    def zsl_scores(self, features: Tensor) -> Tensor:
        return self.zsl(features)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        return self.gzsl(features)


@pytest.mark.parametrize("gamma", [0.75, -2.0, math.inf])
def test_a_calibrated_model_lowers_the_seen_columns_and_nothing_else(gamma: float) -> None:
    model, features = Linear(), torch.randn(20, 5)
    calibrated = Calibrated(model, gamma, CLASSES[IS_SEEN].sort().values)
    expected = model.gzsl_scores(features).clone()
    for column, class_id in enumerate(CLASSES.tolist()):
        if class_id in (3, 4, 9, 11):
            expected[:, column] -= gamma
    assert torch.equal(calibrated.gzsl_scores(features), expected)
    assert torch.equal(calibrated.zsl_scores(features), model.zsl_scores(features))
    assert torch.equal(calibrated.gzsl_classes, model.gzsl_classes)
    assert torch.equal(calibrated.zsl_classes, model.zsl_classes)


def test_a_calibrated_model_is_saved_with_its_gamma() -> None:
    saved = Calibrated(Linear(), 1.5, CLASSES[IS_SEEN]).state_dict()
    other = Calibrated(Linear(), 0.0, CLASSES[IS_SEEN])
    other.load_state_dict(saved)
    assert other.gamma == 1.5
    assert len({tensor.data_ptr() for tensor in saved.values()}) == len(saved)  # safetensors takes no shared memory
