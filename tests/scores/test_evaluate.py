"""Metrics against scikit-learn and by hand; the evaluator on a model whose answers are known."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix
from torch import Tensor

from zsl.features.split import LabelledFeatures, TestSplit
from zsl.scores.details import Details, load_details, save_details
from zsl.scores.evaluate import evaluate, evaluate_details
from zsl.scores.model import Calibrated
from zsl.scores.per_class import class_accuracies, confusion_matrix, per_class_top1
from zsl.scores.summary import SCORES, Scores, harmonic_mean, scores_of


def test_per_class_top1_equals_balanced_accuracy() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 300) ** 2  # class ids with gaps
    predicted = np.where(rng.random(300) < 0.6, labels, rng.permutation(labels))
    ours = per_class_top1(torch.from_numpy(predicted), torch.from_numpy(labels), torch.from_numpy(np.unique(labels)))
    assert ours.mean().item() == pytest.approx(balanced_accuracy_score(labels, predicted))


def test_accuracies_are_the_fractions_themselves() -> None:
    labels = torch.arange(49).repeat_interleave(49)
    predicted = torch.where(torch.arange(len(labels)) % 49 == 0, labels, -1)  # one image of each class is right
    share = per_class_top1(predicted, labels, labels.unique())
    assert share.dtype == torch.float64
    assert set(share.tolist()) == {1 / 49}


def test_harmonic_never_exceeds_its_bound() -> None:
    """Three images of a class: thirds are no numbers of the machine, and are added in another order by the curve."""
    classes, source = torch.arange(11), torch.Generator().manual_seed(0)
    for _ in range(60):
        labels, scores = (
            torch.randint(0, 6, (23,), generator=source) + 5,
            torch.randn(23, 11, generator=source),
        )
        unseen_labels, unseen_scores = (
            torch.randint(0, 5, (17,), generator=source),
            torch.randn(17, 11, generator=source),
        )
        details = Details(
            zsl_classes=classes[:5], gzsl_classes=classes, seen_rows=torch.empty(0), seen_labels=labels,
            seen_predicted=scores.argmax(1), seen_scores=scores, unseen_rows=torch.empty(0),
            unseen_labels=unseen_labels, unseen_predicted=unseen_scores.argmax(1), unseen_scores=unseen_scores,
            unseen_zsl_predicted=unseen_scores[:, :5].argmax(1),
        )  # fmt: skip
        best = scores_of(details)
        at_best = scores_of(shifted(details, best.oracle_gamma))
        assert at_best.harmonic <= at_best.harmonic_oracle
        assert at_best.harmonic == pytest.approx(best.harmonic_oracle, abs=1e-12)


def shifted(details: Details, gamma: float) -> Details:
    """The details of the same model with γ off each seen class's score."""
    off = gamma * (details.gzsl_classes >= len(details.zsl_classes)).double()
    seen, unseen = details.seen_scores - off, details.unseen_scores - off
    return replace(
        details,
        seen_scores=seen,
        unseen_scores=unseen,
        seen_predicted=seen.argmax(1),
        unseen_predicted=unseen.argmax(1),
    )


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


def part(*labels: int) -> LabelledFeatures:
    ids = torch.tensor(labels)
    return LabelledFeatures(ids[:, None].float(), ids)


def test_scores_of_a_model_with_known_answers() -> None:
    test = TestSplit(seen=part(0, 1, 1, 2), unseen=part(5, 5, 5, 8))
    scores = evaluate(Oracle(torch.tensor([5, 8]), torch.tensor([0, 1, 2, 5, 8])), test)
    assert scores.acc_zsl == 1
    assert scores.acc_seen == 1
    assert scores.acc_unseen == 0.5  # class 5 lost, class 8 found
    assert scores.harmonic == pytest.approx(2 / 3)
    assert scores.pulled_to_seen == 0.5
    assert scores.ausuc == 0.5 + 0.5 / 2  # class 8 passes at γ = -1; at 1 all else, along a diagonal


class Guess:
    """Random scores that lean to the true class, and more to the seen ones."""

    gzsl_classes = torch.tensor([7, 0, 3, 12, 5, 9])
    zsl_classes = torch.tensor([12, 5, 9])

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def scores(self, features: Tensor, classes: Tensor) -> Tensor:
        noise = torch.randn(len(features), len(classes), generator=torch.Generator().manual_seed(self.seed))
        return noise + 1.5 * (features == classes) + 0.5 * torch.isin(classes, torch.tensor([7, 0, 3]))

    def zsl_scores(self, features: Tensor) -> Tensor:
        return self.scores(features, self.zsl_classes)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        return self.scores(features, self.gzsl_classes)


def guess_split(seed: int = 0) -> TestSplit:
    rng = np.random.default_rng(seed)
    parts = []
    for first_row, classes in ((100, [0, 3, 7]), (500, [5, 9, 12])):
        labels = torch.from_numpy(np.concatenate([classes, rng.choice(classes, 90, p=[0.7, 0.2, 0.1])]))
        parts.append(LabelledFeatures(labels[:, None].float(), labels, np.arange(first_row, first_row + len(labels))))
    return TestSplit(seen=parts[0], unseen=parts[1])


