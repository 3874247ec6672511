"""A split file joined with the images that are at hand: which rows and classes may be seen when."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from zsl.datasets.split_file import PARTS, SplitFile


@dataclass(frozen=True, kw_only=True, eq=False)
class Splits:
    """Disjoint sets of rows, and the classes that each may show.

    `seen` are the classes with trainval rows, `unseen` those with test_unseen rows; test_seen rows show seen classes.
    Class ids index `class_names` and `attributes`; where photos are missing some ids are in neither list.
    """

    class_names: tuple[str, ...]  # C
    attributes: np.ndarray  # [C, A] float32
    seen: np.ndarray  # [S] int64, sorted class ids
    unseen: np.ndarray  # [U]
    trainval_loc: np.ndarray  # [n] int64, 0-based official rows, sorted
    test_seen_loc: np.ndarray
    test_unseen_loc: np.ndarray
    verdict: str
    attribute_kind: str = "att"  # in words: which of the file's attributes, and what was done to them
    attribute_names: tuple[str, ...] = ()  # A, empty where they are not known

    def describe(self) -> str:
        """Counts in one line, for terminals and manifests."""
        rows = " / ".join(f"{len(getattr(self, part)):,}" for part in PARTS)
        return (
            f"{rows} trainval / test_seen / test_unseen rows, {len(self.seen)} seen / {len(self.unseen)} unseen classes"
        )


def attributes_hash(attributes: np.ndarray) -> str:
    """Twelve hex digits of the SHA-256 of attributes [C, A] float32."""
    return hashlib.sha256(np.ascontiguousarray(attributes, dtype=np.float32).tobytes()).hexdigest()[:12]


def make_splits(split_file: SplitFile, rows: np.ndarray, labels: np.ndarray) -> Splits:
    """Join split rows with the `labels` [N] of the `rows` [N] that are at hand; other rows leave every part.

    A class that has no image left leaves `seen` or `unseen`; a test_seen row whose class has no trainval row left goes
    too, since nothing could learn it.  A missing attribute of a class is filled by its mean over the other seen ones.

    Raises:
        ValueError: a row or label is out of range, a row is given twice, a part is empty, or a test_unseen class has
            trainval rows.
    """
    if len(rows) != len(labels):
        raise ValueError(f"{len(rows)} rows for {len(labels)} labels")
    values, counts = np.unique(rows, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"row {values[counts > 1][0]} is given {counts.max()} times; every image has a row of its own")
    class_count = len(split_file.class_names)
    if len(rows) and (rows.min() < 0 or rows.max() >= split_file.count):
        raise ValueError(f"rows reach from {rows.min()} to {rows.max()}; the split file has 0..{split_file.count - 1}")
    if len(labels) and (labels.min() < 0 or labels.max() >= class_count):
        raise ValueError(f"labels reach from {labels.min()} to {labels.max()}; there are {class_count} classes")
    label_of = np.full(split_file.count, -1, dtype=np.int64)
    label_of[rows] = labels
    present = {part: loc[label_of[loc] >= 0] for part, loc in ((p, getattr(split_file, p)) for p in PARTS)}
    seen = np.unique(label_of[present["trainval_loc"]])
    unseen = np.unique(label_of[present["test_unseen_loc"]])
    both = np.intersect1d(seen, unseen)
    if len(both):
        raise ValueError(
            f"{len(both)} classes have trainval rows and test_unseen rows, the first is "
            f"{split_file.class_names[both[0]]!r}: labels and split file do not belong together"
        )
    in_test = label_of[present["test_seen_loc"]]
    strange = np.intersect1d(in_test, unseen)
    if len(strange):
        raise ValueError(f"class {split_file.class_names[strange[0]]!r} has test_seen rows and test_unseen rows")
    present["test_seen_loc"] = present["test_seen_loc"][np.isin(in_test, seen)]
    empty = [part for part, loc in present.items() if len(loc) == 0]
    if empty:
        raise ValueError(f"no image at hand belongs to {', '.join(empty)}; all three parts are needed")
    return Splits(
        class_names=split_file.class_names,
        attributes=_complete(split_file, seen),
        seen=seen,
        unseen=unseen,
        verdict=split_file.verdict,
        attribute_kind=split_file.attribute_kind + (", L2-normalised" if split_file.normalise else ""),
        **present,
    )


def _complete(split_file: SplitFile, seen: np.ndarray) -> np.ndarray:
    """Attributes [C, A] without gaps, and normalised if that was asked for.

    A gap becomes the mean of that attribute over the seen classes that have it: where nothing is known the class is
    taken for an average one, so that centred attributes say nothing there; and of seen classes alone, so that no
    training class's attributes depend on an unseen class.
    """
    attributes = split_file.attributes
    gaps = np.isnan(attributes)
    if gaps.any():
        known = np.where(gaps[seen], 0, attributes[seen]).sum(axis=0, dtype=np.float64)
        count = (~gaps[seen]).sum(axis=0)
        if (count[gaps.any(axis=0)] == 0).any():
            raise ValueError(
                f"attribute {int(np.flatnonzero(gaps.any(axis=0) & (count == 0))[0])} of no seen class is known"
            )
        attributes = np.where(gaps, (known / np.maximum(count, 1)).astype(np.float32), attributes)
    if not split_file.normalise:
        return attributes
    norms = np.linalg.norm(attributes, axis=1, keepdims=True)
    if (norms == 0).any():
        raise ValueError(f"class {split_file.class_names[int(np.argmin(norms))]!r} has no attribute but 0")
    return attributes / norms
