"""Scores, the answers behind them, and the only reader of a TestSplit."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from zsl.curves import Curve, best_gamma, seen_unseen_curve
from zsl.features import LabelledFeatures, TestSplit
from zsl.files import atomic_path

DETAILS_FILE = "details.safetensors"
SCORES = ("acc_zsl", "acc_unseen", "acc_seen", "harmonic", "ausuc")  # what a results table shows, in this order

Record = Callable[[dict[str, Any]], None]  # what is done with the note that test rows were opened


class ZeroShotModel(Protocol):
    """What can be scored: class scores [N, n] for features [N, D], higher is likelier.

    `classes` are the ids of the columns: `zsl_classes` the unseen ones, `gzsl_classes` seen and unseen.
    """

    zsl_classes: Tensor
    gzsl_classes: Tensor

    def zsl_scores(self, features: Tensor) -> Tensor:
        """[N, D] to [N, U]."""

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """[N, D] to [N, S + U]."""


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
    harmonic_oracle: float = math.nan  # no result but a bound: H at the γ that is best on the test rows themselves
    oracle_gamma: float = math.nan  # that γ, in units of the GZSL scores


@dataclass(frozen=True, kw_only=True, eq=False)
class Details:
    """What a model said about each test image, on the CPU; all scores and intervals follow from it."""

    zsl_classes: Tensor  # [U] class ids
    gzsl_classes: Tensor  # [S + U] ids of the scores' columns
    seen_rows: Tensor  # [N] official rows of the test_seen images; [0] where they are not known
    seen_labels: Tensor  # [N] true class ids
    seen_predicted: Tensor  # [N] with all labels to choose from
    seen_scores: Tensor  # [N, S + U] float32, GZSL
    unseen_rows: Tensor  # the same of the test_unseen images
    unseen_labels: Tensor
    unseen_predicted: Tensor
    unseen_scores: Tensor
    unseen_zsl_predicted: Tensor  # [N] with unseen labels only


def per_class_share(hit: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
    """Share of each class's images for which `hit` [N] is true [n].

    labels: class ids [N]; classes: ids [n], each with at least one image.
    """
    of_class = labels[None, :] == classes[:, None]
    count = of_class.sum(dim=1)
    if bool((count == 0).any()):
        raise ValueError(f"class {int(classes[count == 0][0])} has no test image; its accuracy is undefined")
    return (of_class & hit[None, :]).sum(dim=1) / count


def per_class_top1(predicted: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
    """Share of each class's images that is predicted right [n] (eq. 11 before the mean).

    predicted, labels: class ids [N]; classes: ids [n], each with at least one image.
    """
    return per_class_share(predicted == labels, labels, classes)


def harmonic_mean(seen: float, unseen: float) -> float:
    """H = 2 S U / (S + U), 0 if both are 0."""
    return 2 * seen * unseen / (seen + unseen) if seen + unseen > 0 else 0.0


def say(note: dict[str, Any]) -> None:
    """A Record that puts the note into the program's log."""
    logging.getLogger(__name__).info("test rows opened: %s", note)


def evaluate(model: ZeroShotModel, test: TestSplit, record: Record = say) -> Scores:
    """ZSL and GZSL accuracies of a trained model; nothing here goes back into training."""
    return scores_of(evaluate_details(model, test, record))


@torch.no_grad()
def evaluate_details(model: ZeroShotModel, test: TestSplit, record: Record = say) -> Details:
    """What a trained model says about each test image; `scores_of` makes Scores of it.

    Before anything is scored, `record` is told which test rows are opened: {"test_seen": {"count", "hash"}, …}.  So a
    second look at them leaves a trace, whatever became of the first one.
    """
    record({"test_seen": test.seen.facts, "test_unseen": test.unseen.facts})
    seen, unseen = test.seen, test.unseen
    seen_scores, unseen_scores = model.gzsl_scores(seen.features), model.gzsl_scores(unseen.features)
    return Details(
        zsl_classes=model.zsl_classes.cpu(),
        gzsl_classes=model.gzsl_classes.cpu(),
        seen_rows=_rows(seen),
        seen_labels=seen.labels.cpu(),
        seen_predicted=model.gzsl_classes[seen_scores.argmax(dim=1)].cpu(),
        seen_scores=seen_scores.float().cpu(),
        unseen_rows=_rows(unseen),
        unseen_labels=unseen.labels.cpu(),
        unseen_predicted=model.gzsl_classes[unseen_scores.argmax(dim=1)].cpu(),
        unseen_scores=unseen_scores.float().cpu(),
        unseen_zsl_predicted=model.zsl_classes[model.zsl_scores(unseen.features).argmax(dim=1)].cpu(),
    )


