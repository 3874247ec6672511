"""What can be scored: a ZeroShotModel; and calibrated stacking, which lowers the scores of seen classes by γ."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn


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


class Calibrated(nn.Module):
    """A model whose GZSL scores of seen classes are lowered by γ (Chao et al. 2016); its ZSL scores are as they were.

    Nothing else subtracts γ.
    """

    zsl_classes: Tensor
    gzsl_classes: Tensor
    is_seen: Tensor
    gamma: Tensor

    def __init__(self, model: ZeroShotModel, gamma: float, seen: Tensor) -> None:
        """`seen`: ids of the seen classes [S]."""
        super().__init__()
        self.model: Any = model
        self.register_buffer("zsl_classes", model.zsl_classes, persistent=False)
        self.register_buffer("gzsl_classes", model.gzsl_classes, persistent=False)
        self.register_buffer("is_seen", torch.isin(model.gzsl_classes, seen))
        self.register_buffer("gamma", torch.tensor(float(gamma)))
        self.eval()

    @property
    def calibration(self) -> Tensor:
        """What is added to the GZSL scores: −γ for seen classes, 0 for unseen ones [S + U]."""
        return torch.where(self.is_seen, -self.gamma, 0.0)

    def zsl_scores(self, features: Tensor) -> Tensor:
        """[N, D] to [N, U]."""
        return self.model.zsl_scores(features)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """[N, D] to [N, S + U]."""
        return self.model.gzsl_scores(features) + self.calibration
