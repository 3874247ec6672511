"""Units in which γ travels from one model to another, and which unit loses least on the way.

A model that knows more classes, or was trained longer, has larger scores.  So a γ that is best for the model of a fold
need not be best for the final model.  Each unit measures γ in quantities of the model itself.  All but ALG need photos
of seen classes that the model was not fitted to, and of which the labels are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zsl.scores.curves import Curve, choose_gamma


@dataclass(frozen=True, kw_only=True, eq=False)
class Yardstick:
    """What a model says about photos of seen classes; γ is measured in it."""

    margins: Tensor  # [N] float64: best seen minus best unseen score of photos that the model was not fitted to
    alg: float  # `logit_gap` of the photos that the model was fitted to


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A unit of γ: how many units a γ has for a model, and back."""

    text: str
    measure: Callable[[Tensor, Yardstick], Tensor]  # γ [n] to numbers of units [n]; it never falls
    gamma: Callable[[Tensor, Yardstick], Tensor]  # numbers of units [n] to γ [n]


def logit_gap(scores: Tensor, labels: Tensor, classes: Tensor, is_seen: Tensor) -> float:
    """ALG: mean score of the wrong seen classes minus mean score of the unseen ones, mean over training photos.

    A zero-shot γ without folds (Mai et al. 2024, Fine-tuning is fine, if calibrated).

    scores: [N, S + U].  labels: class ids [N], all seen.  classes: ids of the columns.  is_seen: of the columns.
    """
    scores = scores.double()
    true = labels[:, None] == classes[None, :]
    wrong = is_seen[None, :] & ~true
    of_wrong = torch.where(wrong, scores, 0.0).sum(1) / wrong.sum(1)
    return float((of_wrong - scores[:, ~is_seen].mean(1)).mean())


def sent_to_unseen(gamma: Tensor, margins: Tensor) -> Tensor:
    """The share of photos with these margins [N] whose prediction is an unseen class at γ [n].

    The share is interpolated between the margins, so that it rises with γ from the lowest margin to the highest.
    """
    at = margins.sort().values
    below = (torch.searchsorted(at, gamma.contiguous()) - 1).clamp(0, len(at) - 2)
    width = (at[below + 1] - at[below]).clamp(min=torch.finfo(at.dtype).tiny)
    return ((below + ((gamma - at[below]) / width).clamp(0, 1)) / (len(at) - 1)).clamp(0, 1)


def gamma_of_share(share: Tensor, margins: Tensor) -> Tensor:
    """The γ [n] at which a `share` [n] of photos with these margins [N] is sent to unseen classes."""
    return torch.quantile(margins, share.clamp(0, 1))


UNITS: Mapping[str, Unit] = {
    "raw": Unit(text="γ as it is", measure=lambda gamma, _: gamma, gamma=lambda value, _: value),
    "spread": Unit(
        text="γ divided by the standard deviation of the margins of held-out seen photos",
        measure=lambda gamma, yardstick: gamma / yardstick.margins.std(),
        gamma=lambda value, yardstick: value * yardstick.margins.std(),
    ),
    "share": Unit(
        text="share of held-out seen photos that γ sends to unseen classes",
        measure=lambda gamma, yardstick: sent_to_unseen(gamma, yardstick.margins),
        gamma=lambda value, yardstick: gamma_of_share(value, yardstick.margins),
    ),
    "alg": Unit(
        text="γ divided by the mean logit gap of training photos",
        measure=lambda gamma, yardstick: gamma / abs(yardstick.alg),
        gamma=lambda value, yardstick: value * abs(yardstick.alg),
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """A model of a fold: its curve, and a yardstick of photos that are not on the curve."""

    fold: int
    curve: Curve
    yardstick: Yardstick


def value_in(unit: Unit, judged: Sequence[Judged]) -> float:
    """The number of units that has the highest mean H over `judged`; exact, as `choose_gamma` is."""
    curves = [replace(each.curve, breakpoints=unit.measure(each.curve.breakpoints, each.yardstick)) for each in judged]
    return choose_gamma(curves)


def gamma_in(unit: Unit, value: float, yardstick: Yardstick) -> float:
    """The γ of a model that has so many units."""
    return float(unit.gamma(torch.tensor([value], dtype=torch.float64), yardstick)[0])


def harmonic_lost(unit: Unit, judged: Sequence[Judged]) -> float:
    """H lost when a fold's γ comes from the other folds in this unit, against the fold's best γ; mean over folds.

    Raises:
        ValueError: there is one fold alone, so that no other fold can choose.
    """
    lost = []
    for each in judged:
        others = [other for other in judged if other.fold != each.fold]
        if not others:
            raise ValueError("one fold alone: no other fold can choose its γ")
        gamma = gamma_in(unit, value_in(unit, others), each.yardstick)
        lost.append(each.curve.harmonic.max().item() - each.curve.harmonic_at(gamma))
    return sum(lost) / len(lost)
