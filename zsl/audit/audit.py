"""The audit of a benchmark below `--data`: whether anything of test rows or unseen classes leaks into training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shards import ShardIndex, read_index
from shards.index import INDEX_FILE
from zsl.audit.findings import Finding, Severity, as_json, counts, fail, failed, text_table, warn
from zsl.audit.near import check_near_duplicates
from zsl.audit.photos import Photo, check_rows, check_same_photos, part_of_rows, read_photos
from zsl.audit.pretraining import check_finetuning, check_pretraining
from zsl.audit.provenance import (
    check_overlap,
    check_run,
    check_scaler,
    check_source,
    check_split_hashes,
    check_table,
    read_claims,
)
from zsl.audit.split_files import check_split_files
from zsl.common.files import write_json
from zsl.datasets.folds import fold_number, validation_fold
from zsl.datasets.places import features_folder, shards_folder, splits_folder
from zsl.datasets.split_file import SplitFile, read_split_file, rows_hash
from zsl.datasets.splits import Splits, make_splits
from zsl.features.join import join_tables
from zsl.features.manifest import MANIFEST_FILE, Source
from zsl.features.table import FeatureTable, read_features

AUDIT_FILE, PICTURE_FILE = "audit.json", "near_duplicates.jpg"
VERSION = 2  # another number where the same data get other findings, so that a report's kept audit is made anew
LABELS: dict[Severity, str] = {"fail": "FAIL", "warn": "WARN", "ok": "OK"}


def audit(
    benchmark: str,
    data: Path,
    out: Path,
    *,
    tables: list[Path] | None = None,
    splits: Path | None = None,
    run: Path | None = None,
) -> list[Finding]:
    """Check `benchmark` below `data`, and write `audit.json` and the picture of near duplicates into `out`.

    tables: folders of the feature tables to check, those of a join for one; None checks all.  splits: a folder of split
    files in place of the copy that make_shards left; without shards and features, they alone are checked.  run: a run
    folder made from `tables` or their join, without them from the first table.

    Raises:
        FileNotFoundError: there are neither shards nor features, and no `splits`.
    """
    joined = tables is not None
    if tables is None:
        tables = sorted(path.parent for path in features_folder(data, benchmark, "x").parent.glob(f"*/{MANIFEST_FILE}"))
    if splits is not None and not tables and not (shards_folder(data, benchmark) / INDEX_FILE).is_file():
        findings = check_split_files(benchmark, splits, shards_folder(data, benchmark))
    else:
        findings = _audit(benchmark, data, out, tables, splits or splits_folder(data, benchmark), run, joined)
    write_json(out / AUDIT_FILE, {"benchmark": benchmark} | as_json(findings))
    return findings


def report(findings: Sequence[Finding], width: int = 120) -> str:
    """The findings as a table, the gravest first, and a last line with the verdict; width: of a line, in characters."""
    number = counts(findings)
    verdict = "NOT CLEAN" if number["fail"] else "clean, but look at the warnings" if number["warn"] else "clean"
    summary = ", ".join(f"{n} {severity}" for severity, n in number.items())
    return f"{text_table(findings, LABELS, width)}\n{verdict}: {summary}"


def _audit(
    benchmark: str, data: Path, out: Path, tables: list[Path], split_folder: Path, run: Path | None, joined: bool
) -> list[Finding]:
    findings: list[Finding] = []
    read = {folder: read_features(folder, allow_incomplete=True) for folder in tables}
    index, photos = _photos(shards_folder(data, benchmark), list(read.values()), findings)
    try:
        split_file = read_split_file(split_folder)
        splits = _splits(split_file, photos, list(read.values()))
    except ValueError as error:  # rows overlap, or a class is on both sides; the other checks need sound splits
        return [*findings, fail("splits", str(error))]
    findings += [*check_split_hashes(benchmark, split_file), check_overlap(splits)]
    if index is not None:
        part = part_of_rows(splits)
        source = Source.read(index.source, f"{shards_folder(data, benchmark) / INDEX_FILE}: source")
        findings += check_source(source, split_file, "photos")
        findings += check_same_photos(photos, part)
        findings.append(check_near_duplicates(photos, part, shards_folder(data, benchmark), index, out / PICTURE_FILE))
    for folder, features in read.items():
        findings += _table(features, folder, index, photos, split_file, splits)
    if not read:
        findings.append(warn("features", "there is no feature table yet; scripts/extract.py makes it"))
    elif not failed(findings):
        of_run = list(read.values())[: None if joined else 1]
        findings += _trained(of_run, split_file, split_folder, run)
    return findings


def _photos(folder: Path, tables: list[FeatureTable], findings: list[Finding]) -> tuple[ShardIndex | None, list[Photo]]:
    """The index and the photos of the shards; without sound shards None and no photos, and `findings` says why."""
    if tables and not folder.is_dir():
        findings.append(warn("shards", f"none in {folder}: no photo could be compared with another"))
        return None, []
    index = read_index(folder)
    try:
        photos = read_photos(folder, index)
    except (ValueError, FileNotFoundError) as error:
        findings.append(fail("shards", str(error)))
        return None, []
    in_tables = np.concatenate([table.rows for table in tables]) if tables else np.arange(0)
    rows = np.array([photo.row for photo in photos], dtype=np.int64)
    findings += check_rows(photos, set(np.setdiff1d(rows, in_tables).tolist()) if tables else ())
    return index, photos


def _splits(split_file: SplitFile, photos: list[Photo], tables: list[FeatureTable]) -> Splits:
    """The splits of the rows that the photos have or, without photos, the first feature table."""
    if photos:
        rows, labels = np.array([p.row for p in photos]), np.array([p.label for p in photos])
    elif tables:
        rows, labels = tables[0].rows, tables[0].labels
    else:
        raise ValueError("there is no readable photo and no feature table")
    return make_splits(split_file, rows, labels)


def _table(
    features: FeatureTable,
    folder: Path,
    index: ShardIndex | None,
    photos: list[Photo],
    split_file: SplitFile,
    splits: Splits,
) -> list[Finding]:
    manifest = features.manifest
    unseen = splits.unseen_names
    trainval = rows_hash(splits.trainval_loc[np.isin(splits.trainval_loc, features.rows)])
    return [
        *check_table(features, folder, index, photos),
        *check_source(manifest.source, split_file, f"features {folder.name}", tell_missing=index is None),
        *(finding for part in manifest.parts for finding in check_pretraining(part.backbone, part.pretraining, unseen)),
        *check_finetuning(
            manifest.finetuned, manifest.benchmark, split_file.hashes, trainval, splits, features.tuned_rows
        ),
    ]


def _trained(tables: list[FeatureTable], split_file: SplitFile, split_folder: Path, run: Path | None) -> list[Finding]:
    """The checks of scaler and run, which need sound features and splits; several tables are those of a join."""
    try:
        features = join_tables(tables)
    except ValueError as error:
        return [fail("join", str(error))]
    try:  # of the features' rows, as for training: photos that could not be read are in no part
        splits = make_splits(split_file, features.rows, features.labels)
    except ValueError as error:
        return [fail("splits", f"without the photos that the features lack: {error}")]
    fold = fold_number(read_claims(run).splits or "") if run else None
    if fold is not None:
        try:
            splits = validation_fold(splits, split_folder, fold, features.rows, features.labels)
        except (FileNotFoundError, ValueError) as error:
            return [fail("splits", f"{run} is a run on fold {fold}, which the splits here do not have: {error}")]
    return [*check_scaler(features, splits, run), *(check_run(run, features, splits) if run else [])]
