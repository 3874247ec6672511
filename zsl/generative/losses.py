"""Losses, statistics and draws that several generative methods share, as functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from zsl.features.class_statistics import class_means


def mean_of_classes(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean features [n, D] of the classes that occur in labels [B], and the ids of these classes [n]."""
    classes, positions = labels.unique(return_inverse=True)
    return class_means(features, positions, len(classes)), classes


def centroid_loss(means: Tensor, prototypes: Tensor) -> Tensor:
    """Mean over classes of ‖mean x̃_c - μ_c‖, not squared (Zhu et al. 2018); both are [n, D]."""
    return (means - prototypes).norm(dim=1).mean()


def squared_distance(one: Tensor, other: Tensor) -> Tensor:
    """Mean over the batch of ‖one - other‖²; both are [B, n]."""
    return (one - other).square().sum(dim=1).mean()


def cosines(one: Tensor, other: Tensor) -> Tensor:
    """Return the cosine of each row of one [n, D] with each row of other [m, D]: [n, m]."""
    return normalize(one) @ normalize(other).T


def mutual_loss(one: Tensor, other: Tensor, weights: Tensor) -> Tensor:
    """Mean over the batch of w (W - sg W')² + w (W' - sg W)²: two critics teach each other (Ye et al. 2025).

    sg stops the gradient.

    one, other: both critics' scores of real minus generated features, W and W' [B].  weights: w [B].
    """
    return (weights * ((one - other.detach()).square() + (other - one.detach()).square())).mean()


def another_class(targets: Tensor, count: int) -> Tensor:
    """Draw for each of targets [B] another one of `count` classes; with a single class, there is only that one."""
    return (targets + torch.randint(1, max(2, count), targets.shape, device=targets.device)) % count
