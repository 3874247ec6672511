"""A feature table and its split files to the splits, folds and features that training and evaluation take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote

import torch

from backbones import PRESETS, find_preset
from backbones.options import named_options
from zsl.datasets import attribute_names, class_names
from zsl.datasets.class_lists import FOLDS, check_class_lists
from zsl.datasets.class_vectors import ClassVectors, with_vectors
from zsl.datasets.folds import calibration_folds, validation_fold
from zsl.datasets.places import benchmark_name, check_known, features_folder, names_file, shards_folder, splits_folder
from zsl.datasets.split_file import AttributeKind, read_split_file, rows_hash
from zsl.datasets.splits import Splits, make_splits
from zsl.features.manifest import MANIFEST_FILE
from zsl.features.origin import check_shards_below, check_source
from zsl.features.pretraining import check_tuned_fold, check_tuned_photos, check_tuned_rows, knows_judges
from zsl.features.split import TestSplit, TrainSplit, split_features
from zsl.features.table import FeatureTable


def find_features(data: Path, benchmark: str, backbone: str) -> Path:
    """The folder of the feature table of `backbone`: a preset or timm model with its options, or the folder's name.

    Raises:
        FileNotFoundError: there is no such table; the message names those that there are.
        ValueError: there is no such benchmark; or the name means two tables, one of them an imported file's.
    """
    check_known(benchmark, data)
    tables = sorted(path.parent for path in features_folder(data, benchmark, "x").parent.glob(f"*/{MANIFEST_FILE}"))
    for table in tables:
        if table.name == backbone:
            _check_only_meaning(backbone, tables)
            return table
    folder = features_folder(data, benchmark, table_name(backbone))
    if folder not in tables:
        raise FileNotFoundError(
            f"no features of {folder.name} for {benchmark} in {folder.parent}; there are "
            f"{', '.join(table.name for table in tables) or 'none'}.  Make them with "
            f"accelerate launch scripts/extract.py --benchmark {quote(benchmark)} --backbone {quote(backbone)}"
        )
    return folder


def _check_only_meaning(backbone: str, tables: Sequence[Path]) -> None:
    """Refuse the name of a table, such as that of an imported `resnet101.mat`, that is also a backbone's with a table.

    Raises:
        ValueError: there are two tables of this name; the message names both.
    """
    names = {table.name for table in tables}
    if backbone in PRESETS or any(name.startswith(f"{backbone}.") for name in names):
        other = table_name(backbone)
        if other != backbone and other in names:
            raise ValueError(
                f"--backbone {backbone} means two tables here, {backbone} and {other}; write {other}, or name the "
                f"folder of the one by --features, or rename the .mat file that the one was imported from"
            )


def table_name(backbone: str) -> str:
    """The name of the feature table of `backbone`, a preset or timm model with its options, and published weights.

    Raises:
        ValueError: there is no such backbone.
    """
    name, options = named_options(backbone)
    return find_preset(name).full_name + options.tag


def load_splits(
    benchmark: str,
    data: Path,
    table: FeatureTable,
    folder: Path | None = None,
    *,
    fold: int | None = None,
    attributes: AttributeKind = "att",
    normalise: bool = False,
    vectors: ClassVectors | None = None,
) -> Splits:
    """The splits that belong to `table`, from `folder` or from the copy that `make_shards` left.

    fold: the splits of this validation fold, in which no test row occurs; None: those of the benchmark.
    attributes, normalise: which class attributes the splits have (`read_split_file`).
    vectors: class vectors beside the attributes, or in their place.

    Raises:
        ValueError: the table is of another benchmark, or was made with other splits or from other shards than those
            below `data`; its backbone was fine-tuned with other splits, on test photos, or on the validation classes of
            the fold; or class lists and splits contradict each other; `vectors` lack a class; or an array of the table
            has changed since it was written.
    """
    name, manifest = benchmark_name(benchmark), table.manifest
    if manifest.benchmark != name:
        raise ValueError(f"the features are of {manifest.benchmark}, asked for is --benchmark {benchmark}")
    folder = folder or splits_folder(data, benchmark)
    split_file = read_split_file(folder, attributes=attributes, normalise=normalise)
    check_source(manifest, split_file, folder)
    check_shards_below(manifest, shards_folder(data, benchmark))
    splits = make_splits(split_file, table.rows, table.labels)
    splits = replace(
        splits, attribute_names=attribute_names.read_names(folder, splits.attributes.shape[1]),
        readable_names=class_names.read_names(names_file(data, benchmark), splits.class_names),
    )  # fmt: skip
    if vectors is not None:
        splits = with_vectors(splits, vectors)
    check_class_lists(splits, folder)
    check_tuned_rows(manifest.finetuned, name, split_file.hashes, rows_hash(splits.trainval_loc))
    table.check_content()
    if fold is None:
        check_tuned_photos(table.tuned_rows, splits)
        return splits
    of_fold = validation_fold(splits, folder, fold, table.rows, table.labels)
    check_tuned_fold(manifest.finetuned, name, fold, of_fold.unseen_names)
    check_tuned_photos(table.tuned_rows, of_fold)
    return of_fold


def load_folds(
    benchmark: str, data: Path, table: FeatureTable, device: torch.device, numbers: Sequence[int] = FOLDS,
    vectors: ClassVectors | None = None,
) -> dict[int, tuple[TrainSplit, TestSplit]]:  # fmt: skip
    """The validation folds of these numbers, in whose test parts no test row occurs, on `device`."""
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(f"--folds {' '.join(map(str, numbers))}: name at least one, and each once")
    folds = {number: load_splits(benchmark, data, table, fold=number, vectors=vectors) for number in numbers}
    return {number: split_features(table, splits, device) for number, splits in folds.items()}


def load_calibration(
    table: FeatureTable, splits: Splits, device: torch.device
) -> dict[int, tuple[TrainSplit, TestSplit]]:
    """The calibration folds of `splits`, on `device`; none where the backbone was tuned on what judges in one."""
    folds = calibration_folds(splits, table.rows, table.labels)
    tuned, benchmark = table.manifest.finetuned, table.manifest.benchmark
    if any(knows_judges(tuned, table.tuned_rows, of_fold, benchmark) for of_fold in folds.values()):
        return {}
    return {number: split_features(table, splits, device) for number, splits in folds.items()}
