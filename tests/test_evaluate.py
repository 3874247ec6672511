"""Metrics against scikit-learn and by hand; the evaluator on a model whose answers are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor

from zsl.evaluate import evaluate, harmonic_mean, per_class_top1
from zsl.features import LabelledFeatures, TestSplit


def test_per_class_top1_equals_balanced_accuracy() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 300) ** 2  # class ids with gaps
    predicted = np.where(rng.random(300) < 0.6, labels, rng.permutation(labels))
    ours = per_class_top1(torch.from_numpy(predicted), torch.from_numpy(labels), torch.from_numpy(np.unique(labels)))
    assert ours.mean().item() == pytest.approx(balanced_accuracy_score(labels, predicted))


def test_per_class_top1_weighs_classes_not_images() -> None:
    labels = torch.tensor([4] * 98 + [7] * 2)  # 98 easy images, 2 hard ones
    predicted = torch.full_like(labels, 4)
    assert per_class_top1(predicted, labels, torch.tensor([4, 7])).mean() == 0.5


def test_a_class_without_images_is_refused() -> None:
    with pytest.raises(ValueError, match="class 9 has no test image"):
        per_class_top1(torch.tensor([4]), torch.tensor([4]), torch.tensor([4, 9]))


@pytest.mark.parametrize(
    ("seen", "unseen", "expected"), [(0.5, 0.5, 0.5), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.6, 0.3, 0.4)]
)
def test_harmonic_mean(seen: float, unseen: float, expected: float) -> None:
    assert harmonic_mean(seen, unseen) == pytest.approx(expected)


@dataclass
class Oracle:
    """Reads the class off the feature; for GZSL it takes the unseen class 5 for the seen class 1."""

    zsl_classes: Tensor
    gzsl_classes: Tensor

    def zsl_scores(self, features: Tensor) -> Tensor:
        return (features == self.zsl_classes).float()

    def gzsl_scores(self, features: Tensor) -> Tensor:
        return (torch.where(features == 5, 1.0, features) == self.gzsl_classes).float()


def test_scores_of_a_model_with_known_answers() -> None:
    def part(*labels: int) -> LabelledFeatures:
        ids = torch.tensor(labels)
        return LabelledFeatures(ids[:, None].float(), ids)

    test = TestSplit(seen=part(0, 1, 1, 2), unseen=part(5, 5, 5, 8))
    scores = evaluate(Oracle(torch.tensor([5, 8]), torch.tensor([0, 1, 2, 5, 8])), test)
    assert scores.acc_zsl == 1
    assert scores.acc_seen == 1
    assert scores.acc_unseen == 0.5  # class 5 lost, class 8 found
    assert scores.harmonic == pytest.approx(2 / 3)
