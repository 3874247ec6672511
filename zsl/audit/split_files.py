"""The audit of split files alone, before anything was packed: hash, vintage, classes on two sides, class lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zsl.audit.findings import Finding, fail, ok, warn
from zsl.audit.provenance import check_overlap, check_split_hashes
from zsl.datasets.class_lists import check_class_lists, check_lists_alone
from zsl.datasets.distinct import check_distinct
from zsl.datasets.row_order import ORDER_FILES, read_official_rows
from zsl.datasets.split_file import SplitFile, read_split_file
from zsl.datasets.splits import make_splits


def check_split_files(benchmark: str, folder: Path, shards: Path) -> list[Finding]:
    """Check the split files in `folder`; shards: where there are none, for the message.

    Raises:
        FileNotFoundError: `folder` has no split file.
    """
    not_read = warn(
        "not looked at",
        f"photos, features, scaler and run, for there are no shards in {shards} and no features: whether test photos "
        "occur among training photos, and what the backbone was taught, is not known",
        remedy="scripts/make_shards.py and scripts/extract.py, then this audit again",
    )
    try:
        split_file = read_split_file(folder)
    except ValueError as error:  # rows overlap, or the file is of the leaky vintage
        return [fail("splits", str(error)), not_read]
    return [
        *check_split_hashes(benchmark, split_file),
        _check_attributes(split_file),
        *_check_classes(split_file, folder),
        not_read,
    ]


def _check_attributes(split_file: SplitFile) -> Finding:
    """Whether attributes tell the classes apart."""
    try:
        check_distinct(split_file.attributes, split_file.class_names, str(split_file.path))
    except ValueError as error:
        return fail("attributes", str(error))
    return ok("attributes", f"tell the {len(split_file.class_names)} classes apart")


def _check_classes(split_file: SplitFile, folder: Path) -> list[Finding]:
    """Whether seen and unseen classes are apart, by the labels beside the split file, and whether class lists agree."""
    try:
        official = read_official_rows(folder)
        if official is None:
            findings = [warn("classes", f"no {' or '.join(ORDER_FILES)} in {folder}: no row's class is known")]
            titles = check_lists_alone(split_file.class_names, folder)
        elif len(official.labels) != split_file.count:
            count = f"{len(official.labels):,} labels, the split file has {split_file.count:,} rows"
            return [fail("classes", f"{official.path} has {count}: they do not belong together")]
        else:
            splits = make_splits(split_file, np.arange(len(official.labels)), official.labels - 1)
            findings = [check_overlap(splits)]
            titles = check_class_lists(splits, folder)
    except ValueError as error:
        return [fail("classes", str(error))]
    if not titles:
        return [*findings, warn("class lists", f"none in {folder}: no validation fold can be made")]
    return [*findings, ok("class lists", f"{len(titles)} agree with the split file and each other")]
