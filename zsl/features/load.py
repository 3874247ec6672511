"""A feature table and its splits to the data that training and evaluation are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backbones import find_preset
from zsl.datasets.attribute_names import read_names
from zsl.datasets.class_lists import FOLDS, check_class_lists
from zsl.datasets.folds import calibration_folds, validation_fold
from zsl.datasets.places import benchmark_name, check_known, features_folder, splits_folder
from zsl.datasets.split_file import PARTS, AttributeKind, read_split_file, rows_hash
from zsl.datasets.splits import Splits, attributes_hash, make_splits
from zsl.features.pretraining import check_tuned_fold, check_tuned_rows, judge_pretraining
from zsl.features.split import TestSplit, TrainSplit, split_features
from zsl.features.table import FeatureTable

FEATURE_FACTS = ("shards_sha256", "weights_sha256", "precision", "dim", "count", "transform", "encode")


def find_features(data: Path, benchmark: str, backbone: str) -> Path:
    """The folder of `backbone`'s feature table: preset, timm model, or full name with weights tag.

    Raises:
        FileNotFoundError: it is not there; the message names the tables that are.
        ValueError: there is no such benchmark.
    """
    check_known(benchmark, data)
    tables = sorted(path.parent for path in features_folder(data, benchmark, "x").parent.glob("*/manifest.json"))
    for table in tables:
        if table.name == backbone:
            return table
    preset = find_preset(backbone)
    folder = features_folder(data, benchmark, preset.full_name)
    if folder not in tables:
        raise FileNotFoundError(
            f"no features of {preset.full_name} for {benchmark} in {folder.parent}; there are "
            f"{', '.join(table.name for table in tables) or 'none'}.  Make them with "
            f"accelerate launch scripts/extract.py --benchmark {benchmark} --backbone {backbone}"
        )
    return folder


def load_splits(
    benchmark: str,
    data: Path,
    table: FeatureTable,
    folder: Path | None = None,
    *,
    fold: int | None = None,
    attributes: AttributeKind = "att",
    normalise: bool = False,
) -> Splits:
    """The splits that belong to `table`, from `folder` or from the copy that `make_shards` left.

    With `fold`, those of that validation fold, in which no test row occurs; features of a backbone that was fine-tuned
    on its validation classes are refused.  `attributes` and `normalise` say which class attributes are wanted
    (`read_split_file`).

    Raises:
        ValueError: the table is of another benchmark, or was made with other splits, or by a backbone that was
            fine-tuned with other splits; or class lists and splits contradict each other.
    """
    if table.manifest["benchmark"] != benchmark_name(benchmark):
        raise ValueError(f"the features are of {table.manifest['benchmark']}, asked for is --benchmark {benchmark}")
    folder = folder or splits_folder(data, benchmark)
    split_file = read_split_file(folder, attributes=attributes, normalise=normalise)
    made_with = table.manifest["source"]["split_hashes"]
    if made_with != list(split_file.hashes):
        raise ValueError(
            f"the features were made with splits {'/'.join(made_with)}, these are {'/'.join(split_file.hashes)}; "
            "make shards and features anew, or give the right --splits"
        )
    splits = make_splits(split_file, table.rows, table.labels)
    splits = replace(splits, attribute_names=read_names(folder, splits.attributes.shape[1]))
    check_class_lists(splits, folder)
    tuned, name = table.manifest.get("finetuned") or {}, benchmark_name(benchmark)
    check_tuned_rows(tuned, name, split_file.hashes, rows_hash(splits.trainval_loc))
    if fold is None:
        return splits
    of_fold = validation_fold(splits, folder, fold, table.rows, table.labels)
    check_tuned_fold(tuned, name, fold, _names(of_fold, of_fold.unseen))
    return of_fold


def _names(splits: Splits, classes: np.ndarray) -> list[str]:
    return [splits.class_names[class_id] for class_id in classes.tolist()]


def load_folds(
    benchmark: str, data: Path, table: FeatureTable, device: torch.device, numbers: Sequence[int] = FOLDS
) -> dict[int, tuple[TrainSplit, TestSplit]]:
    """The validation folds of these numbers, in whose test parts no test row occurs, on `device`."""
    if not numbers:
        raise ValueError("--folds without any: name at least one")
    folds = {number: load_splits(benchmark, data, table, fold=number) for number in numbers}
    return {number: split_features(table, splits, device) for number, splits in folds.items()}


def load_calibration(
    table: FeatureTable, splits: Splits, device: torch.device
) -> dict[int, tuple[TrainSplit, TestSplit]]:
    """The calibration folds of `splits`, on `device`; none for a fine-tuned backbone, which knows their classes."""
    if table.manifest.get("finetuned"):
        return {}
    folds = calibration_folds(splits, table.rows, table.labels)
    return {number: split_features(table, splits, device) for number, splits in folds.items()}


def describe_data(table: FeatureTable, splits: Splits) -> dict[str, Any]:
    """What a result says about the data behind it; the first two keys are part of the contract of `results.json`."""
    manifest = table.manifest
    lost = manifest.get("quarantined", 0)
    return {
        "benchmark": manifest["benchmark"],
        "backbone": manifest["backbone"],
        "pretraining": manifest["pretraining"],
        "unseen_classes": judge_pretraining(
            manifest["pretraining"], _names(splits, splits.unseen), manifest.get("finetuned")
        ),
        "data": manifest["source"]["verdict"] + (f"; {lost} photos QUARANTINED" if lost else ""),
        "missing_photos": manifest["source"]["missing"],
        "quarantined_photos": lost,
        "splits": splits.verdict,
        "attributes": splits.attribute_kind,
        "attributes_hash": attributes_hash(splits.attributes),
        "rows": {part: len(getattr(splits, part)) for part in PARTS},
        "classes": {"seen": len(splits.seen), "unseen": len(splits.unseen)},
        "features": describe_features(manifest)["features"],
    }


def describe_features(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What tells a feature table from any other: benchmark, backbone, and the facts of `manifest` behind its values."""
    facts = {key: manifest.get(key) for key in FEATURE_FACTS}
    facts["imported_sha256"] = (manifest.get("imported") or {}).get("sha256")
    return {"benchmark": manifest["benchmark"], "backbone": manifest["backbone"], "features": facts}
