"""Splits within the trainval rows, on which everything is chosen: validation folds and calibration folds."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from zsl.common.determinism import derive_seed
from zsl.datasets.class_lists import read_class_list
from zsl.datasets.held_out import hold_out
from zsl.datasets.splits import Splits

FOLD = "validation fold"  # how the verdict of a fold's splits begins; its number follows
MOST_CALIBRATION_FOLDS = 10  # each is one more training of the configuration that was chosen


def validation_fold(
    splits: Splits, folder: Path, fold: int, rows: np.ndarray, labels: np.ndarray, held_out: float = 0.2
) -> Splits:
    """Splits of validation fold `fold` (1, 2 or 3), in which hyper-parameters may be chosen.

    Only trainval rows occur in it.  The classes of `folder/valclasses<fold>.txt` play the unseen classes; the other
    seen classes stay seen, and a share `held_out` of the images of each plays test_seen.  `labels` [N] are the class
    ids of the `rows` [N] at hand.

    Raises:
        FileNotFoundError: the folder has no such list.
        ValueError: the list names an unknown class, or leaves fewer than two seen classes or no unseen one; or no seen
            class has two images.
    """
    names = read_class_list(Path(folder) / f"valclasses{fold}.txt")
    unknown = sorted(set(names) - set(splits.class_names))
    if unknown:
        raise ValueError(f"valclasses{fold}.txt names {unknown[0]!r}, which is not a class of the split file")
    label_of = {name: label for label, name in enumerate(splits.class_names)}
    unseen_mask = np.isin(splits.seen, [label_of[name] for name in names])
    seen, unseen = (~unseen_mask).sum(), unseen_mask.sum()
    if seen < 2 or unseen < 1:
        raise ValueError(f"fold {fold} leaves {seen} seen and {unseen} unseen classes; two and one are needed at least")
    return _play(splits, unseen_mask, f"{FOLD} {fold}", fold, rows, labels, held_out)


def fold_number(verdict: str) -> int | None:
    """The number of the validation fold whose splits have this `verdict`; None: they are of no validation fold."""
    match = re.match(rf"{FOLD} (\d)", verdict)
    return int(match[1]) if match else None


def calibration_folds(
    splits: Splits, rows: np.ndarray, labels: np.ndarray, held_out: float = 0.2, *, count: int | None = None
) -> dict[int, Splits]:
    """Splits within trainval, by number, in which as large a share of the classes is unseen as in the test; for γ.

    The seen classes fall at random into `count` folds, so that each plays unseen once; None: `fold_count`.  There are
    no folds where a fold would have fewer than two seen classes.  The best γ falls with the share of unseen classes,
    and the official folds have more of them than the test (CUB: 50 of 150 against 50 of 200).
    """
    seen = len(splits.seen)
    count = fold_count(splits) if count is None else min(count, seen)
    if seen - -(-seen // count) < 2:  # fewer leave training nothing to tell apart
        return {}
    fold_of = 1 + np.random.default_rng(derive_seed(count, "calibration folds")).permutation(seen) % count  # [S]
    return {
        number: _play(splits, fold_of == number, f"calibration fold {number}", number, rows, labels, held_out)
        for number in range(1, count + 1)
    }


def fold_count(splits: Splits, most: int = MOST_CALIBRATION_FOLDS) -> int:
    """As many folds as the unseen classes' share allows (CUB: 4 of 37 or 38 classes, AWA: 5 of 8, SUN: 10)."""
    seen = len(splits.seen)
    return min(max(2, round(1 + seen / len(splits.unseen))), seen, most)


def _play(
    splits: Splits, unseen_mask: np.ndarray, name: str, number: int, rows: np.ndarray, labels: np.ndarray, share: float
) -> Splits:
    """Splits in which the seen classes of `unseen_mask` [S] play unseen, and a share of the others' rows test_seen."""
    unseen, seen = splits.seen[unseen_mask], splits.seen[~unseen_mask]
    order = np.argsort(rows)
    trainval_labels = labels[order[np.searchsorted(rows, splits.trainval_loc, sorter=order)]]
    of_seen = np.isin(trainval_labels, seen)
    seen_rows = splits.trainval_loc[of_seen]
    rng = np.random.default_rng(derive_seed(number, name.rstrip(" 0123456789")))
    test_seen = seen_rows[hold_out(trainval_labels[of_seen], share, lambda label: rng)]
    if not len(test_seen):
        raise ValueError(
            f"{name}: no seen class has two trainval images, of which one could play test_seen; nothing can be chosen"
        )
    return replace(
        splits,
        seen=seen,
        unseen=unseen,
        trainval_loc=np.setdiff1d(seen_rows, test_seen),
        test_seen_loc=test_seen,
        test_unseen_loc=splits.trainval_loc[np.isin(trainval_labels, unseen)],
        verdict=f"{name} of {splits.verdict}",
    )
