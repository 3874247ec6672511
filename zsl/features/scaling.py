"""Scaling of features and attributes, fitted only on data that training may see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class FeatureScaler:
    """Min-max scaling of each feature dimension.  The fitted rows get values in [0, 1]; other rows may leave [0, 1].

    The features of joined backbones lie side by side in blocks.  Each block's values shrink to [0, w], so that all
    blocks have the total variance of the one that varies least, whose w is 1.
    """

    low: Tensor  # [D]
    span: Tensor  # [D], 1 where a dimension is constant; divided by w

    @classmethod
    def fit(cls, features: Tensor, blocks: Sequence[int] = ()) -> Self:
        """Fit a scaler to features [N, D] of trainval rows; blocks: sizes that add up to D, () for a single block."""
        low, high = features.amin(0), features.amax(0)
        span = torch.where(high > low, high - low, 1.0)
        return cls(low, span / _block_weights(features, span, blocks) if len(blocks) > 1 else span)

    def __call__(self, features: Tensor) -> Tensor:
        """Return scaled features [..., D]."""
        return (features - self.low) / self.span


def _block_weights(features: Tensor, span: Tensor, blocks: Sequence[int]) -> Tensor:
    """The factor w [D] of each dimension, equal within a block: the root of the least total variance over the block's.

    A block that does not vary keeps w = 1.
    """
    variances = (features / span).double().var(0, unbiased=False).split(list(blocks))
    totals = torch.stack([block.sum() for block in variances])
    least = totals[totals > 0].amin() if totals.any() else totals.new_ones(())
    factors = torch.where(totals > 0, (least / totals).sqrt(), 1.0)
    return torch.cat([factor.expand(size) for factor, size in zip(factors, blocks, strict=True)]).to(span.dtype)


def signed_power(values: Tensor, power: float) -> Tensor:
    """Raise each value to `power`, but keep its sign; a power below 1 reduces large values and spreads small ones."""
    return values if power == 1 else values.sign() * values.abs() ** power


@dataclass(frozen=True, eq=False)
class AttributeScaler:
    """Scaling of attributes: a power, then centring on the seen classes, then a factor for a given mean norm of these.

    All classes of a benchmark share most of their attributes (every bird has a beak).  So the differences of official
    attribute vectors are small against their common part.
    """

    centre: Tensor  # [A]
    factor: Tensor  # one number
    power: float = 1.0

    @classmethod
    def fit(cls, attributes: Tensor, norm: float | None, power: float = 1.0) -> Self:
        """Fit a scaler to the attributes [S, A] of the seen classes alone; without `norm`, it only uses the power.

        Raises:
            ValueError: the seen classes have equal attributes, as one class alone has, so that no factor gives a norm.
        """
        attributes = signed_power(attributes, power)
        if norm is None:
            return cls(torch.zeros_like(attributes[0]), attributes.new_ones(()), power)
        centre = attributes.mean(0)
        spread = (attributes - centre).norm(dim=1).mean()
        if spread == 0:
            raise ValueError(
                f"the attributes of the {len(attributes)} seen classes do not differ, so they have no scale; give two "
                "seen classes or more, or --config.attribute-norm None"
            )
        return cls(centre, norm / spread, power)

    def __call__(self, attributes: Tensor) -> Tensor:
        """Return scaled attributes [..., A]."""
        return (signed_power(attributes, self.power) - self.centre) * self.factor

    def undo(self, scaled: Tensor) -> Tensor:
        """Return attributes [..., A] in their original units."""
        return signed_power(scaled / self.factor + self.centre, 1 / self.power)
