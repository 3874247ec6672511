"""A feature table and its split files to the splits, folds and features that training and evaluation take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from backbones import find_preset
from backbones.options import named_options
from shards import ShardIndex, read_index
from shards.index import INDEX_FILE
from zsl.datasets import attribute_names, class_names
from zsl.datasets.class_lists import FOLDS, check_class_lists
from zsl.datasets.class_vectors import ClassVectors, with_vectors
from zsl.datasets.folds import calibration_folds, validation_fold
from zsl.datasets.places import benchmark_name, check_known, features_folder, names_file, shards_folder, splits_folder
from zsl.datasets.split_file import AttributeKind, SplitFile, read_split_file, rows_hash
from zsl.datasets.splits import Splits, classes_hash, make_splits
from zsl.features.manifest import MANIFEST_FILE, Manifest
from zsl.features.pretraining import check_tuned_fold, check_tuned_photos, check_tuned_rows
from zsl.features.split import TestSplit, TrainSplit, split_features
from zsl.features.table import FeatureTable

EXTRACT_ANEW = "Delete the features' folder and extract anew"
EXTRACT_AGAIN = (
    "Features do not depend on splits: scripts/make_shards.py with the new ones, then scripts/extract.py, which keeps "
    "the features of the same photos and notes the new splits"
)
IMPORT_ANEW = "Delete the features' folder and import their file anew, scripts/extract.py --import-mat"


def find_features(data: Path, benchmark: str, backbone: str) -> Path:
    """The folder of the feature table of `backbone`: a preset or timm model with its options, or the folder's name.

    Raises:
        FileNotFoundError: there is no such table; the message names those that there are.
        ValueError: there is no such benchmark.
    """
    check_known(benchmark, data)
    tables = sorted(path.parent for path in features_folder(data, benchmark, "x").parent.glob(f"*/{MANIFEST_FILE}"))
    for table in tables:
        if table.name == backbone:
            return table
    folder = features_folder(data, benchmark, table_name(backbone))
    if folder not in tables:
        raise FileNotFoundError(
            f"no features of {folder.name} for {benchmark} in {folder.parent}; there are "
            f"{', '.join(table.name for table in tables) or 'none'}.  Make them with "
            f"accelerate launch scripts/extract.py --benchmark {benchmark} --backbone {backbone}"
        )
    return folder


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
    _check_source(manifest, split_file, folder)
    _check_shards_below(manifest, shards_folder(data, benchmark))
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


def _check_source(manifest: Manifest, split_file: SplitFile, folder: Path) -> None:
    """Check that a table was made with the rows and the classes of `split_file`, which lies in `folder`.

    Raises:
        ValueError: it was made with others.
    """
    if manifest.source.split_hashes != split_file.hashes:
        raise ValueError(
            f"the features were made with splits {manifest.source.hashes_text}, these are "
            f"{'/'.join(split_file.hashes)}.  {IMPORT_ANEW if manifest.imported else EXTRACT_AGAIN}; or give the right "
            "--splits"
        )
    if manifest.source.classes_hash not in (None, classes_hash(split_file.class_names)):
        raise ValueError(
            f"the features were made with other classes, or in another order, than those of {folder}: class ids mean "
            f"other classes there.  {IMPORT_ANEW if manifest.imported else EXTRACT_ANEW}; or give the right --splits"
        )


def _check_shards_below(manifest: Manifest, folder: Path) -> None:
    """As `check_shards`, if `folder` has shards; where the features were copied here alone, nothing is compared."""
    made_from_shards = any(part.shards_sha256 for part in manifest.parts)
    if made_from_shards and (folder / INDEX_FILE).is_file():
        check_shards(manifest, read_index(folder))


def check_shards(manifest: Manifest, index: ShardIndex) -> None:
    """Check that each part of a table, if it was made from shards, was made from those of `index`.

    Raises:
        ValueError: a part was made from other shards, which have other photos, labels or rows.
    """
    for part in manifest.parts:
        if part.shards_sha256 not in (None, index.sha256):
            remedy = "start scripts/extract.py again" if part.quarantined else "delete that table and extract it anew"
            raise ValueError(
                f"the features of {part.backbone} have {part.count:,} rows of shards {str(part.shards_sha256)[:12]}…, "
                f"the shards that are there have {index.count:,} photos ({index.sha256[:12]}…); {remedy}, or move the "
                "shards away if the table is right"
            )


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
    """The calibration folds of `splits`, on `device`; none for a fine-tuned backbone, which knows their classes."""
    if table.manifest.finetuned:
        return {}
    folds = calibration_folds(splits, table.rows, table.labels)
    return {number: split_features(table, splits, device) for number, splits in folds.items()}
