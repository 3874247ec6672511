"""Nearest neighbours of each class."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class Neighbours(nn.Module):
    """A classifier by the mean closeness of an input to the k nearest points of each class.

    With k = 1 the best class is that of the nearest point.  With more, papers count votes among the k nearest points of
    all classes.  Counts are few different numbers, so γ could hardly move a decision; means per class are our choice.
    Closeness is the cosine, or the negative Euclidean distance.
    """

    points: Tensor  # [n, K], sorted by class
    counts: Tensor  # [classes] points of each class

    def __init__(self, points: Tensor, targets: Tensor, k: int, metric: Literal["cosine", "euclidean"]) -> None:
        """Keep points [n, K] and the position of the class of each one [n]."""
        super().__init__()
        self.k, self.metric = k, metric
        order = targets.argsort(stable=True)
        self.register_buffer("points", normalize(points[order]) if metric == "cosine" else points[order])
        self.register_buffer("counts", targets.bincount())

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs [B, K] to scores [B, classes]."""
        return torch.cat([self._scores(rows) for rows in inputs.split(256)])

    def _scores(self, inputs: Tensor) -> Tensor:
        cosine = self.metric == "cosine"
        closeness = normalize(inputs) @ self.points.T if cosine else -torch.cdist(inputs, self.points)
        of_classes = closeness.split(self.counts.tolist(), dim=1)
        return torch.stack([near.topk(min(self.k, near.shape[1])).values.mean(1) for near in of_classes], dim=1)
