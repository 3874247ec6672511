"""The feature table: a folder with arrays in the order of official rows, and a manifest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from mmap import mmap
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zsl.common.files import LFS_POINTER
from zsl.features.manifest import MANIFEST_FILE, Manifest, read_manifest
from zsl.features.side_by_side import SideBySide

QUARANTINE_FILE, TUNED_FILE = "quarantine.csv", "tuned_rows.npy"
REMEDY = "delete the folder and make the table anew"
CHUNK = 2**20  # bytes that are read at a time
REASONS = {"allow_pickle": "it holds Python objects", "mmap length": "it is cut short"}  # by parts of NumPy's messages


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureTable:
    """The memory-mapped features of a benchmark, in the order of official rows."""

    features: np.ndarray | SideBySide  # [N, D] float32
    labels: np.ndarray  # [N] int64, class ids
    rows: np.ndarray  # [N] int64, official rows, rising
    manifest: Manifest
    # [n] official rows of the photos that the backbone was fine-tuned on; None: unknown, or it was not fine-tuned
    tuned_rows: np.ndarray | None = None

    def check_content(self) -> None:
        """Check that the arrays match the hashes in the manifest, if it has them.

        Raises:
            ValueError: an array has changed since it was written.
        """
        for backbone, files in self._changed.items():
            raise ValueError(
                f"{', '.join(files)} of {backbone} for {self.manifest.benchmark}: not as the "
                f"manifest describes (sha256 differs), damaged or changed since; {REMEDY}"
            )

    @property
    def parts(self) -> tuple[tuple[Manifest, np.ndarray], ...]:
        """The manifest and the features of each table that lies in this one side by side; of a table alone its own."""
        arrays = self.features.arrays if isinstance(self.features, SideBySide) else (self.features,)
        return tuple(zip(self.manifest.parts, arrays, strict=True))

    @property
    def blocks(self) -> tuple[int, ...]:
        """The number of columns of each part."""
        return tuple(array.shape[1] for _, array in self.parts)

    @cached_property
    def _changed(self) -> dict[str, list[str]]:
        """The names of the files whose arrays do not match the manifest, by backbone."""
        changed: dict[str, list[str]] = {}
        for manifest, features in self.parts:
            if manifest.arrays_sha256 is not None:
                hashes = arrays_sha256(features, self.labels, self.rows)
                files = [f"{name}.npy" for name in hashes if manifest.arrays_sha256.get(name) != hashes[name]]
                changed |= {manifest.backbone: files} if files else {}
        return changed

    def at(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return copies of the features [n, D] and labels [n] at official `rows` [n].

        Raises:
            ValueError: the table has no such row.
        """
        position = self.positions(rows)
        return torch.from_numpy(self.features[position]), torch.from_numpy(self.labels[position])

    def positions(self, rows: np.ndarray) -> np.ndarray:
        """Return the positions [n] of official `rows` [n] in the arrays.

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
        return position


def arrays_sha256(
    features: np.ndarray, labels: np.ndarray, rows: np.ndarray, tuned_rows: np.ndarray | None = None
) -> dict[str, str]:
    """The sha256 in hex of the content of each array of a table."""
    arrays = {"features": features, "labels": labels, "rows": rows, "tuned_rows": tuned_rows}
    return {name: _sha256(array) for name, array in arrays.items() if array is not None}


def _sha256(array: np.ndarray) -> str:
    """Hash an array; a mapped one is read from its file, because pages of a map count as memory."""
    if not (isinstance(array, np.memmap) and isinstance(array.base, mmap)):  # a part of a map has another base
        return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
    digest, left = hashlib.sha256(), array.nbytes
    with Path(str(array.filename)).open("rb") as stream:
        stream.seek(array.offset)
        while chunk := stream.read(min(left, CHUNK)):
            digest.update(chunk)
            left -= len(chunk)
    return digest.hexdigest()


def lacks_files(folder: Path, manifest: Manifest) -> bool:
    """Whether the table in `folder`, with its `manifest`, lacks an array: someone deleted it, or did not copy it."""
    names = ("features.npy", "labels.npy", "rows.npy", *((TUNED_FILE,) if manifest.tuned_photos else ()))
    return not all((folder / name).is_file() for name in names)


def read_features(folder: Path, *, allow_incomplete: bool = False) -> FeatureTable:
    """Open the table in `folder`.

    Raises:
        FileNotFoundError: there is no table, the table is unfinished, or it lacks a file.
        ValueError: a file is damaged or has another format; the files do not fit each other; or unreadable photos are
            absent from the table and `allow_incomplete` is not set.
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
    table = FeatureTable(
        features=read_array(folder / "features.npy", "f4", 2, mapped=True),
        labels=read_array(folder / "labels.npy", "i8", 1),
        rows=read_array(folder / "rows.npy", "i8", 1),
        manifest=manifest,
        tuned_rows=read_array(folder / TUNED_FILE, "i8", 1) if manifest.tuned_photos else None,
    )
    _check_fit(table, folder)
    if table.tuned_rows is not None:
        _check_tuned(table.tuned_rows, manifest, folder)
    return table


