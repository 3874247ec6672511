"""Test images that are scored in pieces have the scores of all at once."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
import torch
from torch import Tensor
from toy import toy_splits

from zsl.common import room
from zsl.features.split import TestSplit, TrainSplit
from zsl.scores import curves
from zsl.scores.evaluate import evaluate_details
from zsl.scores.per_class import per_class_share
from zsl.scores.summary import curve_of


@dataclass(eq=False)
class WholeNumbers:
    """A linear model of whole numbers, whose sums are exact in any order."""

    zsl_classes: Tensor
    gzsl_classes: Tensor
    weights: Tensor  # [C, D]

    def zsl_scores(self, features: Tensor) -> Tensor:
        return (features * 8).round() @ self.weights[self.zsl_classes].T

    def gzsl_scores(self, features: Tensor) -> Tensor:
        return (features * 8).round() @ self.weights[self.gzsl_classes].T


@pytest.fixture
def toy() -> tuple[WholeNumbers, TrainSplit, TestSplit]:
    train, test = toy_splits()
    weights = torch.randint(-9, 9, (len(train.attributes), train.features.shape[1]), generator=torch.manual_seed(0))
    return WholeNumbers(train.unseen, torch.cat([train.unseen, train.seen]), weights.float()), train, test


def test_pieces_give_the_same_details_and_the_same_curve(
    toy: tuple[WholeNumbers, TrainSplit, TestSplit], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _, test = toy
    whole = evaluate_details(model, test)
    curve = curve_of(whole)
    monkeypatch.setattr(room, "PIECE", 4 * len(model.gzsl_classes) * 7)  # seven images
    monkeypatch.setattr(room, "free_memory", lambda: 0.0)  # the scores lie in a file
    monkeypatch.setattr(curves, "ROWS", 7)
    pieces = evaluate_details(model, test)
    for item in fields(whole):
        assert getattr(whole, item.name).equal(getattr(pieces, item.name)), item.name
    again = curve_of(pieces)
    assert again.breakpoints.equal(curve.breakpoints)
    assert again.harmonic.equal(curve.harmonic)
    assert whole.seen_scores.equal(model.gzsl_scores(test.seen.features))


def test_an_error_in_a_later_piece_names_its_row(
    toy: tuple[WholeNumbers, TrainSplit, TestSplit], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _, test = toy
    monkeypatch.setattr(room, "PIECE", 4 * len(model.gzsl_classes) * 7)
    assert test.unseen.rows is not None
    broken = test.unseen.features.clone()
    broken[-1] = 1e38
    odd = replace(model, weights=model.weights * 10.0)
    with pytest.raises(FloatingPointError, match=f"scores of test_unseen: row {test.unseen.rows[-1]} has"):
        evaluate_details(odd, replace(test, unseen=replace(test.unseen, features=broken)))


def test_shares_of_classes_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    labels, hit, classes = rng.integers(3, 20, 200), rng.random(200) < 0.4, rng.permutation(np.arange(3, 20))
    share = per_class_share(*map(torch.from_numpy, (hit, labels, classes)))
    assert share.tolist() == [hit[labels == each].sum() / (labels == each).sum() for each in classes]
    with pytest.raises(ValueError, match="class 21 has no test image"):
        per_class_share(torch.from_numpy(hit), torch.from_numpy(labels), torch.tensor([4, 21]))


@dataclass(eq=False)
class NothingForOne(WholeNumbers):
    """The same model, which holds every class impossible for the last image that it is given."""

    def gzsl_scores(self, features: Tensor) -> Tensor:
        scores = super().gzsl_scores(features)
        scores[-1] = -torch.inf
        return scores


def test_an_image_without_a_possible_class_is_refused(toy: tuple[WholeNumbers, TrainSplit, TestSplit]) -> None:
    """Its answer would be the first column, and its margin −inf minus −inf: two AUSUCs of one model."""
    model, _, test = toy
    assert test.seen.rows is not None
    with pytest.raises(FloatingPointError, match=f"of test_seen: row {test.seen.rows[-1]} has -inf, and 1 rows are so"):
        evaluate_details(NothingForOne(model.zsl_classes, model.gzsl_classes, model.weights), test)
