"""From a shard to its samples, in order, each exactly once."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import webdataset as wds


@dataclass(frozen=True, slots=True)
class Sample:
    """One photo as it lies in a shard."""

    row: int  # 0-based official row
    label: int  # class id in [0, C)
    file: str
    image: bytes  # the original file
    box: tuple[int, int, int, int] | None = None


def read_shard(path: Path) -> Iterator[Sample]:
    """Samples of one tar file in stored order; see `read_samples`."""
    with Path(path).open("rb") as stream:
        yield from read_samples(stream, str(path))


def read_samples(stream: IO[bytes], name: str) -> Iterator[Sample]:
    """Samples of a tar in stored order; errors call its origin `name`.

    WebDataset's tar iterators get an open stream.  So no text of a shard list ever runs as a command, and errors of the
    tar are raised, where WebDataset's usual handlers would drop samples.  This function takes a tar that is cut between
    two samples for a shorter one; `check_shard` finds the cut.

    Raises:
        ValueError: the tar is damaged, a sample lacks a member, or its row and its key disagree.
    """
    source = [{"url": name, "stream": stream}]
    try:
        for sample in wds.tariterators.group_by_keys(wds.tariterators.tar_file_expander(source)):
            yield _sample(sample, name)
    except tarfile.ReadError as error:
        raise ValueError(f"{name} is damaged: {error.args[0]}; make the shards anew") from error


def _sample(members: dict, name: str) -> Sample:
    """The sample that WebDataset groups from two members of a tar."""
    key = members["__key__"]
    absent = [suffix for suffix in ("jpg", "json") if suffix not in members]
    if absent:
        raise ValueError(f"sample {key} in {name} has no .{absent[0]}; is the shard whole?")
    facts = json.loads(members["json"])
    if f"{facts['row']:08d}" != key:
        raise ValueError(f"sample {key} in {name} says that it is row {facts['row']}")
    box = facts.get("box")
    return Sample(facts["row"], facts["label"], facts["file"], members["jpg"], tuple(box) if box else None)
