"""Calibrated stacking: seen and unseen accuracy when one constant γ is taken off every seen class's score.

(Chao et al. 2016, An empirical study and analysis of generalized zero-shot learning.)  Only one thing can happen to an
image as γ grows: at its margin, best seen score minus best unseen score, it passes from its best seen class to its best
unseen one.  So the curve is found exactly, by sorting the margins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

TIE = 1e-12  # a sum of thousands of float64 weights is that exact; accuracies differ by more or not at all


@dataclass(frozen=True, eq=False)
class Curve:
    """U and S as step functions of γ; piece k is breakpoints[k - 1] < γ <= breakpoints[k].  All float64."""

    breakpoints: Tensor  # [K] rising
    unseen: Tensor  # [K + 1] U, per-class mean accuracy of the test_unseen images: never falls
    seen: Tensor  # [K + 1] S, of the test_seen images: never rises

    @property
    def harmonic(self) -> Tensor:
        """H of each piece [K + 1]; 0 where U and S are."""
        total = self.seen + self.unseen
        return torch.where(total > 0, 2 * self.seen * self.unseen / total, 0.0)

    @property
    def ausuc(self) -> float:
        """Area under S over U, from U = 0 (γ low) to S = 0 (γ high), by the trapezoid rule.

        As long as images pass one at a time, each step is along one axis and the step rule gives the same; images with
        equal margins pass together, along a diagonal.
        """
        return min(torch.trapezoid(self.seen, self.unseen).item(), 1.0)

    def piece(self, gamma: Tensor) -> Tensor:
        """Position of the piece in which each γ lies."""
        return torch.searchsorted(self.breakpoints, gamma)

    def at(self, gamma: float) -> tuple[float, float]:
        """U and S at γ; an image whose margin is γ itself is given its seen class."""
        k = self.piece(torch.tensor(gamma, dtype=torch.float64))
        return self.unseen[k].item(), self.seen[k].item()

    def harmonic_at(self, gamma: float) -> float:
        """H at γ."""
        return self.harmonic[self.piece(torch.tensor(gamma, dtype=torch.float64))].item()


def seen_unseen_curve(
    seen_scores: Tensor,
    seen_labels: Tensor,
    unseen_scores: Tensor,
    unseen_labels: Tensor,
    classes: Tensor,
    is_seen: Tensor,
) -> Curve:
    """The whole curve of two test parts.

    seen_scores, unseen_scores: [N, S + U] of the test_seen and the test_unseen images; labels: their class ids [N];
    classes: the columns' ids [S + U]; is_seen: which columns are seen classes [S + U].
    """
    seen_margins, seen_right = _passing(seen_scores, seen_labels, classes, is_seen, is_seen)
    unseen_margins, unseen_right = _passing(unseen_scores, unseen_labels, classes, is_seen, ~is_seen)
    # Where a wrongly named image passes, nothing changes; one with an infinite margin passes at no γ.
    breakpoints = torch.cat([seen_margins[seen_right > 0], unseen_margins[unseen_right > 0]]).unique()
    breakpoints = breakpoints[breakpoints.isfinite()]
    infinity = breakpoints.new_tensor([torch.inf])
    edges = torch.cat([-infinity, breakpoints, infinity])
    unseen = _passed(unseen_margins, unseen_right, edges)
    seen = _passed(seen_margins, seen_right, edges)
    return Curve(breakpoints, unseen=unseen[:-1].clamp(0, 1), seen=(seen[-1] - seen[:-1]).clamp(0, 1))


def _passing(scores: Tensor, labels: Tensor, classes: Tensor, is_seen: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Margins [N], and each image's part [N] of its per-class mean accuracy: 0 if the best of its `own` is wrong."""
    scores = scores.double()
    margins = scores[:, is_seen].amax(1) - scores[:, ~is_seen].amax(1)
    _, position, count = labels.unique(return_inverse=True, return_counts=True)
    right = classes[own][scores[:, own].argmax(1)] == labels
    return margins, right / (count[position] * len(count)).double()


def _passed(margins: Tensor, weights: Tensor, edges: Tensor) -> Tensor:
    """Total weight of the images that have passed when γ has just passed each edge."""
    order = margins.argsort()
    total = torch.cat([weights.new_zeros(1), weights[order].cumsum(0)])
    return total[torch.searchsorted(margins[order], edges, right=True)]


def choose_gamma(curves: Sequence[Curve]) -> float:
    """The γ with the highest mean H over `curves`, of one fold each: exact, over all their breakpoints.

    It lies midway between two breakpoints; of several such γ the one nearest to 0 is taken, then the lower one.
    """
    breakpoints = torch.cat([curve.breakpoints for curve in curves]).unique()
    if len(breakpoints) == 0:  # no image is ever right
        return 0.0
    between = (breakpoints[1:] + breakpoints[:-1]) / 2
    gammas = torch.cat([breakpoints[:1] - 1, between, breakpoints[-1:] + 1])
    harmonic = torch.stack([curve.harmonic[curve.piece(gammas)] for curve in curves]).mean(0)
    best: list[float] = gammas[harmonic >= harmonic.max() - TIE].tolist()
    return min(best, key=lambda gamma: (abs(gamma), gamma))


def best_gamma(curve: Curve) -> tuple[float, float]:
    """The γ with the highest H, and that H.  On test rows this is an upper bound, not a result."""
    gamma = choose_gamma([curve])
    return gamma, curve.harmonic_at(gamma)
