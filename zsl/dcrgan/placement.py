"""The error of a class's placement: how far its mean is from where a regression on its attributes places it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@torch.no_grad()
def left_out_errors(conditions: Tensor, means: Tensor, ridge: float) -> Tensor:
    """Compute the placement's error for each class [S, dim]: its mean minus the prediction from the other classes.

    The prediction is the ridge regression of class means on conditions, fitted without this class.  Its constant term
    is not penalised.  No class needs a fit of its own: leaving it out divides its residual by 1 minus its leverage
    (Allen 1974, The relationship between variable selection and data augmentation).

    conditions: of the seen classes, at least two [S, K].  means: of their inputs [S, dim].
    """
    centred = conditions - conditions.mean(0)
    gram = centred @ centred.T
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    hat = torch.linalg.solve(gram + ridge * identity, gram) + 1 / len(gram)  # [S, S], from means to predicted means
    return (means - hat @ means) / (1 - hat.diagonal())[:, None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """How unseen classes are placed in a space, and how much the error of that counts in the space's discriminants."""

    conditions: Tensor  # the generator's input for each seen class [S, K]
    share: float  # of the error's covariance in that of the images
    seen_factor: float  # of the share, for the scores of seen classes
    ridge: float  # of the regression that places a class

    def errors(self, means: Tensor) -> Tensor:
        """Return the errors of the seen classes' means [S, dim], so long that their covariance has the share."""
        return self.share**0.5 * left_out_errors(self.conditions, means, self.ridge)
