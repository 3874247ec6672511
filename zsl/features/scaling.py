"""Scaling of features and attributes, fitted on what training may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class FeatureScaler:
    """Min-max scaling of each feature dimension to [0, 1] on the rows it was fitted on; others may leave [0, 1]."""

    low: Tensor  # [D]
    span: Tensor  # [D], 1 where a dimension is constant

    @classmethod
    def fit(cls, features: Tensor) -> Self:
        """From features [N, D] of trainval rows."""
        low, high = features.amin(0), features.amax(0)
        return cls(low, torch.where(high > low, high - low, 1.0))

    def __call__(self, features: Tensor) -> Tensor:
        """Scaled features [..., D]."""
        return (features - self.low) / self.span


def signed_power(values: Tensor, power: float) -> Tensor:
    """Each value raised to `power`, its sign kept; below 1 this draws in large values and spreads small ones."""
    return values if power == 1 else values.sign() * values.abs() ** power


@dataclass(frozen=True, eq=False)
class AttributeScaler:
    """Attributes to a power, minus the seen classes' mean, scaled so that the seen classes' have a given mean norm.

    All classes of a benchmark share most of their attributes (every bird has a beak), so that official attribute
    vectors differ little beside their common part.
    """

    centre: Tensor  # [A]
    factor: Tensor  # one number
    power: float = 1.0

    @classmethod
    def fit(cls, attributes: Tensor, norm: float | None, power: float = 1.0) -> Self:
        """From the attributes [S, A] of the seen classes alone; without `norm` they are neither centred nor scaled."""
        attributes = signed_power(attributes, power)
        if norm is None:
            return cls(torch.zeros_like(attributes[0]), attributes.new_ones(()), power)
        centre = attributes.mean(0)
        return cls(centre, norm / (attributes - centre).norm(dim=1).mean(), power)

    def __call__(self, attributes: Tensor) -> Tensor:
        """Scaled attributes [..., A]."""
        return (signed_power(attributes, self.power) - self.centre) * self.factor

    def undo(self, scaled: Tensor) -> Tensor:
        """Attributes [..., A] in the units in which they were given."""
        return signed_power(scaled / self.factor + self.centre, 1 / self.power)
