"""The split firewall: the one place where a feature table becomes a TrainSplit and a TestSplit."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from zsl.datasets.split_file import rows_hash
from zsl.datasets.splits import Splits
from zsl.features.scaling import AttributeScaler, FeatureScaler
from zsl.features.table import FeatureTable


@dataclass(frozen=True, kw_only=True)
class RowsFacts:
    """How many rows, and which."""

    count: int
    hash: str | None  # comparable with those of a split file; None where the rows are not known


@dataclass(frozen=True, eq=False)
class RowsRead:
    """That a stage was given these rows."""

    stage: str
    rows: Tensor  # [n] official rows

    @property
    def facts(self) -> RowsFacts:
        """Number and hash of the rows; the hash of all trainval rows is the split file's."""
        return RowsFacts(count=len(self.rows), hash=rows_hash(self.rows.cpu().numpy()))


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainSplit:
    """All that training may see: trainval features, every class's attributes, and which classes are which."""

    features: Tensor  # [N, D] scaled
    labels: Tensor  # [N] class ids, all in `seen`
    attributes: Tensor  # [C, A]
    seen: Tensor  # [S] class ids
    unseen: Tensor  # [U]
    scaler: FeatureScaler
    class_names: tuple[str, ...]
    rows: Tensor  # [N] official rows behind `features`
    reads: list[RowsRead] = field(default_factory=list)  # which stages were given this split; copies share the list

    def __post_init__(self) -> None:
        if not len(self.features) == len(self.labels) == len(self.rows):
            raise ValueError(
                f"{len(self.features)} features, {len(self.labels)} labels and {len(self.rows)} rows: a split of some "
                "rows must have the features, labels and row numbers of the same ones"
            )

    @property
    def rows_hash(self) -> str:
        """Six hex digits, comparable with those of a split file."""
        return rows_hash(self.rows.cpu().numpy())

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all numbers that training sees: features, labels, attributes, and which classes are seen."""
        digest = hashlib.sha256()
        for tensor in (self.features, self.labels, self.attributes, self.seen, self.unseen):
            digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.contiguous().cpu().numpy().data)
        return digest.hexdigest()

    @property
    def device(self) -> torch.device:
        """Where the tensors are; stages make their networks there."""
        return self.features.device

    @property
    def seen_labels(self) -> Tensor:
        """`labels` as positions in `seen` [N]."""
        return torch.searchsorted(self.seen, self.labels)

    def to(self, device: torch.device) -> Self:
        """The same split on `device`."""
        moved: dict[str, Any] = {
            f.name: value.to(device) for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)
        }
        scaler = FeatureScaler(self.scaler.low.to(device), self.scaler.span.to(device))
        return replace(self, scaler=scaler, **moved)


def centre_attributes(train: TrainSplit, norm: float) -> TrainSplit:
    """The same split with attributes as an AttributeScaler of its seen classes gives them."""
    return replace(train, attributes=AttributeScaler.fit(train.attributes[train.seen], norm)(train.attributes))


@dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """Features and class ids of one test part."""

    features: Tensor  # [N, D] scaled as the train rows were
    labels: Tensor  # [N]
    rows: np.ndarray | None = None  # [N] official rows, where they are known

    @property
    def facts(self) -> RowsFacts:
        """Number and hash of the rows."""
        return RowsFacts(count=len(self.features), hash=None if self.rows is None else rows_hash(self.rows))

    def to(self, device: torch.device) -> Self:
        """The same features on `device`."""
        return replace(self, features=self.features.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, kw_only=True, eq=False)
class TestSplit:
    """What only `evaluate` may see."""

    __test__ = False  # a name that starts with Test is not a test case to pytest
    seen: LabelledFeatures  # test_seen rows
    unseen: LabelledFeatures  # test_unseen rows

    def to(self, device: torch.device) -> Self:
        """The same split on `device`."""
        return replace(self, seen=self.seen.to(device), unseen=self.unseen.to(device))


def split_features(
    table: FeatureTable, splits: Splits, device: torch.device | None = None
) -> tuple[TrainSplit, TestSplit]:
    """Deal the rows of `table` out, to `device` if one is given; the scaler is fitted on the trainval rows only.

    Raises:
        ValueError: the table lacks a row of the splits, or its labels contradict them.
    """
    features, labels = table.at(splits.trainval_loc)
    scaler = FeatureScaler.fit(features)
    train = TrainSplit(
        features=scaler(features),
        labels=labels,
        attributes=torch.from_numpy(splits.attributes.copy()),
        seen=torch.from_numpy(splits.seen.copy()),
        unseen=torch.from_numpy(splits.unseen.copy()),
        scaler=scaler,
        class_names=splits.class_names,
        rows=torch.from_numpy(splits.trainval_loc.copy()),
    )
    parts = {}
    for part, loc, classes in (
        ("seen", splits.test_seen_loc, splits.seen),
        ("unseen", splits.test_unseen_loc, splits.unseen),
    ):
        features, labels = table.at(loc)
        if not np.isin(labels.numpy(), classes).all():
            raise ValueError(f"test_{part} rows of the feature table have labels that are not {part} classes")
        parts[part] = LabelledFeatures(scaler(features), labels, loc)
    test = TestSplit(**parts)
    return (train, test) if device is None else (train.to(device), test.to(device))
