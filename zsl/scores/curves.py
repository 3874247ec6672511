"""The seen-unseen curve of calibrated stacking: seen and unseen accuracy for each constant γ.

Calibrated stacking subtracts γ from the score of every seen class (Chao et al. 2016, An empirical study and analysis of
generalized zero-shot learning).  The margin of an image is its best seen score minus its best unseen score.  As γ rises
past the margin, the prediction changes once, from the best seen class to the best unseen class.  So sorting the margins
gives the exact curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ROWS = 2**14  # images whose scores are copied at a time
TIE = 1e-12  # rounding error of a sum of thousands of float64 weights; unequal accuracies differ by more


@dataclass(frozen=True, eq=False)
class Curve:
    """U and S as step functions of γ, in float64.  Piece k is breakpoints[k - 1] < γ <= breakpoints[k]."""

    breakpoints: Tensor  # [K] rising
    unseen: Tensor  # [K + 1] U, per-class mean accuracy of the test_unseen images; it never falls
    seen: Tensor  # [K + 1] S, per-class mean accuracy of the test_seen images; it never rises

    @property
    def harmonic(self) -> Tensor:
        """H of each piece [K + 1]; 0 where U and S are 0."""
        total = self.seen + self.unseen
        return torch.where(total > 0, 2 * self.seen * self.unseen / total, 0.0)

    @property
    def ausuc(self) -> float:
        """Area under S over U, from U = 0 (γ low) to S = 0 (γ high), by the trapezoid rule.

        A step along one axis is one image whose prediction changes; there the trapezoid rule equals the step rule.
        Images with equal margins change together, along a diagonal.
        """
        return min(torch.trapezoid(self.seen, self.unseen).item(), 1.0)

    def piece(self, gamma: Tensor) -> Tensor:
        """Return the number of the piece in which each γ lies."""
        return torch.searchsorted(self.breakpoints, gamma)

    def at(self, gamma: float) -> tuple[float, float]:
        """Return U and S at γ; an image whose margin equals γ has its seen class as prediction."""
        k = self.piece(torch.tensor(gamma, dtype=torch.float64))
        return self.unseen[k].item(), self.seen[k].item()

    def harmonic_at(self, gamma: float) -> float:
        """Return H at γ."""
        return self.harmonic[self.piece(torch.tensor(gamma, dtype=torch.float64))].item()


def seen_unseen_curve(
    seen_scores: Tensor,
    seen_labels: Tensor,
    unseen_scores: Tensor,
    unseen_labels: Tensor,
    classes: Tensor,
    is_seen: Tensor,
) -> Curve:
    """Compute the whole curve of the two test parts.

    seen_scores, unseen_scores: scores of the test_seen and the test_unseen images [N, S + U].  seen_labels,
    unseen_labels: their class ids [N].  classes: the ids of the columns [S + U].  is_seen: whether a column is a seen
    class [S + U].
    """
    seen_margins, seen_weights = margins(seen_scores, seen_labels, classes, is_seen, is_seen)
    unseen_margins, unseen_weights = margins(unseen_scores, unseen_labels, classes, is_seen, ~is_seen)
    # An image of weight 0 changes no accuracy.  An image with an infinite margin changes at no γ.
    breakpoints = torch.cat([seen_margins[seen_weights > 0], unseen_margins[unseen_weights > 0]]).unique()
    breakpoints = breakpoints[breakpoints.isfinite()]
    infinity = breakpoints.new_tensor([torch.inf])
    edges = torch.cat([-infinity, breakpoints, infinity])
    unseen = _weight_up_to(unseen_margins, unseen_weights, edges)
    seen = _weight_up_to(seen_margins, seen_weights, edges)
    return Curve(breakpoints, unseen=unseen[:-1].clamp(0, 1), seen=(seen[-1] - seen[:-1]).clamp(0, 1))


def margins(scores: Tensor, labels: Tensor, classes: Tensor, is_seen: Tensor, part: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the margin of each image [N], and its weight in the per-class mean accuracy [N].

    The weight is 0 if the best class of the image's own part, seen or unseen, is wrong.

    part: whether a column is a class of the images' part [S + U].
    """
    _, position, count = labels.unique(return_inverse=True, return_counts=True)
    of_part = classes[part]
    right = torch.cat([of_part[some[:, part].argmax(1)] for some in scores.split(ROWS)]) == labels
    return seen_margins(scores, is_seen), right / (count[position] * len(count)).double()


def seen_margins(scores: Tensor, is_seen: Tensor) -> Tensor:
    """Compute the best seen minus the best unseen score [N], in float64, of scores [N, S + U]."""
    return torch.cat(
        [some[:, is_seen].amax(1).double() - some[:, ~is_seen].amax(1).double() for some in scores.split(ROWS)]
    )


def _weight_up_to(margins: Tensor, weights: Tensor, edges: Tensor) -> Tensor:
    """Sum the weights of the images whose margin is at most each edge."""
    order = margins.argsort()
    total = torch.cat([weights.new_zeros(1), weights[order].cumsum(0)])
    return total[torch.searchsorted(margins[order], edges, right=True)]


def choose_gamma(curves: Sequence[Curve]) -> float:
    """Return the γ with the highest mean H over `curves`, one curve for each fold.

    The search is exact: it tries γ between all neighbouring breakpoints.  Of several best γ it takes the one nearest to
    0, then the lower one.
    """
    breakpoints = torch.cat([curve.breakpoints for curve in curves]).unique()
    if len(breakpoints) == 0:  # no prediction is right at any γ
        return 0.0
    between = (breakpoints[1:] + breakpoints[:-1]) / 2
    gammas = torch.cat([breakpoints[:1] - 1, between, breakpoints[-1:] + 1])
    harmonic = torch.stack([curve.harmonic[curve.piece(gammas)] for curve in curves]).mean(0)
    best: list[float] = gammas[harmonic >= harmonic.max() - TIE].tolist()
    return min(best, key=lambda gamma: (abs(gamma), gamma))


def best_gamma(curve: Curve) -> tuple[float, float]:
    """Return the γ with the highest H, and this H.  On test rows it is an upper bound, not a result."""
    gamma = choose_gamma([curve])
    return gamma, curve.harmonic_at(gamma)
