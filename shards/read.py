"""From a shard to its samples, in order, each exactly once."""

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

KEY = re.compile(r"\d{8}")  # of a sample: its row


@dataclass(frozen=True, slots=True)
class Sample:
    """One photo as it lies in a shard."""

    row: int  # 0-based official row
    label: int  # class id in [0, C)
    file: str
    image: bytes  # the original file
    box: tuple[int, int, int, int] | None = None

    @property
    def photo_hash(self) -> str:
        """Hash of photo and box, 16 hex digits: equal for the same photo under any name and in any benchmark."""
        return hashlib.sha256(self.image + repr(self.box).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Facts:
    """The `.json` of a sample."""

    row: int
    label: int
    file: str
    box: tuple[int, int, int, int] | None = None


def read_shard(path: Path) -> Iterator[Sample]:
    """Samples of one tar file in stored order; see `read_samples`."""
    with Path(path).open("rb") as stream:
        yield from read_samples(stream, str(path))


def read_samples(
    stream: IO[bytes], name: str, *, damaged: Callable[[int, str], None] | None = None
) -> Iterator[Sample]:
    """Samples of a tar in stored order; errors call its origin `name`.

    WebDataset's tar iterators get an open stream.  So no text of a shard list ever runs as a command, and errors of the
    tar are raised, where WebDataset's usual handlers would drop samples.  This function takes a tar that is cut between
    two samples for a shorter one; `open_checked` finds the cut.

    damaged: takes row and fault of a sample that is damaged, and reading goes on; None: such a sample is an error.

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
    """The sample that WebDataset groups from two members of a tar.

    Raises:
        ValueError: a member is absent, or the facts are damaged or contradict the key.
    """
    key = members["__key__"]
    absent = [suffix for suffix in ("jpg", "json") if suffix not in members]
    if absent:
        raise ValueError(f"sample {key} in {name} has no .{absent[0]}; is the shard whole?")
    try:
        facts = msgspec.convert(json.loads(members["json"]), _Facts)  # msgspec's own parser takes no odd file names
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise ValueError(f"sample {key} in {name}: its .json is damaged ({error}); make the shards anew") from error
    if f"{facts.row:08d}" != key:
        raise ValueError(f"sample {key} in {name} says that it is row {facts.row}")
    return Sample(facts.row, facts.label, facts.file, members["jpg"], facts.box)
