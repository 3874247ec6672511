"""Class folds for fine-tuned weights: each fold has weights of its own, which do not know what judges there."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from zsl.datasets.folds import calibration_folds
from zsl.datasets.splits import Splits
from zsl.features.pretraining import check_tuned_photos, tuned_on
from zsl.features.split import TestSplit, TrainSplit, split_features
from zsl.features.table import FeatureTable


def check_class_fold(table: FeatureTable, splits: Splits, number: int) -> None:
    """Refuse features, or weights to start from, that know a class or a photo which judges in a class fold.

    Raises:
        ValueError: the weights were tuned on a left-out class, or on a held-out photo of the others.
    """
    if taught := tuned_on(table.manifest.finetuned, splits.unseen_names):
        raise ValueError(
            f"the weights were fine-tuned on {len(taught)} of {len(splits.unseen)} classes that class fold {number} "
            f"leaves out, {taught[0]!r} is the first: nothing can be judged there.  scripts/finetune.py writes the "
            f"weights of a fold beside the others: crossfit-{number}/weights.safetensors; from these weights on, tune "
            "with --crossfit 0"
        )
    check_tuned_photos(table.tuned_rows, splits)


def class_fold_parts(
    tables: Mapping[int, FeatureTable], splits: Splits, device: torch.device
) -> dict[int, tuple[TrainSplit, TestSplit]]:
    """The class folds of `splits`, on `device`; `tables` has the features by the weights of each fold, by number.

    Raises:
        ValueError: the features of a fold know a class or a photo that judges there.
    """
    parts = {}
    for number, table in tables.items():
        of_fold = calibration_folds(splits, table.rows, table.labels, count=len(tables))[number]
        check_class_fold(table, of_fold, number)
        parts[number] = split_features(table, of_fold, device)
    return parts