def open_for_figures(test: TestSplit, record: Record) -> LabelledFeatures:
    """The test images of unseen classes, to be shown and to choose nothing; `record` is told that they were opened."""
    record({"test_unseen": test.unseen.facts, "purpose": "figures"})
    return test.unseen


def _rows(part: LabelledFeatures) -> Tensor:
    return torch.empty(0, dtype=torch.int64) if part.rows is None else torch.as_tensor(part.rows, dtype=torch.int64)


def scores_of(details: Details) -> Scores:
    """The Scores that `details` amount to."""

    def accuracy(predicted: Tensor, labels: Tensor) -> float:
        return per_class_top1(predicted, labels, labels.unique()).mean().item()

    acc_unseen = accuracy(details.unseen_predicted, details.unseen_labels)
    acc_seen = accuracy(details.seen_predicted, details.seen_labels)
    pulled, labels = ~torch.isin(details.unseen_predicted, details.zsl_classes), details.unseen_labels
    curve = curve_of(details)
    oracle_gamma, harmonic_oracle = best_gamma(curve)
    return Scores(
        acc_zsl=accuracy(details.unseen_zsl_predicted, details.unseen_labels),
        acc_unseen=acc_unseen,
        acc_seen=acc_seen,
        harmonic=harmonic_mean(acc_seen, acc_unseen),
        ausuc=curve.ausuc,
        pulled_to_seen=per_class_share(pulled, labels, labels.unique()).mean().item(),
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


def save_details(details: Details, path: Path) -> None:
    """Write `details` as safetensors."""
    with atomic_path(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in vars(details).items()}, temporary)


def load_details(path: Path) -> Details:
    """Read what `save_details` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is broken, or holds something else.
    """
    try:
        return Details(**load_file(path))
    except (SafetensorError, TypeError) as error:
        raise ValueError(f"{path} is not a whole file of test details ({error}); score the model anew") from error


@dataclass(frozen=True, kw_only=True)
class ClassAccuracy:
    """One class's accuracy, with its Wilson interval: it tells what so few images can."""

    class_id: int
    n: int  # images
    accuracy: float
    low: float
    high: float


def wilson_interval(right: Tensor, count: Tensor, confidence: float = 0.95) -> tuple[Tensor, Tensor]:
    """Wilson score intervals of `right` out of `count` images, both [n] (Wilson 1927): low [n], high [n]."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    count, share = count.double(), right.double() / count
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * (share * (1 - share) / count + z**2 / (4 * count**2)).sqrt()
    return (centre - half).clamp(min=0), (centre + half).clamp(max=1)


def class_accuracies(predicted: Tensor, labels: Tensor, confidence: float = 0.95) -> list[ClassAccuracy]:
    """Accuracy and Wilson interval of each class of `labels`, by class id; predicted, labels: class ids [N]."""
    classes, position, count = labels.unique(return_inverse=True, return_counts=True)
    right = position[predicted == labels].bincount(minlength=len(classes))
    columns = (classes, count, right / count.double(), *wilson_interval(right, count, confidence))
    return [
        ClassAccuracy(class_id=class_id, n=n, accuracy=accuracy, low=low, high=high)
        for class_id, n, accuracy, low, high in zip(*(column.tolist() for column in columns), strict=True)
    ]


def confusion_matrix(details: Details) -> Tensor:
    """Number of images of true class i (row) that were predicted as j (column) in GZSL [S + U, S + U].

    Rows and columns are in the order of `gzsl_classes`; both test parts are counted.
    """
    classes, size = details.gzsl_classes, len(details.gzsl_classes)

    def position(ids: Tensor) -> Tensor:
        return (ids[:, None] == classes).int().argmax(dim=1)

    true = position(torch.cat([details.seen_labels, details.unseen_labels]))
    predicted = position(torch.cat([details.seen_predicted, details.unseen_predicted]))
    return (true * size + predicted).bincount(minlength=size**2).view(size, size)
