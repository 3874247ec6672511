"""Splits within the trainval rows, on which everything is chosen: validation folds and calibration folds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from zsl.common.determinism import derive_seed
from zsl.datasets.class_lists import read_class_list
from zsl.datasets.splits import Splits

MOST_CALIBRATION_FOLDS = 10  # each is one more training of the configuration that was chosen


def validation_fold(
    splits: Splits, folder: Path, fold: int, rows: np.ndarray, labels: np.ndarray, held_out: float = 0.2
) -> Splits:
    """Splits of validation fold `fold` (1, 2 or 3), in which hyper-parameters may be chosen.

    Only trainval rows occur in it.  The classes of `folder/valclasses<fold>.txt` play the unseen classes; the other
    seen classes stay seen, with a share of `held_out` of each one's images playing test_seen.  `rows` and `labels` [N]
    name the class of each row at hand.
    """
    names = read_class_list(Path(folder) / f"valclasses{fold}.txt")
    unknown = sorted(set(names) - set(splits.class_names))
    if unknown:
        raise ValueError(f"valclasses{fold}.txt names {unknown[0]!r}, which is not a class of the split file")
    chosen = np.isin(splits.seen, [splits.class_names.index(name) for name in names])
    seen, unseen = (~chosen).sum(), chosen.sum()
    if seen < 2 or unseen < 1:
        raise ValueError(f"fold {fold} leaves {seen} seen and {unseen} unseen classes; two and one are needed at least")
    return _hold_out(splits, chosen, f"validation fold {fold}", fold, rows, labels, held_out)


def calibration_folds(splits: Splits, rows: np.ndarray, labels: np.ndarray, held_out: float = 0.2) -> dict[int, Splits]:
    """Splits within trainval in which as large a share of the classes is unseen as in the test: for γ, by number.

    The seen classes are dealt at random into as many folds as the unseen ones' share allows (CUB: 4 of 37 or 38, AWA: 5
    of 8, SUN: 10), so that each plays unseen once; at most 10, and none at all where a fold would be left with fewer
    than two seen classes.  The best γ falls with the share of unseen classes, and the official folds have more of them
    than the test (CUB: 50 of 150 against 50 of 200).
    """
    seen = len(splits.seen)
    count = min(max(2, round(1 + seen / len(splits.unseen))), seen, MOST_CALIBRATION_FOLDS)
    if seen - -(-seen // count) < 2:  # fewer leave training nothing to tell apart
        return {}
    dealt = np.random.default_rng(derive_seed(count, "calibration folds")).permutation(seen) % count
    return {
        number: _hold_out(splits, dealt == number - 1, f"calibration fold {number}", number, rows, labels, held_out)
        for number in range(1, count + 1)
    }


def _hold_out(
    splits: Splits, chosen: np.ndarray, name: str, number: int, rows: np.ndarray, labels: np.ndarray, held_out: float
) -> Splits:
    """Of the seen classes the `chosen` [S] play unseen, and of the others' images a share plays test_seen."""
    unseen, seen = splits.seen[chosen], splits.seen[~chosen]
    row_label = dict(zip(rows.tolist(), labels.tolist(), strict=True))
    trainval_labels = np.array([row_label[row] for row in splits.trainval_loc.tolist()])
    rng = np.random.default_rng(derive_seed(number, name.rstrip(" 0123456789")))
    test_seen = np.sort(
        np.concatenate(
            [_share(splits.trainval_loc[trainval_labels == class_id], held_out, rng) for class_id in seen.tolist()]
        )
    )
    if not len(test_seen):
        raise ValueError(
            f"{name}: no seen class has two trainval images, of which one could play test_seen; nothing can be chosen"
        )
    of_seen = splits.trainval_loc[np.isin(trainval_labels, seen)]
    return replace(
        splits,
        seen=seen,
        unseen=unseen,
        trainval_loc=np.setdiff1d(of_seen, test_seen),
        test_seen_loc=test_seen,
        test_unseen_loc=splits.trainval_loc[np.isin(trainval_labels, unseen)],
        verdict=f"{name} of {splits.verdict}",
    )


def _share(rows: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """About `share` of the rows, at random: one at least, never all of them."""
    return rng.permutation(rows)[: min(max(1, round(share * len(rows))), len(rows) - 1)]
