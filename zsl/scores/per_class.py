"""Accuracies of single classes: shares, intervals, confusion."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from zsl.scores.details import Details


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
