"""How sure a difference in AUSUC is: a paired bootstrap over the classes and the photos of folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zsl.scores.curves import margins_of
from zsl.scores.details import Details


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A difference, and where 95 % of its resamples lie; fractions."""

    difference: float
    low: float
    high: float

    @property
    def is_sure(self) -> bool:
        """Whether 0 lies outside."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """The margins of one test part [N], in rising order, and the photos' weights in its accuracy [N]."""

    order: Tensor
    margins: Tensor
    weights: Tensor

    def up_to(self, edges: Tensor, times: Tensor) -> Tensor:
        """Accuracy [R, E] of photos with a margin of at most each edge; times [R, N]: how often each photo counts."""
        total = torch.nn.functional.pad((times * self.weights)[:, self.order].cumsum(1), (1, 0))
        return total[:, torch.searchsorted(self.margins, edges, right=True)]


def ausuc_difference(a: Sequence[Details], b: Sequence[Details], *, resamples: int = 1000, seed: int = 0) -> Interval:
    """B minus A in AUSUC, mean over folds; `a` and `b` hold one model a fold each, of equal rows.

    A resample draws classes of either test part with replacement, then photos within each class, and both models of a
    fold get the same draw.  So the interval also shows the effect of other classes, which a verdict on unseen ones
    needs.  Drawn classes change the weights of photos; which classes a model can choose from stays.

    Raises:
        ValueError: the models of a fold were tested on different rows.
    """
    rng, differences, drawn = np.random.default_rng(seed), [], []
    for of_a, of_b in zip(a, b, strict=True):
        if not (of_a.seen_rows.equal(of_b.seen_rows) and of_a.unseen_rows.equal(of_b.unseen_rows)):
            raise ValueError("the two models of a fold were tested on different rows; make the fold anew")
        parts = (of_a.seen_labels, of_a.unseen_labels)
        once = tuple(torch.ones(1, len(labels), dtype=torch.float64) for labels in parts)
        times = tuple(_draw(labels.numpy(), resamples, rng) for labels in parts)
        differences.append((weighted_ausuc(of_b, *once) - weighted_ausuc(of_a, *once)).item())
        drawn.append((weighted_ausuc(of_b, *times) - weighted_ausuc(of_a, *times)).numpy())
    low, high = np.quantile(np.mean(drawn, axis=0), (0.025, 0.975))
    return Interval(difference=float(np.mean(differences)), low=float(low), high=float(high))


def weighted_ausuc(details: Details, seen_times: Tensor, unseen_times: Tensor) -> Tensor:
    """AUSUC [R] where photo n counts `times[r, n]` times its weight in the mean over classes; float64.

    seen_times, unseen_times: [R, N] of the two test parts, with mean 1 where accuracies are to stay below 1.
    """
    is_seen = ~torch.isin(details.gzsl_classes, details.zsl_classes)
    seen = _part(details.seen_scores, details.seen_labels, details.gzsl_classes, is_seen, is_seen)
    unseen = _part(details.unseen_scores, details.unseen_labels, details.gzsl_classes, is_seen, ~is_seen)
    inner = torch.cat([seen.margins, unseen.margins]).unique()
    infinity = inner.new_tensor([torch.inf])
    edges = torch.cat([-infinity, inner[inner.isfinite()], infinity])
    of_seen, of_unseen = seen.up_to(edges, seen_times), unseen.up_to(edges, unseen_times)
    return torch.trapezoid(of_seen[:, -1:] - of_seen[:, :-1], of_unseen[:, :-1])


def _part(scores: Tensor, labels: Tensor, classes: Tensor, is_seen: Tensor, part: Tensor) -> _Part:
    margins, weights = margins_of(scores, labels, classes, is_seen, part)
    order = margins.argsort()
    return _Part(order=order, margins=margins[order], weights=weights)


def _draw(labels: np.ndarray, resamples: int, rng: np.random.Generator) -> Tensor:
    """How often each photo [N] counts in each resample: draws of its class times draws of it within its class."""
    classes = np.unique(labels)
    of_class = rng.multinomial(len(classes), np.full(len(classes), 1 / len(classes)), size=resamples)
    times = np.zeros((resamples, len(labels)))
    for position, label in enumerate(classes):
        photos = np.flatnonzero(labels == label)
        within = rng.multinomial(len(photos), np.full(len(photos), 1 / len(photos)), size=resamples)
        times[:, photos] = within * of_class[:, position : position + 1]
    return torch.from_numpy(times)
