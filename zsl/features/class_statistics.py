"""Means and sums of the rows of each class, and the centres of clusters of rows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def class_means(values: Tensor, labels: Tensor, count: int) -> Tensor:
    """Means [count, R] of the values [N, R] of each class; labels [N] are in [0, count), and no class is empty.

    Equal input gives equal bits, on a GPU too: there `index_add_` would add in the order in which threads arrive.
    """
    if values.device.type == "cpu":
        total = torch.zeros(count, values.shape[1], dtype=values.dtype).index_add_(0, labels, values)
    else:
        total = class_sums_by_product(values, labels, count)
    return total / torch.bincount(labels, minlength=count)[:, None]


def class_sums_by_product(values: Tensor, labels: Tensor, count: int) -> Tensor:
    """Sum of values [N, R] over each of `count` classes, [count, R], as a product with the one-hot labels.

    In fp64, so that `matmul_precision` rounds no factor.
    """
    return (one_hot(labels, count).T.double() @ values.double()).to(values.dtype)


def kmeans(points: Tensor, count: int, *, steps: int = 20) -> Tensor:
    """Return the centres of `count` clusters of points [n, D], by Lloyd's algorithm from points drawn at random.

    Fewer points than centres are centres themselves, and the rest of the `count` rows repeats them.
    """
    centres = points[torch.randperm(len(points), device=points.device).repeat(count)[:count]]
    for _ in range(steps):
        nearest = torch.cdist(points, centres).argmin(dim=1)
        present = nearest.bincount(minlength=count) > 0
        centres = centres.clone()
        centres[present] = class_means(points, present.cumsum(0)[nearest] - 1, int(present.sum()))
    return centres
