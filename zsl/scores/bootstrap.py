"""Resamples of a test, and the scores of a model in each of them.

A resample gives each test image a weight.  The weights of a class's images add up to the class's share of the mean over
classes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from zsl.scores.curves import margins
from zsl.scores.details import Details

Level = Literal["images", "classes", "seeds"]  # what a resample draws with replacement
IMAGES: tuple[Level, ...] = ("images",)
COLUMNS = ("T1", "U", "S", "H", "AUSUC")


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


@dataclass(frozen=True, eq=False)
class Resamples:
    """The weights of the test images in each resample."""

    unseen: np.ndarray  # [R, N] of the test_unseen images
    seen: np.ndarray  # [R, N] of the test_seen images

    @classmethod
    def draw(cls, of: Details, count: int, rng: np.random.Generator, levels: Collection[Level]) -> Resamples:
        """Draw `count` resamples of the images that the model of `of` was tested on."""
        unseen, seen = (
            resampled_weights(labels.numpy(), count, rng, levels) for labels in (of.unseen_labels, of.seen_labels)
        )
        return cls(unseen, seen)

    @classmethod
    def none(cls, of: Details) -> Resamples:
        """Return the test itself, as one resample."""
        unseen, seen = (equal_weights(labels.numpy())[None] for labels in (of.unseen_labels, of.seen_labels))
        return cls(unseen, seen)

    def scores(self, details: Details) -> np.ndarray:
        """Compute the scores of a model in each resample, in the order of COLUMNS: [5, R]."""
        zsl = self.unseen @ _hits(details.unseen_zsl_predicted, details.unseen_labels)
        unseen = self.unseen @ _hits(details.unseen_predicted, details.unseen_labels)
        seen = self.seen @ _hits(details.seen_predicted, details.seen_labels)
        harmonic = 2 * seen * unseen / np.maximum(seen + unseen, np.finfo(float).tiny)
        return np.stack([zsl, unseen, seen, harmonic, self.ausuc(details)])

    def ausuc(self, details: Details) -> np.ndarray:
        """Compute the area under the seen-unseen curve in each resample: [R].

        U rises at the margin of each test_unseen image that is right among unseen classes.  There S is the weight of
        the test_seen images that are right among seen classes and have a larger margin; of equal margins half counts.
        So the area is the sum of each rise times its S.
        """
        at, rises = _right_margins(details, "unseen")
        margins_of_seen, falls = _right_margins(details, "seen")
        order = np.argsort(margins_of_seen)
        below = np.cumsum(self.seen[:, order] * falls[order], axis=1)
        below = np.concatenate([np.zeros((len(below), 1)), below], axis=1)  # [R, N + 1] weight of the first k images
        first, last = (np.searchsorted(margins_of_seen[order], at, side) for side in ("left", "right"))
        above = below[:, -1:] - (below[:, first] + below[:, last]) / 2  # [R, unseen images] S at each rise
        return (self.unseen * rises * above).sum(1)


def resampled_weights(
    labels: np.ndarray, count: int, rng: np.random.Generator, levels: Collection[Level] = IMAGES
) -> np.ndarray:
    """Draw the weights of images with these class ids [N] in `count` resamples: [count, N].

    levels: "images" draws the images of each class, "classes" draws the classes, both with replacement.
    """
    classes, position = np.unique(labels, return_inverse=True)
    times: np.ndarray = np.ones((count, len(classes)))
    if "classes" in levels:
        times = rng.multinomial(len(classes), np.full(len(classes), 1 / len(classes)), size=count)
    weights = times[:, position] * equal_weights(labels)
    of_classes = np.split(np.argsort(position, kind="stable"), np.cumsum(np.bincount(position))[:-1])
    for members in of_classes if "images" in levels else ():
        n = len(members)
        weights[:, members] *= rng.multinomial(n, np.full(n, 1 / n), size=count)  # how often each image is drawn
    return weights


def equal_weights(labels: np.ndarray) -> np.ndarray:
    """Return the weight of each image in a mean over classes: [N]; labels: class ids [N]."""
    _, position, count = np.unique(labels, return_inverse=True, return_counts=True)
    return 1 / (count[position] * len(count))


def resampled_seeds(
    seeds: Sequence[int], count: int, rng: np.random.Generator, levels: Collection[Level]
) -> np.ndarray:
    """Draw the weights of a run's seeds in `count` resamples: [count, seeds]; their sum is 1."""
    n = len(seeds)
    times = rng.multinomial(n, np.full(n, 1 / n), size=count) if "seeds" in levels else np.ones((count, n))
    return times / n


def ausuc_difference(a: Sequence[Details], b: Sequence[Details], *, resamples: int = 1000, seed: int = 0) -> Interval:
    """B minus A in AUSUC, mean over folds; `a` and `b` hold one model a fold each, of equal rows.

    A resample draws classes and photos within each class, and both models of a fold get the same draw.  So the interval
    also shows the effect of other classes, which a verdict on unseen ones needs.

    Raises:
        ValueError: the models of a fold were tested on different rows.
    """
    rng, differences, drawn = np.random.default_rng(seed), [], []
    for of_a, of_b in zip(a, b, strict=True):
        if not (of_a.seen_rows.equal(of_b.seen_rows) and of_a.unseen_rows.equal(of_b.unseen_rows)):
            raise ValueError("the two models of a fold were tested on different rows; make the fold anew")
        whole, draws = Resamples.none(of_a), Resamples.draw(of_a, resamples, rng, ("classes", "images"))
        differences.append((whole.ausuc(of_b) - whole.ausuc(of_a)).item())
        drawn.append(draws.ausuc(of_b) - draws.ausuc(of_a))
    low, high = np.quantile(np.mean(drawn, axis=0), (0.025, 0.975))
    return Interval(difference=float(np.mean(differences)), low=float(low), high=float(high))


def _hits(predicted: Tensor, labels: Tensor) -> np.ndarray:
    return (predicted == labels).double().numpy()


def _right_margins(details: Details, part: Literal["seen", "unseen"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the margins of a part's test images [N], and 1 for each that is right in its part [N].

    At the margin of a test_unseen image U rises; an infinite one is at no γ, so it counts as 0.
    """
    scores, labels = getattr(details, f"{part}_scores"), getattr(details, f"{part}_labels")
    is_seen = ~torch.isin(details.gzsl_classes, details.zsl_classes)
    of_part = is_seen if part == "seen" else ~is_seen
    values, weights = margins(scores, labels, details.gzsl_classes, is_seen, of_part)
    right = weights > 0 if part == "seen" else (weights > 0) & values.isfinite()
    return values.numpy(), right.double().numpy()
