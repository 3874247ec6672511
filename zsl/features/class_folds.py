"""Class folds for fine-tuned weights: each fold has weights of its own, which do not know what judges there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch

from zsl.datasets.folds import calibration_folds
from zsl.datasets.splits import Splits
from zsl.features.pretraining import check_tuned_photos, tuned_on
from zsl.features.split import TestSplit, TrainSplit, split_features
from zsl.features.table import FeatureTable


def fold_name(number: int | str) -> str:
    """The name of a class fold's folder, in the folder of its fine-tuning."""
    return f"crossfit-{number}"


def validation_fold_name(fold: int) -> str:
    """The name of an official validation fold's folder, in the folder of its fine-tuning."""
    return f"fold-{fold}"


def class_fold_weights(weights: Path) -> dict[int, Path]:
    """The file of weights of each class fold by number, beside the final `weights`; none without cross-fitting."""
    found = weights.parent.glob(f"{fold_name('*')}/{weights.name}")
    numbered = ((path.parent.name.removeprefix(fold_name("")), path) for path in found)
    return {int(number): path for number, path in numbered if number.isdecimal()}


def check_all_folds(numbers: Mapping[str, Collection[int]], counts: Collection[int]) -> None:
    """Check that each backbone has weights of the same class folds, and of all of them.

    numbers: of the folds that have weights, by the name of each backbone's weights.  counts: of folds, as the
    fine-tunings state them; empty: not known.

    Raises:
        ValueError: folds are missing, or differ.
    """
    expected = set(range(1, max([*counts, *(number for of_one in numbers.values() for number in of_one)]) + 1))
    if len(set(counts)) > 1 or any(set(of_one) != expected for of_one in numbers.values()):
        listed = "; ".join(f"{name}: {', '.join(map(str, sorted(of_one)))}" for name, of_one in numbers.items())
        raise ValueError(
            f"class folds with weights: {listed}; choices need all folds of each fine-tuning, and as many for each: "
            f"{', '.join(map(fold_name, sorted(expected)))}.  Run the same scripts/finetune.py again, or put them back"
        )


def check_class_fold(table: FeatureTable, splits: Splits, number: int) -> None:
    """Refuse features, or weights to start from, that know a class or a photo which judges in a class fold.

    Raises:
        ValueError: the weights were tuned on a left-out class, or on a held-out photo of the others.
    """
    if taught := tuned_on(table.manifest.finetuned, splits.unseen_names):
        raise ValueError(
            f"the weights were fine-tuned on {len(taught)} of {len(splits.unseen)} classes that class fold {number} "
            f"leaves out, {taught[0]!r} is the first: nothing can be judged there.  scripts/finetune.py writes the "
            f"weights of a fold beside the others: {fold_name(number)}/weights.safetensors; from these weights on, "
            "tune with --crossfit 0"
        )
    check_tuned_photos(table.tuned_rows, splits)


def class_fold_parts(
    tables: Mapping[int, FeatureTable], splits: Splits, device: torch.device
) -> dict[int, tuple[TrainSplit, TestSplit]]:
    """The class folds of `splits`, on `device`; `tables` has the features by the weights of each fold, by number.

    Raises:
        ValueError: the features of a fold are damaged, or know a class or a photo that judges there.
    """
    parts = {}
    for number, table in tables.items():
        of_fold = calibration_folds(splits, table.rows, table.labels, count=len(tables))[number]
        table.check_content()
        check_class_fold(table, of_fold, number)
        parts[number] = split_features(table, of_fold, device)
    return parts