def _check_tuned(tuned_rows: np.ndarray, manifest: Manifest, folder: Path) -> None:
    """Check the official rows of tuned photos, of which a join has the union, against the hash of their own table."""
    expected = (manifest.arrays_sha256 or {}).get("tuned_rows")  # None: of an earlier version
    if expected not in (None, _sha256(tuned_rows)):
        raise ValueError(
            f"{folder / TUNED_FILE}: not as the manifest describes (sha256 differs), damaged or changed since; {REMEDY}"
        )


def read_array(path: Path, dtype: str, dimensions: int, *, mapped: bool = False) -> np.ndarray:
    """Read an array of this type and number of dimensions from a .npy file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is damaged, or its array has another type or number of dimensions.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}, although its {MANIFEST_FILE} is there; {REMEDY}")
    try:
        array = _map(path) if mapped else _load(path)
    except Exception as error:  # NumPy's reader of headers raises many types of exceptions
        reasons = [words for part, words in REASONS.items() if part in str(error)]
        raise ValueError(f"{path} is {_looks_like(path)} ({(*reasons, error)[0]}); {REMEDY}") from error
    if array.dtype != np.dtype(f"<{dtype}") or array.ndim != dimensions:
        raise ValueError(
            f"{path} holds {array.dtype} of {array.ndim} dimensions, a table has {np.dtype(dtype)} of {dimensions}; "
            f"{REMEDY}"
        )
    return array


def _map(path: Path) -> np.ndarray:
    array: np.memmap = np.lib.format.open_memmap(path, mode="r")
    if path.stat().st_size != array.offset + array.nbytes:
        raise ValueError("bytes follow the array")
    return array


def _load(path: Path) -> np.ndarray:
    with path.open("rb") as stream:
        array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
        if stream.read(1):
            raise ValueError("bytes follow the array")
    return array


def _looks_like(path: Path) -> str:
    """Say in words what a file is that holds no array."""
    if path.stat().st_size == 0:
        return "empty"
    with path.open("rb") as stream:
        start = stream.read(len(LFS_POINTER))
    return "a Git LFS pointer, which git lfs pull replaces" if start == LFS_POINTER else "damaged"


def _check_fit(table: FeatureTable, folder: Path) -> None:
    """Check that the files of a table fit each other and its manifest.

    Raises:
        ValueError: two of them contradict each other, or a row or a label is impossible.
    """
    features, labels, rows, manifest = table.features, table.labels, table.rows, table.manifest
    if not len(features) == len(labels) == len(rows) == manifest.count:
        raise ValueError(
            f"{folder}: {len(features)} features, {len(labels)} labels and {len(rows)} rows, the manifest says "
            f"{manifest.count}; delete the folder and extract anew"
        )
    if features.shape[1] != manifest.dim:
        raise ValueError(
            f"{folder}: features have {features.shape[1]} dimensions, the manifest says {manifest.dim}; {REMEDY}"
        )
    if (rows < 0).any() or (np.diff(rows) <= 0).any():
        raise ValueError(f"{folder}: rows.npy is damaged, its official rows do not rise; {REMEDY}")
    if (labels < 0).any():
        raise ValueError(f"{folder}: labels.npy is damaged, a class id is {int(labels.min())}; {REMEDY}")
