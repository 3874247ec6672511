"""The parts of an unfinished feature table: one file for each finished shard; one process at a time claims a shard."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Self

import numpy as np
import torch

from shards import Shard, ShardIndex
from zsl.common.tensors import read_some_tensors, read_tensors, write_tensors
from zsl.features.stream import Failure

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


PARTS_FOLDER, MERGE_LOCK = "parts", ".merge.lock"
REMEDY = "delete it and extract again"
TENSORS = ("rows", "labels", "features", "tuned")
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # errors of file systems without flock


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """The result of one shard."""

    rows: np.ndarray  # [n] int64
    labels: np.ndarray  # [n] int64
    features: np.ndarray  # [n, D] float32
    tuned: np.ndarray  # [n] bool: whether the backbone was fine-tuned on the photo
    failures: tuple[Failure, ...] = ()

    def fault(self, shard: Shard) -> str | None:
        """Say in words why this is not the part of `shard`; None if it accounts for each row exactly once."""
        sizes = {len(getattr(self, name)) for name in TENSORS}
        if len(sizes) > 1 or self.features.ndim != 2:
            return "its rows, labels and features differ in number"
        if any(failure.row is None for failure in self.failures):
            return None if not len(self.rows) else "it has rows of a shard that could not be read"
        lost = [failure.row for failure in self.failures if failure.row is not None]
        return None if shard.holds([*self.rows.tolist(), *lost]) else f"its rows are not those of {shard.file}"


@dataclass(kw_only=True)
class Parts:
    """The part files of one table.  At the end of its context, it releases each claimed shard without a part.

    `key` holds everything that the numbers depend on.  Its hash is in the names of the files, so that a table never
    uses a part of other input or other settings.  A part with failures counts as whole only with `keep_failures`.
    """

    folder: Path
    index: ShardIndex
    key: Mapping[str, object]  # as JSON
    rank: int = 0
    ranks: int = 1
    keep_failures: bool = False
    _claims: dict[str, IO[bytes]] = field(default_factory=dict)
    _whole: set[str] = field(default_factory=set)  # shards whose part is whole; such a part does not change

    @cached_property
    def _number(self) -> dict[str, int]:
        """The position of each shard in the index."""
        return {shard.file: number for number, shard in enumerate(self.index.shards)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for claim in self._claims.values():
            claim.close()

    def path(self, shard: Shard) -> Path:
        """The file of the part of `shard`."""
        return self.folder / f"{Path(shard.file).stem}-{short_hash([self.key, shard.sha256])}.safetensors"

    def are_whole(self) -> bool:
        """Whether the part of every shard is whole."""
        return sum(self.is_whole(shard) for shard in self.index.shards) == len(self.index.shards)

    @property
    def images(self) -> int:
        """Number of images in the shards whose parts `is_whole` has found whole."""
        return sum(shard.count for shard in self.index.shards if shard.file in self._whole)

    @property
    def images_written(self) -> int:
        """Number of images in the shards that have a part file, of whatever process; nothing is read."""
        return sum(shard.count for shard in self.index.shards if self.path(shard).is_file())

    def is_whole(self, shard: Shard) -> bool:
        """Whether the part exists, can be read, and accounts for each row of the shard exactly once."""
        if shard.file not in self._whole and self._is_whole(shard):
            self._whole.add(shard.file)
        return shard.file in self._whole

    def _is_whole(self, shard: Shard) -> bool:
        # Process 0 checks all bytes before it merges.  If all ranks did so, each would read the whole table.
        read = read_part if self.rank == 0 else read_rows
        try:
            part = read(self.path(shard))
        except (FileNotFoundError, ValueError):
            return False
        return part.fault(shard) is None and (self.keep_failures or not part.failures)

    def claim(self) -> Iterator[Shard]:
        """Claim shards without a part that no living process has claimed, and yield each; `write` ends the claim.

        Ranks start at different shards, so that they rarely try the same one.  A claim is a lock, which ends with its
        process, also after a kill.  Where locks do not work (some network file systems), each rank has a fixed share of
        the shards.
        """
        shards = self.index.shards
        start = self.rank * len(shards) // self.ranks
        for shard in shards[start:] + shards[:start]:
            if not self.is_whole(shard) and self._lock(shard):
                if self.is_whole(shard):  # another process has finished it between the check and the lock
                    self._claims.pop(shard.file).close()
                else:
                    yield shard

    def claim_with(self, others: Sequence[Self]) -> Iterator[Shard]:
        """Claim shards for this table and all `others` at once, those of which no table has a part.

        A shard that one of them has, or another process works on, is left to the claims of each table.
        """
        for shard in self.claim():
            claimed = [other for other in others if not other.is_whole(shard) and other._lock(shard)]
            if len(claimed) == len(others) and not any(other.is_whole(shard) for other in others):
                yield shard
            else:
                for parts in (self, *claimed):
                    parts._claims.pop(shard.file).close()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let only one of the processes that share the folder into the block at a time; without locks, let in all."""
        path = self.folder.parent / MERGE_LOCK  # not in the folder of parts, which the merge removes
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as lock:
            with suppress(OSError):
                if fcntl is not None:
                    fcntl.flock(lock, fcntl.LOCK_EX)
            yield
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove all parts, and the half-written files that killed processes left in the folder of the table."""
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
            if error.errno not in NO_LOCKS or self._number[shard.file] % self.ranks != self.rank:
                claim.close()
                return False
        self._claims[shard.file] = claim
        return True

    def write(self, shard: Shard, part: Part) -> None:
        """Write the part file atomically, and end the claim.

        Raises:
            ValueError: the part does not hold exactly the rows of the shard.
        """
        if (fault := part.fault(shard)) is not None:
            raise ValueError(f"{shard.file} is not what its index says, {fault}; make the shards anew")
        tensors = {name: torch.as_tensor(getattr(part, name)) for name in TENSORS}
        failures = json.dumps([asdict(failure) for failure in part.failures])
        write_tensors(self.path(shard), tensors, {"failures": failures})
        self._whole.add(shard.file)
        self._claims.pop(shard.file).close()


def short_hash(content: object) -> str:
    """A hash of what JSON can hold, short enough for the name of a file."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def read_part(path: Path) -> Part:
    """Read a part file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is damaged.
    """
    tensors, metadata = read_tensors(path, REMEDY)
    return _part({name: tensor.numpy() for name, tensor in tensors.items()}, metadata, path)


def read_rows(path: Path) -> Part:
    """Read a part file except its features, which are zeros that take no memory; their bytes are not checked.

    Raises:
        FileNotFoundError, ValueError: as in `read_part`.
    """
    tensors, shapes, metadata = read_some_tensors(path, [name for name in TENSORS if name != "features"], REMEDY)
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    return _part(arrays | {"features": np.broadcast_to(np.float32(0), shapes.get("features", ()))}, metadata, path)


def read_part_features(path: Path) -> np.ndarray:
    """The features [n, D] of a part file that has just been checked."""
    return read_some_tensors(path, ["features"], REMEDY)[0]["features"].numpy()


def _part(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str], path: Path) -> Part:
    try:
        failures = tuple(Failure(**failure) for failure in json.loads(metadata["failures"]))
        return Part(**{name: arrays[name] for name in TENSORS}, failures=failures)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); {REMEDY}") from error
