"""The finished shards of a feature table to be: one part file for each, claimed by one process at a time."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Self

import numpy as np
import torch

from shards import Shard, ShardIndex
from zsl.common.tensors import read_tensors, write_tensors
from zsl.features.stream import Failure

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


PARTS_FOLDER, MERGE_LOCK = "parts", ".merge.lock"
TENSORS = ("rows", "labels", "features", "tuned")
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what file systems without flock answer


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """What became of one shard."""

    rows: np.ndarray  # [n] int64
    labels: np.ndarray  # [n] int64
    features: np.ndarray  # [n, D] float32
    tuned: np.ndarray  # [n] bool: whether the backbone was fine-tuned on the photo
    failures: tuple[Failure, ...] = ()

    def fault(self, shard: Shard) -> str | None:
        """What keeps this from being the part of `shard`, in words; None: it accounts for each row exactly once."""
        sizes = {len(getattr(self, name)) for name in TENSORS}
        if len(sizes) > 1 or self.features.ndim != 2:
            return "its rows, labels and features differ in number"
        if any(failure.row is None for failure in self.failures):
            return None if not len(self.rows) else "it has rows of a shard that could not be read"
        lost = [failure.row for failure in self.failures if failure.row is not None]
        return None if shard.holds([*self.rows.tolist(), *lost]) else f"its rows are not those of {shard.file}"


@dataclass(kw_only=True)
class Parts:
    """The part files of one table.  As a context manager it gives up, at its end, each claimed shard without a part.

    `key` is all that the numbers depend on: its hash is in the files' names, so that a part of other input or other
    settings is never taken for one of this table.  A part with failures counts as whole only with `keep_failures`.
    """

    folder: Path
    index: ShardIndex
    key: Mapping[str, object]  # as JSON
    rank: int = 0
    ranks: int = 1
    keep_failures: bool = False
    _claims: dict[str, IO[bytes]] = field(default_factory=dict)
    _whole: set[str] = field(default_factory=set)  # a part that was whole once stays so

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
        """Whether every shard has its part."""
        return sum(self.is_whole(shard) for shard in self.index.shards) == len(self.index.shards)

    @property
    def images(self) -> int:
        """Number of images in the shards whose parts `is_whole` has seen."""
        return sum(shard.count for shard in self.index.shards if shard.file in self._whole)

    def is_whole(self, shard: Shard) -> bool:
        """Whether the part exists, can be read, and accounts for each row of the shard exactly once."""
        if shard.file not in self._whole and self._is_whole(shard):
            self._whole.add(shard.file)
        return shard.file in self._whole

    def _is_whole(self, shard: Shard) -> bool:
        try:
            part = read_part(self.path(shard))
        except (FileNotFoundError, ValueError):
            return False
        return part.fault(shard) is None and (self.keep_failures or not part.failures)

    def claim(self) -> Iterator[Shard]:
        """Shards that have no part and that no living process has claimed; each is claimed now, until `write`.

        Ranks begin at different places, so that they seldom ask for the same shard.  A claim is a lock, which ends with
        its process, however that ends.  Where locks do not work (some network file systems), each rank has a fixed
        share of the shards.
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
        """Let one process in at a time, of all that share the folder; where locks do not work, let it in at once."""
        path = self.folder.parent / MERGE_LOCK  # not among the parts, which the merge removes
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as lock:
            with suppress(OSError):
                if fcntl is not None:
                    fcntl.flock(lock, fcntl.LOCK_EX)
            yield
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove all parts, and the half-written files of killed processes beside their folder."""
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
        """Write the part file, atomically, and give the claim up.

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


def read_part(path: Path) -> Part:
    """Read a part file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged.
    """
    remedy = "delete it and extract again"
    tensors, metadata = read_tensors(path, remedy)
    try:
        failures = tuple(Failure(**failure) for failure in json.loads(metadata["failures"]))
        return Part(**{name: tensors[name].numpy() for name in TENSORS}, failures=failures)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); {remedy}") from error
