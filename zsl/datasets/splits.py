"""A split file joined with the images that are at hand: which rows and classes may be seen when."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zsl.datasets.class_names import default_names
from zsl.datasets.distinct import check_distinct
from zsl.datasets.split_file import PARTS, SplitFile

ATTRIBUTES = "attributes"  # the usual kind of side information


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
    attribute_kind: str = "att"  # which of the file's attributes, and what was done to them
    attribute_names: tuple[str, ...] = ()  # A, empty where they are not known
    side_information: str = ATTRIBUTES  # what `attributes` holds, in words; the results state it
    readable_names: tuple[str, ...] = ()  # C, of names.csv; empty where nothing was read

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all classes [C] for readers."""
        return self.readable_names or default_names(self.class_names)

    @property
    def unseen_names(self) -> list[str]:
        """Names of the unseen classes [U], in the order of their ids."""
        return [self.class_names[class_id] for class_id in self.unseen.tolist()]

    def describe(self) -> str:
        """Counts in one line, for terminals and manifests."""
        rows = " / ".join(f"{len(getattr(self, part)):,}" for part in PARTS)
        return (
            f"{rows} trainval / test_seen / test_unseen rows, {len(self.seen)} seen / {len(self.unseen)} unseen classes"
        )


def classes_hash(names: Sequence[str]) -> str:
    """Twelve hex digits of the names of all classes in the order of their ids."""
    return hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()[:12]


def attributes_hash(attributes: np.ndarray) -> str:
    """Twelve hex digits of the SHA-256 of attributes [C, A] float32."""
    return hashlib.sha256(np.ascontiguousarray(attributes, dtype=np.float32).tobytes()).hexdigest()[:12]


def make_splits(split_file: SplitFile, rows: np.ndarray, labels: np.ndarray) -> Splits:
    """Join split rows with the `labels` [N] of the `rows` [N] that are at hand; other rows leave every part.

    A class that has no image left leaves `seen` or `unseen`; a test_seen row whose class has no trainval row left goes
    too, since nothing could learn it.  A missing attribute of a class is filled by its mean over the other seen ones.

    Raises:
        ValueError: a row or label is out of range, a row occurs twice, a part is empty, a test_unseen class has
            trainval rows, or attributes do not tell the classes apart.
    """
    _check_rows(split_file, rows, labels)
    label_of = np.full(split_file.count, -1, dtype=np.int64)  # [N official], -1 where the photo is absent
    label_of[rows] = labels
    parts = {part: loc[label_of[loc] >= 0] for part, loc in ((p, getattr(split_file, p)) for p in PARTS)}
    seen = np.unique(label_of[parts["trainval_loc"]])
    unseen = np.unique(label_of[parts["test_unseen_loc"]])
    test_seen_labels = label_of[parts["test_seen_loc"]]
    _check_classes(split_file, seen, unseen, test_seen_labels)
    parts["test_seen_loc"] = parts["test_seen_loc"][np.isin(test_seen_labels, seen)]
    empty = [part for part, loc in parts.items() if len(loc) == 0]
    if empty:
        raise ValueError(f"no image at hand belongs to {', '.join(empty)}; all three parts are needed")
    attributes = _complete(split_file, seen)
    _check_attributes(split_file, attributes, np.union1d(seen, unseen))
    return Splits(
        class_names=split_file.class_names,
        attributes=attributes,
        seen=seen,
        unseen=unseen,
        verdict=split_file.verdict,
        attribute_kind=split_file.attribute_kind + (", L2-normalised" if split_file.normalise else ""),
        **parts,
    )


def _check_rows(split_file: SplitFile, rows: np.ndarray, labels: np.ndarray) -> None:
    """Each row occurs once and has one label, and both are in the split file's range."""
    if len(rows) != len(labels):
        raise ValueError(f"{len(rows)} rows for {len(labels)} labels")
    values, counts = np.unique(rows, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"row {values[counts > 1][0]} is given {counts.max()} times; every image has a row of its own")
    if len(rows) and (rows.min() < 0 or rows.max() >= split_file.count):
        raise ValueError(f"rows reach from {rows.min()} to {rows.max()}; the split file has 0..{split_file.count - 1}")
    class_count = len(split_file.class_names)
    if len(labels) and (labels.min() < 0 or labels.max() >= class_count):
        raise ValueError(f"labels reach from {labels.min()} to {labels.max()}; there are {class_count} classes")


def _check_classes(split_file: SplitFile, seen: np.ndarray, unseen: np.ndarray, test_seen_labels: np.ndarray) -> None:
    """A class with test_unseen rows has no others."""
    both = np.intersect1d(seen, unseen)
    if len(both):
        raise ValueError(
            f"{len(both)} classes have trainval rows and test_unseen rows, the first is "
            f"{split_file.class_names[both[0]]!r}: labels and split file do not belong together"
        )
    tested_twice = np.intersect1d(test_seen_labels, unseen)
    if len(tested_twice):
        raise ValueError(f"class {split_file.class_names[tested_twice[0]]!r} has test_seen rows and test_unseen rows")


def _complete(split_file: SplitFile, seen: np.ndarray) -> np.ndarray:
    """Attributes [C, A] without gaps, and divided by their L2 norm where the split file says so."""
    attributes = split_file.attributes
    gaps = np.isnan(attributes)
    if gaps.any():
        attributes = _fill(attributes, gaps, seen)
    if not split_file.normalise:
        return attributes
    norms = np.linalg.norm(attributes, axis=1, keepdims=True)
    return attributes / np.where(norms > 0, norms, 1)  # a class without strengths is refused where it has rows


def _check_attributes(split_file: SplitFile, attributes: np.ndarray, classes: np.ndarray) -> None:
    """The attributes [C, A] tell all `classes` with rows apart."""
    kind = split_file.attribute_kind
    where = f"{split_file.path or 'the split file'}, {kind}"
    names = [split_file.class_names[class_id] for class_id in classes.tolist()]
    by_direction = kind == "att" or split_file.normalise
    check_distinct(attributes[classes], names, where, by_direction=by_direction)


def _fill(attributes: np.ndarray, gaps: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """A gap becomes the mean of that attribute over the seen classes that have it.

    So a class of which nothing is known counts as an average one, and centred attributes say nothing of it; and no
    training class's attributes depend on an unseen class.
    """
    total = np.where(gaps[seen], 0, attributes[seen]).sum(axis=0, dtype=np.float64)
    count = (~gaps[seen]).sum(axis=0)
    if (count[gaps.any(axis=0)] == 0).any():
        raise ValueError(
            f"attribute {int(np.flatnonzero(gaps.any(axis=0) & (count == 0))[0])} of no seen class is known"
        )
    return np.where(gaps, (total / np.maximum(count, 1)).astype(np.float32), attributes)
