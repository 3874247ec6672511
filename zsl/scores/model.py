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


class BrokenMethod(ValueError):
    """Error: a method, or a model that it made, breaks its contract (docs/own-method.md)."""


def check_parts(model: Any) -> None:
    """Check that a model has the parts of a ZeroShotModel.

    Raises:
        BrokenMethod: it lacks one, or its class ids are no tensor of different numbers.
    """
    for name in ("gzsl_classes", "zsl_classes", "gzsl_scores", "zsl_scores"):
        if not hasattr(model, name):
            raise BrokenMethod(
                f"the method returned a {type(model).__name__} without {name}; needed is a ZeroShotModel "
                "(docs/own-method.md)"
            )
    for name in ("gzsl_classes", "zsl_classes"):
        ids = getattr(model, name)
        if not isinstance(ids, Tensor) or ids.ndim != 1 or ids.dtype.is_floating_point or len(ids.unique()) < len(ids):
            raise BrokenMethod(f"the model's {name} are {ids}; needed is a tensor of class ids [n], each once")


def check_shape(scores: Any, count: int, classes: Tensor, what: str) -> None:
    """Check that `scores` have a row for each of `count` images and a column for each of the `classes` [n].

    Other columns would be taken for the classes of the first ones, and one column would spread to all.

    Raises:
        BrokenMethod: they are no tensor, or of another shape.
    """
    shape = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
    if shape != [count, len(classes)]:
        raise BrokenMethod(
            f"the model's {what} are {shape}; needed is a tensor [{count}, {len(classes)}], a row for each image and a "
            "column for each class (docs/own-method.md)"
        )


class Calibrated(nn.Module):
    """A model with calibrated stacking: γ is subtracted from the GZSL scores of seen classes (Chao et al. 2016).

    Its ZSL scores do not change.  Nothing else subtracts γ.
    """

    zsl_classes: Tensor
    gzsl_classes: Tensor
    is_seen: Tensor
    gamma: Tensor

    def __init__(self, model: ZeroShotModel, gamma: float, seen: Tensor) -> None:
        """Calibrate `model` with `gamma`; `seen` holds the ids of the seen classes [S].

        Raises:
            BrokenMethod: `model` is no ZeroShotModel.
        """
        super().__init__()
        check_parts(model)
        self.model: Any = model
        self.register_buffer("zsl_classes", model.zsl_classes, persistent=False)
        self.register_buffer("gzsl_classes", model.gzsl_classes, persistent=False)
        self.register_buffer("is_seen", torch.isin(model.gzsl_classes, seen))
        self.register_buffer("gamma", torch.tensor(float(gamma)))
        self.eval()

    @property
    def leaves_features(self) -> bool:
        """Whether scoring is known to change no feature; the evaluator gives other models copies."""
        return getattr(self.model, "leaves_features", False)

    @property
    def calibration(self) -> Tensor:
        """The summand of the GZSL scores [S + U]: −γ for seen classes, 0 for unseen classes."""
        return torch.where(self.is_seen, -self.gamma, 0.0)

    def zsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to scores of unseen classes [N, U]."""
        return self.model.zsl_scores(features)

    def gzsl_scores(self, features: Tensor) -> Tensor:
        """Map features [N, D] to calibrated scores of all classes [N, S + U]."""
        scores = self.model.gzsl_scores(features)
        check_shape(scores, len(features), self.gzsl_classes, "GZSL scores")
        return scores + self.calibration