def test_scores_agree_with_scikit_learn_on_the_details() -> None:
    details, scores = evaluate_details(Guess(), guess_split()), evaluate(Guess(), guess_split())
    d = details
    assert scores.acc_zsl == pytest.approx(balanced_accuracy_score(d.unseen_labels, d.unseen_zsl_predicted))
    assert scores.acc_unseen == pytest.approx(balanced_accuracy_score(d.unseen_labels, d.unseen_predicted))
    assert scores.acc_seen == pytest.approx(balanced_accuracy_score(d.seen_labels, d.seen_predicted))
    pulled = [np.isin(d.unseen_predicted[d.unseen_labels == c], [0, 3, 7]).mean() for c in (5, 9, 12)]
    assert scores.pulled_to_seen == pytest.approx(np.mean(pulled))
    assert 0 < scores.pulled_to_seen < 1
    assert torch.equal(d.seen_predicted, d.gzsl_classes[d.seen_scores.argmax(1)])


def test_the_oracle_is_what_a_model_calibrated_by_it_reaches_and_the_area_does_not_depend_on_gamma() -> None:
    scores = evaluate(Guess(), guess_split())
    calibrated = evaluate(Calibrated(Guess(), scores.oracle_gamma, torch.tensor([0, 3, 7])), guess_split())
    assert calibrated.harmonic == pytest.approx(scores.harmonic_oracle)
    assert scores.harmonic_oracle > scores.harmonic
    assert calibrated.ausuc == pytest.approx(scores.ausuc)
    assert calibrated.oracle_gamma == pytest.approx(0, abs=1e-6)


def test_test_rows_are_recorded_once_an_evaluation() -> None:
    notes: list[dict[str, Any]] = []
    evaluate(Guess(), guess_split(), notes.append)
    assert [note["test_seen"]["count"] for note in notes] == [93]
    evaluate_details(Guess(), guess_split(), notes.append)
    assert len(notes) == 2


def test_scores_of_an_older_file_can_be_read_and_all_headlines_are_scores() -> None:
    old = Scores(**{"acc_zsl": 0.5, "acc_unseen": 0.25, "acc_seen": 1.0, "harmonic": 0.4})
    assert math.isnan(old.ausuc)
    assert set(SCORES) <= asdict(old).keys()


def test_details_come_back_as_they_were(tmp_path: Path) -> None:
    details = evaluate_details(Guess(), guess_split())
    save_details(details, tmp_path / "run" / "details.safetensors")
    again = load_details(tmp_path / "run" / "details.safetensors")
    assert vars(again).keys() == vars(details).keys()
    assert all(torch.equal(getattr(again, key), value) for key, value in vars(details).items())
    assert again.unseen_rows.tolist() == list(range(500, 593))
    assert again.seen_scores.dtype == torch.float32
    assert scores_of(again) == evaluate(Guess(), guess_split())
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["details.safetensors"]


def test_a_file_that_holds_no_details_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="broken is not a whole file of test details"):
        load_details(tmp_path / "broken")
    with pytest.raises(FileNotFoundError):
        load_details(tmp_path / "absent")


def test_unknown_rows_stay_unknown() -> None:
    test = TestSplit(seen=part(0, 7), unseen=part(5, 12))
    assert len(evaluate_details(Guess(), test).seen_rows) == 0


@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_class_intervals_are_wilsons(confidence: float) -> None:
    labels = torch.tensor([4] * 50 + [9] * 7 + [2] + [6] * 3)
    predicted = torch.tensor([4] * 31 + [9] * 26 + [2] + [4] * 3)
    found = class_accuracies(predicted, labels, confidence)
    assert [(c.class_id, c.n) for c in found] == [(2, 1), (4, 50), (6, 3), (9, 7)]
    for c, right in zip(found, (1, 31, 0, 7), strict=True):
        assert c.accuracy == right / c.n
        assert (c.low, c.high) == pytest.approx(wilson(right, c.n, confidence), abs=1e-12)


def wilson(right: int, n: int, confidence: float) -> tuple[float, float]:
    """The closed form: the shares p with |right / n - p| <= z sqrt(p (1 - p) / n) (Wilson 1927)."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = right / n
    centre = share + z**2 / (2 * n)
    half = z * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    return max(0.0, (centre - half) / (1 + z**2 / n)), min(1.0, (centre + half) / (1 + z**2 / n))


def test_the_confusion_matrix_is_scikit_learns_and_its_diagonal_the_accuracies() -> None:
    details: Details = evaluate_details(Guess(), guess_split())
    matrix = confusion_matrix(details)
    true = torch.cat([details.seen_labels, details.unseen_labels])
    predicted = torch.cat([details.seen_predicted, details.unseen_predicted])
    assert matrix.tolist() == sklearn_confusion_matrix(true, predicted, labels=details.gzsl_classes).tolist()
    shares = matrix.diag() / matrix.sum(1)
    assert shares[:3].mean().item() == pytest.approx(scores_of(details).acc_seen)
