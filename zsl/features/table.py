"""The feature table: a folder of arrays by official row, and a manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zsl.features.manifest import MANIFEST_FILE, Manifest, read_manifest

QUARANTINE_FILE = "quarantine.csv"


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureTable:
    """Features of a benchmark by official row, memory-mapped."""

    features: np.ndarray  # [N, D] float32
    labels: np.ndarray  # [N] int64, class ids
    rows: np.ndarray  # [N] int64, official rows, rising
    manifest: Manifest

    def at(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Copies of the features [n, D] and labels [n] at official `rows` [n].

        Raises:
            ValueError: the table has no such row.
        """
        position = np.searchsorted(self.rows, rows)
        present = position < len(self.rows)
        present[present] = self.rows[position[present]] == rows[present]
        if not present.all():
            raise ValueError(
                f"the feature table has no row {rows[~present][0]} ({int((~present).sum())} rows of the split are "
                "absent); was it extracted from other shards?"
            )
        return torch.from_numpy(self.features[position]), torch.from_numpy(self.labels[position])


def read_features(folder: Path, *, allow_incomplete: bool = False) -> FeatureTable:
    """Open the table in `folder`.

    Raises:
        FileNotFoundError: there is no table, or it was not finished.
        ValueError: the manifest is damaged or of another format, the files do not fit each other, or the table lacks
            photos that could not be read, without `allow_incomplete`.
    """
    folder = Path(folder)
    if not (folder / MANIFEST_FILE).is_file():
        raise FileNotFoundError(f"no whole feature table in {folder} (no {MANIFEST_FILE}); scripts/extract.py makes it")
    manifest = read_manifest(folder / MANIFEST_FILE)
    if manifest.quarantined and not allow_incomplete:
        raise ValueError(
            f"{folder} lacks {manifest.quarantined} photos that could not be read, see its {QUARANTINE_FILE}; mend "
            "them and start scripts/extract.py again, or train on the rest with --allow-incomplete"
        )
    features = np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)
    labels = np.load(folder / "labels.npy", allow_pickle=False)
    rows = np.load(folder / "rows.npy", allow_pickle=False)
    if not len(features) == len(labels) == len(rows) == manifest.count:
        raise ValueError(
            f"{folder}: {len(features)} features, {len(labels)} labels and {len(rows)} rows, the manifest says "
            f"{manifest.count}; delete the folder and extract anew"
        )
    return FeatureTable(features=features, labels=labels, rows=rows, manifest=manifest)
