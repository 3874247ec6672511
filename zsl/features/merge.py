"""Merge the parts of all shards into one feature table that holds each row exactly once, or raise an error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from shards import Shard
from zsl.common.files import atomic_path
from zsl.common.spreadsheet import write_csv
from zsl.features.manifest import MANIFEST_FILE, Manifest, write_manifest
from zsl.features.parts import Part, Parts, read_part, read_part_features
from zsl.features.stream import Failure
from zsl.features.table import QUARANTINE_FILE, TUNED_FILE, arrays_sha256

OF_ROWS = ("rows", "labels", "tuned")  # the arrays of a part except its features


def merge_parts(parts: Parts, out: Path, manifest: Manifest) -> None:
    """Write the table of all `parts` into `out`, and last its manifest, with the numbers of rows and of lost photos.

    The function reads one part at a time and writes its features to their place in the file, so that memory does not
    grow with the table.  The parts of an incomplete table stay for the run that completes it.

    Raises:
        ValueError: a part is damaged or holds other rows than its shard; a row occurs twice; a row is absent without a
            failure that accounts for it; or all rows are absent.
    """
    kept = [_without_features(parts.path(shard), shard, manifest.dim) for shard in parts.index.shards]
    failures = [failure for part in kept for failure in part.failures]
    lost = _count_lost(parts, failures)
    rows, labels, tuned = (np.concatenate([getattr(part, name) for part in kept]) for name in OF_ROWS)
    _check_once(rows, lost, parts.index.count)
    if not len(rows):
        raise ValueError(
            f"none of the {lost:,} photos can be read, so there is no table; the first one: {failures[0]}; mend the "
            "cause, and start the command again"
        )
    order = np.argsort(rows)
    (out / MANIFEST_FILE).unlink(missing_ok=True)  # an incomplete table may have left one
    _write_features(out / "features.npy", [parts.path(shard) for shard in parts.index.shards], order, manifest.dim)
    _write_array(out / "rows.npy", rows[order])
    _write_array(out / "labels.npy", labels[order])
    tuned_rows = np.sort(rows[tuned]) if manifest.tuned_photos else None
    if tuned_rows is not None:
        _write_array(out / TUNED_FILE, tuned_rows)
    _write_quarantine(out / QUARANTINE_FILE, failures)
    features = np.load(out / "features.npy", mmap_mode="r", allow_pickle=False)
    content = arrays_sha256(features, labels[order], rows[order], tuned_rows)
    finished = replace(manifest, count=len(rows), quarantined=lost, arrays_sha256=content)
    write_manifest(out / MANIFEST_FILE, finished)
    if not failures:
        parts.remove()


def _without_features(path: Path, shard: Shard, dim: int) -> Part:
    """Read and check the part of `shard`, and return it without features, which `_write_features` reads again.

    Raises:
        ValueError: the part is damaged, or holds other rows than the shard.
    """
    part = read_part(path)
    fault = part.fault(shard)
    if fault is None and part.features.shape[1] != dim:
        fault = f"its features have {part.features.shape[1]} dimensions, not {dim}"
    if fault is not None:
        raise ValueError(f"{path} is not the part of {shard.file}, {fault}; delete it and extract again")
    return replace(part, features=part.features[:0])


def _count_lost(parts: Parts, failures: Sequence[Failure]) -> int:
    """Number of photos without features: all photos of unreadable shards, and single photos."""
    unread = {failure.shard for failure in failures if failure.row is None}
    of_shards = sum(shard.count for shard in parts.index.shards if shard.file in unread)
    return of_shards + sum(failure.row is not None for failure in failures)


def _check_once(rows: np.ndarray, lost: int, count: int) -> None:
    """Check that no row occurs twice, and that the number of rows is `count` - `lost`."""
    values, counts = np.unique(rows, return_counts=True)
    if len(rows) != count - lost or (counts > 1).any():
        repeated = values[counts > 1][:3].tolist()
        raise ValueError(f"{len(values)} of {count} rows were extracted, repeated are {repeated}; shards are damaged")


def _write_array(path: Path, values: np.ndarray) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, values, allow_pickle=False)


def _write_features(path: Path, parts: Sequence[Path], order: np.ndarray, dim: int) -> None:
    """Write `features.npy` in pieces.

    A memory map would not do: its pages count as memory, and a full disk kills the process.

    order: [N] positions in the concatenation of all parts, sorted by row.
    """
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(place), dim)}
        np.lib.format.write_array_header_1_0(stream, header)
        first, start = stream.tell(), 0
        for part in parts:
            features = read_part_features(part).astype("<f4", copy=False)
            places = place[start : start + len(features)]
            breaks = np.flatnonzero(np.diff(places) != 1) + 1
            for at, piece in zip(np.split(places, breaks), np.split(features, breaks), strict=True):
                if len(at):
                    stream.seek(first + int(at[0]) * dim * 4)
                    stream.write(piece.tobytes())
            start += len(features)


def _write_quarantine(path: Path, failures: Sequence[Failure]) -> None:
    """Write the list of unreadable photos and shards; without failures, remove the list of an earlier table."""
    if not failures:
        path.unlink(missing_ok=True)
        return
    columns = [item.name for item in fields(Failure)]
    write_csv(path, columns, ([getattr(failure, column) for column in columns] for failure in failures))
