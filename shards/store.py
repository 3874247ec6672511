"""Open shards at a location: a folder, a URL that fsspec reads (s3://, gs://, https://) or, if allowed, a command."""

from __future__ import annotations

import errno
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import fsspec
import webdataset as wds

from shards.index import INDEX_FILE, Shard, ShardIndex, open_checked, parse_index, read_index
from shards.read import Sample, read_samples

Location = str | Path
PIPE = "pipe:"
CHUNK = 1 << 20


def open_index(location: Location, *, allow_pipe: bool = False) -> ShardIndex:
    """Read the index of the shards at `location`.

    A location is a folder, the URL of a folder, or `pipe:COMMAND`.  The command contains `{file}` and prints that file.

    Raises:
        FileNotFoundError: the location has no index, which means that its shards are unfinished.
        ValueError: the index has another format, or `open_shard` would refuse the location.
    """
    if is_folder(location):
        return read_index(Path(location))
    with _open_remote(str(location), INDEX_FILE, allow_pipe) as stream:
        return parse_index(stream.read(), f"{INDEX_FILE} at {location}")


@contextmanager
def open_shard(location: Location, shard: Shard, *, allow_pipe: bool = False) -> Iterator[IO[bytes]]:
    """Open `shard` at `location`, after a check of its sha256; a remote shard is first copied to a temporary file.

    Raises:
        FileNotFoundError: the location has no such file.
        ValueError: the sha256 differs from the index; the scheme of the URL needs a package that is not installed; or
            `location` is a command and `allow_pipe` is not set.
    """
    if is_folder(location):
        with open_checked(Path(location), shard) as stream:
            yield stream
        return
    digest = hashlib.sha256()
    with tempfile.TemporaryFile() as copy:
        with _open_remote(str(location), shard.file, allow_pipe) as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
                copy.write(chunk)
        if digest.hexdigest() != shard.sha256:
            raise ValueError(f"{shard.file} at {location} is not the file that {INDEX_FILE} describes (sha256 differs)")
        copy.seek(0)
        yield copy


def shard_samples(location: Location, shard: Shard, *, allow_pipe: bool = False) -> Iterator[Sample]:
    """Yield the samples of `shard` at `location` in stored order, after a check of its sha256.

    Raises:
        FileNotFoundError: as in `open_shard`.
        ValueError: as in `open_shard` and `read_samples`.
    """
    with open_shard(location, shard, allow_pipe=allow_pipe) as stream:
        yield from read_samples(stream, shard.file)


def is_folder(location: Location) -> bool:
    """Whether `location` is a folder, not a URL or a command."""
    return isinstance(location, Path) or not (location.startswith(PIPE) or "://" in location)


@contextmanager
def _open_remote(location: str, file: str, allow_pipe: bool) -> Iterator[IO[bytes]]:
    """Open `file` at a URL, or the output of a command for it."""
    if not location.startswith(PIPE):
        try:
            remote = fsspec.open(f"{location.rstrip('/')}/{file}", "rb")
        except (ImportError, ValueError) as error:  # fsspec's message names the scheme, or the package for it
            raise ValueError(
                f"{location} cannot be read: {error}; the shards' place is a folder, or a URL such as s3://bucket/shards"
            ) from error
        try:
            with remote as stream:
                yield stream
        except FileNotFoundError as error:
            raise FileNotFoundError(f"no {file} at {location}") from error
        return
    if not allow_pipe:
        raise ValueError(f"{location!r} would run a command on this machine; --allow-pipe permits it")
    if "{file}" not in location:
        raise ValueError(f"{location!r} has no {{file}}; write for example 'pipe:ssh host cat /shards/{{file}}'")
    # `parse_index` allows only plain file names, so nothing in an index can change what the command does.
    try:
        with wds.gopen(location.replace("{file}", file)) as stream:
            yield stream
    except OSError as error:  # the command failed, and the error does not state the reason
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise FileNotFoundError(f"no {file} from {location!r}: {error}") from error
