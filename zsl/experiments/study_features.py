"""The feature tables of a study: found, or extracted where there are none, also those of the folds of fine-tunings."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from accelerate import Accelerator

from backbones import find_preset, load_backbone
from backbones.options import named_options
from shards import ShardIndex
from shards.index import INDEX_FILE
from zsl.datasets.class_lists import FOLDS
from zsl.datasets.pack import open_or_draw_shards, open_shards
from zsl.datasets.places import features_folder, shards_folder
from zsl.experiments.study_plan import Entry, Part, Study
from zsl.features.class_folds import check_all_folds
from zsl.features.extract import ExtractSettings, extract_features
from zsl.features.join import join_tables
from zsl.features.load import load_splits
from zsl.features.manifest import MANIFEST_FILE, Manifest, read_manifest
from zsl.features.origin import check_shards
from zsl.features.plan import with_gamma
from zsl.features.pretraining import TaughtBefore
from zsl.features.table import FeatureTable, lacks_files, read_features

log = logging.getLogger(__name__)


def find_or_extract(study: Study, entry: Entry, accelerator: Accelerator) -> FeatureTable:
    """Read the feature table of `entry`, or extract it from the shards; those of its parts one after the other.

    Raises:
        FileNotFoundError: there are neither table nor weights, or no shards.
        ValueError: the weights do not fit, the table is incomplete, or it was made from other shards.
    """
    table = join_tables([_find_or_extract(study, part, accelerator) for part in entry.parts])
    if index := _find_shards(study):
        check_shards(table.manifest, index)
    return table


def _find_shards(study: Study) -> ShardIndex | None:
    """Read the index of the shards, to compare tables with; None if there are no shards, only tables."""
    if study.shards is None and not (shards_folder(study.data, study.benchmark) / INDEX_FILE).is_file():
        return None
    return open_shards(study.benchmark, study.data, study.shards, allow_pipe=study.allow_pipe)


def _find_or_extract(study: Study, part: Part, accelerator: Accelerator) -> FeatureTable:
    name, options = named_options(part.name, study.options)
    folder = features_folder(study.data, study.benchmark, f"{find_preset(name).full_name}{options.tag}")
    if part.weights is None and _has_table(folder):
        return read_features(folder)  # the table is enough; its weights are not needed
    backbone = load_backbone(name, part.weights, options)
    folder = features_folder(study.data, study.benchmark, backbone.name)
    if not _has_table(folder):
        index = open_or_draw_shards(study.benchmark, study.data, study.shards, allow_pipe=study.allow_pipe)
        extract_features(
            backbone, study.shards or shards_folder(study.data, study.benchmark), index, folder, accelerator,
            ExtractSettings(batch_size=study.batch_size, allow_pipe=study.allow_pipe),
        )  # fmt: skip
    table = read_features(folder)
    return replace(table, manifest=with_gamma(table.manifest, backbone.finetuned))


def _has_table(folder: Path) -> bool:
    """Whether there is a feature table in `folder`; one of which a file was deleted is to be made again."""
    if not (folder / MANIFEST_FILE).is_file():
        return False
    if lacks_files(folder, read_manifest(folder / MANIFEST_FILE)):
        log.warning("the feature table in %s lacks a file, so it is made again", folder)
        return False
    return True


def crossfit_tables(
    study: Study, entry: Entry, table: FeatureTable, accelerator: Accelerator
) -> dict[int, FeatureTable]:
    """Find the feature table of each class fold of a fine-tuning, for choices; none where it was not cross-fitted.

    Class folds of a fine-tuning on another benchmark are of other classes: the weights of such a part stay as they are.

    Raises:
        ValueError: a fold is missing, or joined backbones have unlike folds.
    """
    tuned = {
        part: manifest.finetuned
        for part, manifest in zip(entry.parts, table.manifest.parts, strict=True)
        if manifest.finetuned and manifest.finetuned.benchmark == manifest.benchmark
    }
    numbers = {str(part): set(part.class_folds) for part in tuned}
    if not any(numbers.values()):
        return {}
    check_all_folds(numbers, {facts.gamma.folds for facts in tuned.values() if facts.gamma})
    return {
        number: find_or_extract(study, entry.of_class_fold(number, tuned), accelerator)
        for number in sorted(set.intersection(*numbers.values()))
    }


def fold_tables(study: Study, entry: Entry, table: FeatureTable, accelerator: Accelerator) -> dict[int, FeatureTable]:
    """Find the feature table of each validation fold, for choices.

    Weights that were fine-tuned on all seen classes know each fold's validation classes.  For a fold, the weights that
    were fine-tuned on its training classes replace them.  scripts/finetune.py writes these beside the others.

    Raises:
        ValueError: there are no such weights for any fold.
    """
    files = [part.weights for part in entry.parts if part.weights is not None]
    if not table.manifest.finetuned or not files:
        return dict.fromkeys(FOLDS, table)
    tables = {}
    for fold in FOLDS:
        if _may_choose(study, table, fold):
            tables[fold] = table
        elif entry.of_fold(fold) != entry:
            tables[fold] = find_or_extract(study, entry.of_fold(fold), accelerator)
    if not tables:
        raise ValueError(
            f"{' or '.join(map(str, files))} was fine-tuned on all seen classes, so that nothing can be chosen on "
            f"validation folds, and beside it is no {Path('fold-1') / files[0].name}; fine-tune without --skip-verdict"
        )
    return tables


def _may_choose(study: Study, table: FeatureTable, fold: int) -> bool:
    """Whether the weights behind `table` know no validation class of `fold`."""
    try:
        load_splits(study.benchmark, study.data, table, fold=fold)
    except TaughtBefore:
        return False
    return True


def check_equal_inputs(manifest: Manifest, first: Manifest) -> None:
    """Check that a table has the photos and the precision of the study's first table."""
    for key, remedy in (("shards_sha256", "other photos"), ("precision", "another precision")):
        here, there = getattr(manifest, key), getattr(first, key)
        if here != there:
            raise ValueError(
                f"the features of {manifest.backbone} were made with {key} {here}, those of "
                f"{first.backbone} with {there}: {remedy} cannot stand in one table; delete one of the two "
                "tables and give --precision"
            )
