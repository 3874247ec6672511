"""Accuracies of single classes: shares, intervals, confusion."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from zsl.scores.details import Details


def per_class_share(hit: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
    """Compute the share of each class's images for which `hit` [N] is true: [n], in float64.

    labels: class ids [N].  classes: ids of the classes [n].

    Raises:
        ValueError: a class has no image.
    """
    ids = int(torch.cat([labels, classes, classes.new_zeros(1)]).amax()) + 1
    count = labels.bincount(minlength=ids)[classes]
    if bool((count == 0).any()):
        raise ValueError(f"class {int(classes[count == 0][0])} has no test image; its accuracy is undefined")
    return labels[hit].bincount(minlength=ids)[classes] / count.double()


def per_class_top1(predicted: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
    """Compute the share of each class's images with the right prediction: [n], in float64 (eq. 11 before the mean).

    predicted, labels: class ids [N].  classes: ids of the classes [n].

    Raises:
        ValueError: a class has no image.
    """
    return per_class_share(predicted == labels, labels, classes)


@dataclass(frozen=True, kw_only=True)
class ClassAccuracy:
    """The accuracy of one class and its Wilson interval, which is wide for few images."""

    class_id: int
    n: int  # images
    accuracy: float
    low: float
    high: float


@cache
def wilson_interval(right: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval (low, high) of `right` out of `count` images, from SciPy.

    SciPy takes milliseconds for an interval, and many classes have equal numbers.  So each interval is computed once.
    """
    from scipy.stats import binomtest  # its import takes seconds

    interval = binomtest(right, count).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def class_accuracies(predicted: Tensor, labels: Tensor, confidence: float = 0.95) -> list[ClassAccuracy]:
    """Compute accuracy and Wilson interval of each class of `labels`, by class id; both tensors are class ids [N]."""
    classes, position, count = labels.unique(return_inverse=True, return_counts=True)
    right = position[predicted == labels].bincount(minlength=len(classes))
    accuracies = []
    for class_id, hits, n in zip(classes.tolist(), right.tolist(), count.tolist(), strict=True):
        low, high = wilson_interval(hits, n, confidence)
        accuracies.append(ClassAccuracy(class_id=class_id, n=n, accuracy=hits / n, low=low, high=high))
    return accuracies


def confusion_matrix(details: Details) -> Tensor:
    """Count the images of true class i (row) with the GZSL prediction j (column): [S + U, S + U].

    Rows and columns have the order of `gzsl_classes`.  Images of both test parts count.
    """
    classes, size = details.gzsl_classes, len(details.gzsl_classes)

    def position(ids: Tensor) -> Tensor:
        return (ids[:, None] == classes).int().argmax(dim=1)

    true = position(torch.cat([details.seen_labels, details.unseen_labels]))
    predicted = position(torch.cat([details.seen_predicted, details.unseen_predicted]))
    return (true * size + predicted).bincount(minlength=size**2).view(size, size)
