"""The feature store, and the one place where features become a TrainSplit and a TestSplit.

A table is a folder of `features.npy` [N, D] float32, `labels.npy` [N], `rows.npy` [N] (official rows, rising) and
`manifest.json`; it is whole if and only if the manifest is there.  Stages are given a `TrainSplit`, which holds copies
of the trainval rows and no way to any other row; only `zsl.evaluate` is given a `TestSplit`.  Both carry the official
rows behind their features, so that a run can say what it read.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from zsl.files import read_json
from zsl.splits import Splits, rows_hash

MANIFEST_FILE = "manifest.json"
QUARANTINE_FILE = "quarantine.csv"
FORMAT = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureTable:
    """Features of a benchmark by official row, memory-mapped."""

    features: np.ndarray  # [N, D] float32
    labels: np.ndarray  # [N] int64, class ids
    rows: np.ndarray  # [N] int64, official rows, rising
    manifest: dict[str, Any]

    def at(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Copies of the features [n, D] and labels [n] at official `rows` [n].

        Raises:
            ValueError: the table has no such row.
        """
        position = np.searchsorted(self.rows, rows)
        known = position < len(self.rows)
        known[known] = self.rows[position[known]] == rows[known]
        if not known.all():
            raise ValueError(
                f"the feature table has no row {rows[~known][0]} ({int((~known).sum())} rows of the split are absent); "
                "was it extracted from other shards?"
            )
        return torch.from_numpy(self.features[position]), torch.from_numpy(self.labels[position])


def read_features(folder: Path, *, allow_incomplete: bool = False) -> FeatureTable:
    """Open the table in `folder`.

    Raises:
        FileNotFoundError: there is none, or it was not finished.
        ValueError: its files do not fit each other, it is of another format, or photos that could not be read are
            absent from it and that was not allowed.
    """
    folder = Path(folder)
    if not (folder / MANIFEST_FILE).is_file():
        raise FileNotFoundError(f"no whole feature table in {folder} (no {MANIFEST_FILE}); scripts/extract.py makes it")
    manifest = read_json(folder / MANIFEST_FILE)
    if manifest.get("format") != FORMAT:
        raise ValueError(f"{folder} has format {manifest.get('format')!r}, this version reads {FORMAT}; extract anew")
    if manifest.get("quarantined", 0) and not allow_incomplete:
        raise ValueError(
            f"{folder} lacks {manifest['quarantined']} photos that could not be read, see its {QUARANTINE_FILE}; mend "
            "them and start scripts/extract.py again, or train on the rest with --allow-incomplete"
        )
    features = np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)
    labels = np.load(folder / "labels.npy", allow_pickle=False)
    rows = np.load(folder / "rows.npy", allow_pickle=False)
    if not len(features) == len(labels) == len(rows) == manifest["count"]:
        raise ValueError(
            f"{folder}: {len(features)} features, {len(labels)} labels and {len(rows)} rows, the manifest says "
            f"{manifest['count']}; delete the folder and extract anew"
        )
    return FeatureTable(features=features, labels=labels, rows=rows, manifest=manifest)


@dataclass(frozen=True, eq=False)
class FeatureScaler:
    """Min-max scaling of each feature dimension to [0, 1] on the rows it was fitted on; others may leave [0, 1]."""

    low: Tensor  # [D]
    span: Tensor  # [D], 1 where a dimension is constant

    @classmethod
    def fit(cls, features: Tensor) -> Self:
        """From features [N, D] of trainval rows."""
        low, high = features.amin(0), features.amax(0)
        return cls(low, torch.where(high > low, high - low, 1.0))

    def __call__(self, features: Tensor) -> Tensor:
        """Scaled features [..., D]."""
        return (features - self.low) / self.span


@dataclass(frozen=True)
class RowsRead:
    """That a stage was given these rows."""

    stage: str
    rows: Tensor  # [n] official rows

    @property
    def facts(self) -> dict[str, Any]:
        """Number and hash of the rows; the hash of all trainval rows is the split file's."""
        return {"count": len(self.rows), "hash": rows_hash(self.rows.cpu().numpy())}


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


def signed_power(values: Tensor, power: float) -> Tensor:
    """Each value raised to `power`, its sign kept; below 1 this draws in large values and spreads small ones."""
    return values if power == 1 else values.sign() * values.abs() ** power


@dataclass(frozen=True, eq=False)
class AttributeScaler:
    """Attributes to a power, minus the seen classes' mean, scaled so that the seen classes' have a given mean norm.

    All classes of a benchmark share most of their attributes (every bird has a beak), so that official attribute
    vectors differ little beside their common part.
    """

    centre: Tensor  # [A]
    factor: Tensor  # one number
    power: float = 1.0

    @classmethod
    def fit(cls, attributes: Tensor, norm: float | None, power: float = 1.0) -> Self:
        """From the attributes [S, A] of the seen classes alone; without `norm` they are neither centred nor scaled."""
        attributes = signed_power(attributes, power)
        if norm is None:
            return cls(torch.zeros_like(attributes[0]), attributes.new_ones(()), power)
        centre = attributes.mean(0)
        return cls(centre, norm / (attributes - centre).norm(dim=1).mean(), power)

    def __call__(self, attributes: Tensor) -> Tensor:
        """Scaled attributes [..., A]."""
        return (signed_power(attributes, self.power) - self.centre) * self.factor

    def undo(self, scaled: Tensor) -> Tensor:
        """Attributes [..., A] in the units in which they were given."""
        return signed_power(scaled / self.factor + self.centre, 1 / self.power)


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
    def facts(self) -> dict[str, Any]:
        """Number and hash of the rows."""
        return {"count": len(self.features), "hash": None if self.rows is None else rows_hash(self.rows)}

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
