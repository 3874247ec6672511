"""`index.json`: the list of the shards in a folder, and their source."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec

INDEX_FILE = "index.json"
FORMAT = 1
LFS_POINTER = b"version https://git-lfs"  # start of the text that Git LFS keeps in place of a large file
PLAIN_NAME = re.compile(r"\w[\w.-]*")  # this excludes paths, URLs and all characters with a meaning to a shell


@dataclass(frozen=True)
class Shard:
    """One tar file of `count` samples."""

    file: str
    count: int
    first_row: int  # the lowest row
    last_row: int  # the highest row
    sha256: str
    rows_sha256: str | None = None  # `rows_sha256` of its rows; None: an earlier version wrote the index

    def holds(self, rows: Iterable[int]) -> bool:
        """Whether `rows`, in any order, are exactly the rows of this shard.

        With an index of an earlier version, this compares only their number and the first and last row.
        """
        rows = list(rows)
        if self.rows_sha256 is not None:
            return rows_sha256(rows) == self.rows_sha256
        return len(set(rows)) == len(rows) == self.count and (min(rows), max(rows)) == (self.first_row, self.last_row)


@dataclass(frozen=True)
class ShardIndex:
    """All shards of a benchmark; `source` states what they were made from, in fields of the caller's choice."""

    benchmark: str
    count: int  # samples in all shards
    total: int  # official rows of the benchmark; more than `count` where photos are missing
    shards: tuple[Shard, ...]
    source: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def sha256(self) -> str:
        """The hash of all samples, which feature tables keep."""
        return hashlib.sha256("".join(shard.sha256 for shard in self.shards).encode()).hexdigest()

    def to_json(self) -> str:
        """The text of `index.json`."""
        return json.dumps(asdict(self), indent=2) + "\n"


def read_index(folder: Path) -> ShardIndex:
    """Read `folder/index.json`.

    Raises:
        FileNotFoundError: the folder has no index, which means that its shards are unfinished.
        ValueError: as in `parse_index`.
    """
    path = Path(folder) / INDEX_FILE
    if not path.is_file():
        raise FileNotFoundError(f"no {INDEX_FILE} in {folder}; scripts/make_shards.py writes shards and index")
    return parse_index(path.read_bytes(), str(path))


def parse_index(text: str | bytes, name: str) -> ShardIndex:
    """Read the index in the JSON `text`; `name` is its origin in error messages.

    The function ignores unknown fields.  They cannot change the meaning of a known field, because `format` would then
    be another.

    Raises:
        ValueError: the text is no index, or has another format; a field is absent or of another type; numbers of
            samples or rows contradict each other; or a shard's file is a path, a URL or a `pipe:` command, not a plain
            name.
    """
    content = _parse_object(text, name)
    if content.get("format") != FORMAT:
        raise ValueError(
            f"{name} has format {content.get('format')!r}, this version reads {FORMAT}; make the shards anew"
        )
    try:
        index = msgspec.convert(content, ShardIndex)
    except msgspec.ValidationError as error:
        raise ValueError(f"{name}: {error}; make the shards anew") from error
    odd = [shard.file for shard in index.shards if not PLAIN_NAME.fullmatch(shard.file)]
    if odd:
        raise ValueError(
            f"{name} lists the shard {odd[0]!r}; a shard is a plain file name beside {INDEX_FILE}, never a path, a "
            "URL or a pipe: command; --shards says where shards lie"
        )
    for fault in _contradictions(index):
        raise ValueError(f"{name}: {fault}; make the shards anew")
    return index


def _parse_object(text: str | bytes, name: str) -> dict[str, Any]:
    """Read the JSON object in `text`."""
    raw = text.encode() if isinstance(text, str) else text
    if raw.startswith(LFS_POINTER):
        raise ValueError(f"{name} is a Git LFS pointer, not the file itself; git lfs pull fetches it")
    try:
        content = json.loads(raw)
    except ValueError as error:
        raise ValueError(f"{name} is no JSON ({error}); make the shards anew") from error
    if not isinstance(content, dict):
        raise ValueError(f"{name} is a JSON {type(content).__name__}, not an object; make the shards anew")
    return content


def _contradictions(index: ShardIndex) -> Iterator[str]:
    """Yield the contradictions in an index, in words."""
    counted = sum(shard.count for shard in index.shards)
    if counted != index.count:
        yield f"its shards have {counted} samples, `count` says {index.count}"
    for shard in index.shards:
        if not 0 < shard.count <= shard.last_row - shard.first_row + 1:
            yield f"{shard.file} has {shard.count} samples in rows {shard.first_row} to {shard.last_row}"
        if not 0 <= shard.first_row <= shard.last_row < index.total:
            yield f"{shard.file} ends at row {shard.last_row}, `total` says that there are {index.total}"
    if twice := [file for file, times in Counter(shard.file for shard in index.shards).items() if times > 1]:
        yield f"{min(twice)} is listed twice"


@contextmanager
def open_checked(folder: Path, shard: Shard) -> Iterator[IO[bytes]]:
    """Open `shard` in `folder`, after a check that its sha256 is that of the index.

    The stream reads the same file that was hashed, even if another file replaces it meanwhile.

    Raises:
        FileNotFoundError: the folder has no such file.
        ValueError: the sha256 differs, so the file is another one or damaged.  Only a hash shows this, because a tar
            that is cut between two samples reads like a shorter one.
    """
    path = Path(folder) / shard.file
    if not path.is_file():
        raise FileNotFoundError(f"no {shard.file} in {folder}, which {INDEX_FILE} lists; make the shards anew")
    with path.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != shard.sha256:
            stream.seek(0)
            is_pointer = stream.read(len(LFS_POINTER)) == LFS_POINTER
            raise ValueError(
                f"{path} is a Git LFS pointer, not the file itself; git lfs pull fetches it"
                if is_pointer
                else f"{path} is not the file that {INDEX_FILE} describes (sha256 differs); make the shards anew"
            )
        stream.seek(0)
        yield stream


def rows_sha256(rows: Iterable[int]) -> str:
    """The sha256 in hex of official rows, written as decimal numbers in rising order with commas between them."""
    return hashlib.sha256(",".join(map(str, sorted(rows))).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
