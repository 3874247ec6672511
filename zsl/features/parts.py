"""The finished shards of a feature table to be: one file each, claimed by one process at a time, merged at the end."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from shards import Shard, ShardIndex
from zsl.common.files import atomic_path, write_json
from zsl.common.spreadsheet import write_csv
from zsl.common.tensors import write_tensors
from zsl.features.stream import Failure
from zsl.features.table import MANIFEST_FILE, QUARANTINE_FILE

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


PARTS_FOLDER, MERGE_LOCK = "parts", ".merge.lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what file systems without flock answer


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """What became of one shard."""

    rows: np.ndarray  # [n] int64
    labels: np.ndarray  # [n] int64
    features: np.ndarray  # [n, D] float32
    failures: tuple[Failure, ...] = ()


@dataclass(kw_only=True)
class Parts:
    """Part files of one table; as a context manager it gives up at its end what it has claimed and not finished.

    `key` is all that the numbers depend on: its hash is in the names, so that a part of other input or other settings
    is never taken for one of this table.  A part with failures counts as whole only with `keep_failures`.
    """

    folder: Path
    index: ShardIndex
    key: dict[str, Any]
    rank: int = 0
    ranks: int = 1
    keep_failures: bool = False
    _claims: dict[str, IO[bytes]] = field(default_factory=dict)
    _whole: set[str] = field(default_factory=set)  # what was found whole stays so

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for claim in self._claims.values():
            claim.close()

    def path(self, shard: Shard) -> Path:
        """The file of this shard's part."""
        key = hashlib.sha256(json.dumps([self.key, shard.sha256], sort_keys=True).encode()).hexdigest()[:12]
        return self.folder / f"{Path(shard.file).stem}-{key}.safetensors"

    def are_whole(self) -> bool:
        """Every shard has its part."""
        return sum(self.is_whole(shard) for shard in self.index.shards) == len(self.index.shards)

    @property
    def images(self) -> int:
        """Images of the shards that were found whole."""
        return sum(shard.count for shard in self.index.shards if shard.file in self._whole)

    def is_whole(self, shard: Shard) -> bool:
        """The part is there, readable, and accounts for each image of the shard."""
        if shard.file not in self._whole and self._is_whole(shard):
            self._whole.add(shard.file)
        return shard.file in self._whole

    def _is_whole(self, shard: Shard) -> bool:
        try:
            with safe_open(self.path(shard), framework="numpy") as part:
                failures = _failures(part.metadata())
                count = part.get_slice("rows").get_shape()[0]
        except (FileNotFoundError, SafetensorError):
            return False
        lost = shard.count if any(failure.row is None for failure in failures) else len(failures)
        return count + lost == shard.count and (self.keep_failures or not failures)

    def claim(self) -> Iterator[Shard]:
        """Shards without part that no living process has claimed, each claimed until `write`.

        Ranks begin at different places, so that they seldom ask for the same one.  A claim is a lock that ends with its
        process, however that ends.  Without working locks (some network file systems) each rank has its fixed share.
        """
        shards = self.index.shards
        start = self.rank * len(shards) // self.ranks
        for shard in shards[start:] + shards[:start]:
            if not self.is_whole(shard) and self._lock(shard):
                if self.is_whole(shard):  # finished by another process between the look and the lock
                    self._claims.pop(shard.file).close()
                else:
                    yield shard

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One process at a time, among all that share the folder; where there are no locks, at once."""
        path = self.folder.parent / MERGE_LOCK  # not among the parts, which the merge removes
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as lock:
            with suppress(OSError):
                if fcntl is not None:
                    fcntl.flock(lock, fcntl.LOCK_EX)
            yield
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove all parts, and what killed processes have left half-written beside them."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for path in self.folder.parent.glob(".*.tmp"):
            path.unlink(missing_ok=True)

    def _lock(self, shard: Shard) -> bool:
        if shard.file in self._claims:
            return False
        path = self.path(shard).with_suffix(".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        claim = path.open("wb")
        try:
            if fcntl is None:
                raise OSError(errno.ENOSYS, "no flock")
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in NO_LOCKS or self.index.shards.index(shard) % self.ranks != self.rank:
                claim.close()
                return False
        self._claims[shard.file] = claim
        return True

    def write(self, shard: Shard, part: Part) -> None:
        """Let the part appear, whole, and give the claim up."""
        tensors = {name: torch.as_tensor(getattr(part, name)) for name in ("rows", "labels", "features")}
        failures = json.dumps([asdict(failure) for failure in part.failures])
        write_tensors(self.path(shard), tensors, {"failures": failures})
        self._whole.add(shard.file)
        self._claims.pop(shard.file).close()

    def failures(self) -> list[Failure]:
        """Of all parts."""
        found = []
        for shard in self.index.shards:
            with safe_open(self.path(shard), framework="numpy") as part:
                found += _failures(part.metadata())
        return found


def _failures(metadata: dict[str, str]) -> list[Failure]:
    return [Failure(**failure) for failure in json.loads(metadata["failures"])]


def merge_parts(parts: Parts, dim: int, out: Path, manifest: dict[str, Any]) -> None:
    """Put the parts together by row, prove that each row is there once, and let the table appear, manifest last.

    Parts are read one at a time and written to their place in the file, so memory does not grow with the table.  The
    parts of an incomplete table stay, for the run that mends it.

    Raises:
        ValueError: a row is there twice, or absent without being accounted for.
    """
    paths = [parts.path(shard) for shard in parts.index.shards]
    failures = parts.failures()
    whole_shards = {failure.shard for failure in failures if failure.row is None}
    lost = sum(shard.count for shard in parts.index.shards if shard.file in whole_shards)
    lost += sum(failure.row is not None for failure in failures)
    rows = np.concatenate([_read(path, "rows") for path in paths])
    labels = np.concatenate([_read(path, "labels") for path in paths])
    values, counts = np.unique(rows, return_counts=True)
    if len(rows) != parts.index.count - lost or (counts > 1).any():
        repeated = values[counts > 1][:3].tolist()
        raise ValueError(
            f"{len(values)} of {parts.index.count} rows were extracted, repeated are {repeated}; shards are damaged"
        )
    order = np.argsort(rows)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    (out / MANIFEST_FILE).unlink(missing_ok=True)  # of an incomplete table
    _write_features(out / "features.npy", paths, place, dim)
    for name, values in (("rows", rows[order]), ("labels", labels[order])):
        with atomic_path(out / f"{name}.npy") as temporary, temporary.open("wb") as stream:
            np.save(stream, values, allow_pickle=False)
    _write_quarantine(out / QUARANTINE_FILE, failures)
    write_json(out / MANIFEST_FILE, manifest | {"count": len(rows), "quarantined": lost})
    if not failures:
        parts.remove()


def _read(path: Path, name: str) -> np.ndarray:
    with safe_open(path, framework="numpy") as part:
        return part.get_tensor(name)


def _write_features(path: Path, parts: list[Path], place: np.ndarray, dim: int) -> None:
    """`features.npy` in pieces.  Not through a memory map: its pages would count as memory, and a full disk kill us."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(place), dim)}
        np.lib.format.write_array_header_1_0(stream, header)
        first, start = stream.tell(), 0
        for part in parts:
            features = load_file(part)["features"].astype("<f4", copy=False)
            places = place[start : start + len(features)]
            breaks = np.flatnonzero(np.diff(places) != 1) + 1
            for at, piece in zip(np.split(places, breaks), np.split(features, breaks), strict=True):
                if len(at):
                    stream.seek(first + int(at[0]) * dim * 4)
                    stream.write(piece.tobytes())
            start += len(features)


def _write_quarantine(path: Path, failures: list[Failure]) -> None:
    if not failures:
        path.unlink(missing_ok=True)
        return
    columns = [item.name for item in fields(Failure)]
    write_csv(path, columns, ([getattr(failure, column) for column in columns] for failure in failures))
