"""Rows that are boxes share photos: counts of test rows that lie in a photo with a trainval row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from zsl.datasets.instances import Instance
from zsl.datasets.splits import Splits


def count_shared_photos(instances: Sequence[Instance], splits: Splits) -> dict[str, int]:
    """How far boxes of several splits, or of several classes, lie in the same photo.

    `instances` are those at hand.  Counts: `photos`, `photos_of_several_classes`, and for test_seen and test_unseen
    all rows (`…_rows`) and those in a photo that also holds a trainval row (`…_rows_beside_trainval`).
    """
    file_of = {instance.row: instance.file for instance in instances}
    labels_in: dict[str, set[int]] = defaultdict(set)
    for instance in instances:
        labels_in[instance.file].add(instance.label)
    trainval_files = {file_of[row] for row in splits.trainval_loc.tolist()}

    def beside_trainval(loc: np.ndarray) -> int:
        return sum(file_of[row] in trainval_files for row in loc.tolist())

    return {
        "photos": len(labels_in),
        "photos_of_several_classes": sum(len(labels) > 1 for labels in labels_in.values()),
        "test_seen_rows": len(splits.test_seen_loc),
        "test_seen_rows_beside_trainval": beside_trainval(splits.test_seen_loc),
        "test_unseen_rows": len(splits.test_unseen_loc),
        "test_unseen_rows_beside_trainval": beside_trainval(splits.test_unseen_loc),
    }


def describe_shared_photos(boxes: int, counts: Mapping[str, int]) -> str:
    """The `counts` of `count_shared_photos` as the end of a verdict; "" where there are none."""
    if not counts:
        return ""
    beside = " and ".join(
        f"{counts[f'{part}_rows_beside_trainval']:,} of {counts[f'{part}_rows']:,} {part} rows"
        for part in ("test_unseen", "test_seen")
    )
    return (
        f"; rows are {boxes:,} boxes in {counts['photos']:,} photos, {beside} lie in a photo that "
        f"also holds a trainval row, {counts['photos_of_several_classes']:,} photos hold two or more classes"
    )
