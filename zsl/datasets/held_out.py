"""Hold out a share of each class's images: for test_seen rows, validation folds and the epochs of fine-tuning."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

TEST_SEEN_SHARE = 0.2  # of each seen class's photos, as in the Proposed Splits
VALIDATION_SHARE = 0.28  # of the seen classes; below 1/3, so that the validation classes of three folds are disjoint


def hold_out(labels: np.ndarray, share: float, generator: Callable[[int], np.random.Generator]) -> np.ndarray:
    """Positions in `labels` [N] that are held out, sorted: about `share` of each class, at random.

    One image of a class at least is held out, and one at least is not; of a single image none is.  `generator` returns
    the random numbers of a class.  Folds draw all classes from one generator, one after the other; fine-tuning and
    benchmarks of one's own have one for each class, so that a class's share does not depend on the other classes.
    """
    if not len(labels):
        return np.zeros(0, dtype=np.int64)
    classes, counts = np.unique(labels, return_counts=True)
    of_classes = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    positions = [
        _share(of_class, share, generator(label)) for label, of_class in zip(classes.tolist(), of_classes, strict=True)
    ]
    return np.sort(np.concatenate(positions))


def _share(positions: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """About `share` of the positions [n] of one class."""
    return rng.permutation(positions)[: min(max(1, round(share * len(positions))), len(positions) - 1)]
