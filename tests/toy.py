"""A toy problem whose class means are linear in the attributes, so that unseen classes can be inferred."""

from __future__ import annotations

from typing import Any

import numpy as np

from zsl.datasets.splits import Splits
from zsl.features.manifest import Manifest, Source
from zsl.features.split import TestSplit, TrainSplit, split_features
from zsl.features.table import FeatureTable

SEEN, UNSEEN, PER_CLASS, ATTRIBUTES, DIM = 16, 4, 20, 6, 24


def toy_table(seed: int = 0, per_class: int = PER_CLASS) -> tuple[FeatureTable, Splits]:
    """A feature table of Gaussian classes and its splits; the last quarter of each seen class is test_seen."""
    rng = np.random.default_rng(seed)
    count = SEEN + UNSEEN
    attributes = rng.random((count, ATTRIBUTES)).astype(np.float32)
    means = attributes @ rng.normal(size=(ATTRIBUTES, DIM)) * 2
    labels = np.repeat(np.arange(count), per_class)
    features = (means[labels] + rng.normal(size=(len(labels), DIM)) * 0.3).astype(np.float32)
    rows = np.arange(len(labels))
    is_test_seen = (rows % per_class >= per_class * 3 // 4) & (labels < SEEN)
    splits = Splits(
        class_names=tuple(f"class {i}" for i in range(count)),
        attributes=attributes,
        seen=np.arange(SEEN),
        unseen=np.arange(SEEN, count),
        trainval_loc=rows[(labels < SEEN) & ~is_test_seen],
        test_seen_loc=rows[is_test_seen],
        test_unseen_loc=rows[labels >= SEEN],
        verdict="toy",
    )
    table = FeatureTable(features=features, labels=labels, rows=rows, manifest=toy_manifest(count=len(rows)))
    return table, splits


def toy_manifest(**changes: Any) -> Manifest:
    """What a table of the toy problem says of itself, but for `changes`."""
    facts: dict[str, Any] = {
        "benchmark": "toy", "backbone": "b", "pretraining": "none", "precision": "x", "shards_sha256": "x",
        "weights_sha256": "x", "dim": DIM, "count": (SEEN + UNSEEN) * PER_CLASS,
        "source": Source(verdict="toy", split_hashes=(), missing=0),
    }  # fmt: skip
    return Manifest(**facts | changes)


def toy_splits(seed: int = 0) -> tuple[TrainSplit, TestSplit]:
    """Both parts of the toy problem."""
    return split_features(*toy_table(seed))
