"""The feature table: a folder of arrays by official row, and a manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zsl.common.files import read_json

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
