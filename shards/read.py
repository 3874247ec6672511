"""Read the samples of a shard in stored order, each exactly once."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import webdataset as wds

KEY = re.compile(r"\d{8}")  # key of a sample, which is its row


@dataclass(frozen=True, slots=True)
class Sample:
    """One photo of a shard with its facts."""

    row: int  # 0-based official row
    label: int  # class id in [0, C)
    file: str
    image: bytes  # the original file
    box: tuple[int, int, int, int] | None = None

    @property
    def photo_hash(self) -> str:
        """Hash of photo and box, 16 hex digits; it is equal for the same photo under any name in any benchmark."""
        return hashlib.sha256(self.image + repr(self.box).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Facts:
    """The content of a sample's `.json`."""

    row: int
    label: int
    file: str
    box: tuple[int, int, int, int] | None = None


def read_shard(path: Path) -> Iterator[Sample]:
    """Yield the samples of one tar file in stored order; see `read_samples`."""
    with Path(path).open("rb") as stream:
        yield from read_samples(stream, str(path))


def read_samples(
    stream: IO[bytes], name: str, *, damaged: Callable[[int, str], None] | None = None
) -> Iterator[Sample]:
    """Yield the samples of a tar in stored order; `name` is its origin in error messages.

    WebDataset's tar iterators get an open stream.  So no text of a shard list ever runs as a command.  Errors of the
    tar are raised; WebDataset's usual handlers would drop samples.  A tar that is cut between two samples reads like a
    shorter one; `open_checked` finds the cut.

    damaged: gets row and fault of each damaged sample, and reading continues; None: a damaged sample is an error.

    Raises:
        ValueError: the tar is damaged; or without `damaged`, a sample lacks a member, or its facts are damaged or
            contradict its key.
    """
    source = [{"url": name, "stream": stream}]
    try:
        for members in wds.tariterators.group_by_keys(wds.tariterators.tar_file_expander(source)):
            try:
                sample = _sample(members, name)
            except ValueError as error:
                key = members["__key__"]
                if damaged is None or not KEY.fullmatch(key):
                    raise
                damaged(int(key), str(error))
            else:
                yield sample
    except (tarfile.TarError, EOFError, UnicodeError) as error:
        raise ValueError(f"{name} is damaged: {error}; make the shards anew") from error


def _sample(members: dict[str, Any], name: str) -> Sample:
    """Make a sample of the two members of a tar that WebDataset has grouped.

    Raises:
        ValueError: a member is absent, or the facts are damaged or contradict the key.
    """
    key = members["__key__"]
    absent = [suffix for suffix in ("jpg", "json") if suffix not in members]
    if absent:
        raise ValueError(f"sample {key} in {name} has no .{absent[0]}; is the shard whole?")
    try:
        facts = msgspec.convert(json.loads(members["json"]), _Facts)  # msgspec's own parser refuses odd file names
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise ValueError(f"sample {key} in {name}: its .json is damaged ({error}); make the shards anew") from error
    if f"{facts.row:08d}" != key:
        raise ValueError(f"sample {key} in {name} says that it is row {facts.row}")
    return Sample(facts.row, facts.label, facts.file, members["jpg"], facts.box)
