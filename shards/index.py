"""`index.json`: which shards a folder holds, and from what they were made."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

INDEX_FILE = "index.json"
FORMAT = 1
PLAIN_NAME = re.compile(r"\w[\w.-]*")  # no path, no URL, nothing that a shell reads as more than a word


@dataclass(frozen=True)
class Shard:
    """One tar file: `count` samples whose rows rise from `first_row` to `last_row`."""

    file: str
    count: int
    first_row: int
    last_row: int
    sha256: str


@dataclass(frozen=True)
class ShardIndex:
    """All shards of a benchmark; `source` says from what they were made, in whatever fields their maker chooses."""

    benchmark: str
    count: int  # samples in all shards
    total: int  # official rows of the benchmark; more than `count` where photos are missing
    shards: tuple[Shard, ...]
    source: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def sha256(self) -> str:
        """One hash of all samples; feature tables made from them keep it."""
        return hashlib.sha256("".join(shard.sha256 for shard in self.shards).encode()).hexdigest()

    def to_json(self) -> str:
        """The text of `index.json`."""
        return json.dumps(asdict(self), indent=2) + "\n"


def read_index(folder: Path) -> ShardIndex:
    """Read `folder/index.json`.

    Raises:
        FileNotFoundError: the folder has no index; shards without one are unfinished.
        ValueError: see `parse_index`.
    """
    path = Path(folder) / INDEX_FILE
    if not path.is_file():
        raise FileNotFoundError(f"no {INDEX_FILE} in {folder}; scripts/make_shards.py writes shards and index")
    return parse_index(path.read_text(encoding="utf-8"), str(path))


def parse_index(text: str, name: str) -> ShardIndex:
    """The index in the JSON `text`; errors call its origin `name`.

    Raises:
        ValueError: the index has another format, or a shard's file is a path, a URL or a `pipe:` command, not a plain
            name.
    """
    content = json.loads(text)
    if content.get("format") != FORMAT:
        raise ValueError(
            f"{name} has format {content.get('format')!r}, this version reads {FORMAT}; make the shards anew"
        )
    shards = tuple(Shard(**shard) for shard in content.pop("shards"))
    odd = [shard.file for shard in shards if not PLAIN_NAME.fullmatch(shard.file)]
    if odd:
        raise ValueError(
            f"{name} lists the shard {odd[0]!r}; a shard is a plain file name beside {INDEX_FILE}, never a path, a "
            "URL or a pipe: command; --shards says where shards lie"
        )
    return ShardIndex(shards=shards, **content)


def check_shard(folder: Path, shard: Shard) -> Path:
    """Check that the bytes of `shard` in `folder` are those of the index; returns its path.

    Raises:
        FileNotFoundError: the folder has no such file.
        ValueError: the file is another one, or damaged.  Its size would not tell: a tar that is cut between two samples
            reads like a shorter one.
    """
    path = Path(folder) / shard.file
    if not path.is_file():
        raise FileNotFoundError(f"no {shard.file} in {folder}, which {INDEX_FILE} lists; make the shards anew")
    if file_sha256(path) != shard.sha256:
        raise ValueError(f"{path} is not the file that {INDEX_FILE} describes (sha256 differs); make the shards anew")
    return path


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
