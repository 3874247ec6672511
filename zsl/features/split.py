"""The split firewall: the one place where a feature table becomes a TrainSplit and a TestSplit."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from zsl.common.room import make_room, pieces
from zsl.datasets.split_file import rows_hash
from zsl.datasets.splits import Splits
from zsl.features.scaling import AttributeScaler, FeatureScaler
from zsl.features.table import FeatureTable


@dataclass(frozen=True, kw_only=True)
class RowsFacts:
    """The number of some rows, and their hash."""

    count: int
    hash: str | None  # comparable with the hashes of a split file; None if the rows are not known


@dataclass(frozen=True, eq=False)
class RowsRead:
    """A note that a stage got these rows."""

    stage: str
    rows: Tensor  # [n] official rows

    @property
    def facts(self) -> RowsFacts:
        """Number and hash of the rows; the hash of all trainval rows is the split file's."""
        return RowsFacts(count=len(self.rows), hash=rows_hash(self.rows.cpu().numpy()))


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainSplit:
    """All data that training may see: trainval features, attributes of all classes, and which classes are seen."""

    features: Tensor  # [N, D] scaled
    labels: Tensor  # [N] class ids, all in `seen`
    attributes: Tensor  # [C, A]
    seen: Tensor  # [S] class ids
    unseen: Tensor  # [U]
    scaler: FeatureScaler
    class_names: tuple[str, ...]
    rows: Tensor  # [N] official rows behind `features`
    reads: list[RowsRead] = field(default_factory=list)  # the stages that got this split; copies share the list

    def __post_init__(self) -> None:
        if not len(self.features) == len(self.labels) == len(self.rows):
            raise ValueError(
                f"{len(self.features)} features, {len(self.labels)} labels and {len(self.rows)} rows: a split of some "
                "rows must have the features, labels and row numbers of the same ones"
            )

    @property
    def rows_hash(self) -> str:
        """Hash of the rows, six hex digits, comparable with the hashes of a split file."""
        return rows_hash(self.rows.cpu().numpy())

    @cached_property
    def fingerprint(self) -> str:
        """The hash of all numbers that training sees: features, labels, attributes, and which classes are seen."""
        digest = hashlib.sha256()
        for tensor in (self.features, self.labels, self.attributes, self.seen, self.unseen):
            digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.contiguous().cpu().numpy().data)
        return digest.hexdigest()

    @property
    def device(self) -> torch.device:
        """The device of the tensors, on which stages make their networks."""
        return self.features.device

    @property
    def seen_labels(self) -> Tensor:
        """`labels` as positions in `seen` [N]."""
        return torch.searchsorted(self.seen, self.labels)

    def to(self, device: torch.device) -> Self:
        """Return the same split on `device`."""
        tensors: dict[str, Any] = {
            f.name: value.to(device) for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)
        }
        scaler = FeatureScaler(self.scaler.low.to(device), self.scaler.span.to(device))
        return replace(self, scaler=scaler, **tensors)


def centre_attributes(train: TrainSplit, norm: float) -> TrainSplit:
    """Return the same split with its attributes scaled by an AttributeScaler that is fitted on its seen classes."""
    return replace(train, attributes=AttributeScaler.fit(train.attributes[train.seen], norm)(train.attributes))


@dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """Features and class ids of one test part."""

    features: Tensor  # [N, D] scaled like the trainval rows
    labels: Tensor  # [N]
    rows: np.ndarray | None = None  # [N] official rows; None if they are not known

    @property
    def facts(self) -> RowsFacts:
        """Number and hash of the rows."""
        return RowsFacts(count=len(self.features), hash=None if self.rows is None else rows_hash(self.rows))

    def to(self, device: torch.device) -> Self:
        """Return the same features on `device`."""
        return replace(self, features=self.features.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, kw_only=True, eq=False)
class TestSplit:
    """The test rows, which only `evaluate` may see."""

    __test__ = False  # pytest would take a class whose name starts with Test for a test case
    seen: LabelledFeatures  # test_seen rows
    unseen: LabelledFeatures  # test_unseen rows

    def to(self, device: torch.device) -> Self:
        """Return the same split on `device`."""
        return replace(self, seen=self.seen.to(device), unseen=self.unseen.to(device))


def split_features(
    table: FeatureTable, splits: Splits, device: torch.device | None = None
) -> tuple[TrainSplit, TestSplit]:
    """Split `table` into trainval and test rows, on `device` if given; the scaler is fitted on the trainval rows only.

    Raises:
        ValueError: the table lacks a row of the splits, or its labels contradict them.
    """
    scaler = fit_scaler(table, splits.trainval_loc)
    features, labels = _scaled(table, splits.trainval_loc, scaler)
    train = TrainSplit(
        features=features,
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
        features, labels = _scaled(table, loc, scaler)
        if not np.isin(labels.numpy(), classes).all():
            raise ValueError(f"test_{part} rows of the feature table have labels that are not {part} classes")
        parts[part] = LabelledFeatures(features, labels, loc)
    test = TestSplit(**parts)
    return (train, test) if device is None else (train.to(device), test.to(device))


def fit_scaler(table: FeatureTable, rows: np.ndarray) -> FeatureScaler:
    """The scaler that is fitted on the features at official `rows` [n].

    The rows are read in pieces.  Those of joined tables are read at once, because the weight of a block is a variance,
    and the sum of pieces has other last bits.
    """
    if len(table.blocks) > 1:
        return FeatureScaler.fit(_finite(table, rows), table.blocks)
    ranges = []
    for some in pieces(len(rows), 4 * table.features.shape[1]):
        piece = _finite(table, rows[some])
        ranges += [piece.amin(0), piece.amax(0)]
    return FeatureScaler.fit(torch.stack(ranges))  # of the lowest and the highest values: the range of all


def _scaled(table: FeatureTable, rows: np.ndarray, scaler: FeatureScaler) -> tuple[Tensor, Tensor]:
    """The scaled features [n, D] and the labels [n] at official `rows` [n]; only one copy of all features is made."""
    features = make_room(len(rows), table.features.shape[1])
    for some in pieces(len(rows), 4 * features.shape[1]):
        features[some] = scaler(_finite(table, rows[some]))
    return features, torch.from_numpy(table.labels[table.positions(rows)])


def _finite(table: FeatureTable, rows: np.ndarray) -> Tensor:
    """The features at official `rows` [n, D]; before they are scaled, which would spread NaN over a whole dimension.

    Raises:
        ValueError: a feature is NaN or infinite; the message names its row.
    """
    features = torch.from_numpy(table.features[table.positions(rows)])
    wrong = ~features.isfinite().all(dim=1)
    if wrong.any():
        raise ValueError(
            f"the feature table has NaN or infinity in {int(wrong.sum())} rows, the first is row "
            f"{rows[wrong.numpy()][0]}; extract it again"
        )
    return features
