"""The contract of a model that can be scored, and calibrated stacking, which lowers scores of seen classes by γ."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn


class ZeroShotModel(Protocol):
    """A model that can be scored: it gives each image a score for each class, and higher is likelier."""

    zsl_classes: Tensor  # [U] ids of the columns of `zsl_scores`: unseen classes
    gzsl_classes: Tensor  # [S + U] ids of the columns of `gzsl_scores`: seen and unseen classes

    def zsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to scores of unseen classes [N, U]."""

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to scores of all classes [N, S + U]."""


class Calibrated(nn.Module):
    """A model with calibrated stacking: γ is subtracted from the GZSL scores of seen classes (Chao et al. 2016).

    Its ZSL scores do not change.  Nothing else subtracts γ.
    """

    zsl_classes: Tensor
    gzsl_classes: Tensor
    is_seen: Tensor
    gamma: Tensor

    def __init__(self, model: ZeroShotModel, gamma: float, seen: Tensor) -> None:
        """Calibrate `model` with `gamma`; `seen` holds the ids of the seen classes [S]."""
        super().__init__()
        self.model: Any = model
        self.register_buffer("zsl_classes", model.zsl_classes, persistent=False)
        self.register_buffer("gzsl_classes", model.gzsl_classes, persistent=False)
        self.register_buffer("is_seen", torch.isin(model.gzsl_classes, seen))
        self.register_buffer("gamma", torch.tensor(float(gamma)))
        self.eval()

    @property
    def calibration(self) -> Tensor:
        """The summand of the GZSL scores [S + U]: −γ for seen classes, 0 for unseen classes."""
        return torch.where(self.is_seen, -self.gamma, 0.0)

    def zsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to scores of unseen classes [N, U]."""
        return self.model.zsl_scores(features)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to calibrated scores of all classes [N, S + U]."""
        return self.model.gzsl_scores(features) + self.calibration
