"""Where shards lie: a folder, any URL that fsspec knows (s3://, gs://, https://), or, if allowed, a command."""

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

from shards.index import INDEX_FILE, Shard, ShardIndex, check_shard, parse_index, read_index

Location = str | Path
PIPE = "pipe:"
CHUNK = 1 << 20


def open_index(location: Location, *, allow_pipe: bool = False) -> ShardIndex:
    """The index of the shards at `location`.

    A location is a folder, a URL of a folder, or `pipe:COMMAND` with `{file}` in the command, which prints that file.

    Raises:
        FileNotFoundError: there is none; shards without an index are unfinished.
        ValueError: it is of another format, or `location` is one of those that `open_shard` refuses.
    """
    if is_folder(location):
        return read_index(Path(location))
    with _open_remote(str(location), INDEX_FILE, allow_pipe) as stream:
        return parse_index(stream.read().decode(), f"{INDEX_FILE} at {location}")


@contextmanager
def open_shard(location: Location, shard: Shard, *, allow_pipe: bool = False) -> Iterator[IO[bytes]]:
    """The bytes of `shard`, after they were found to be those of the index; remote ones pass through a temporary file.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: its sha256 is not the index's; the scheme of the URL needs a package that is not installed; or
            `location` is a command and `allow_pipe` was not given.
    """
    if is_folder(location):
        with check_shard(Path(location), shard).open("rb") as stream:
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


def is_folder(location: Location) -> bool:
    """Neither a URL nor a command."""
    return isinstance(location, Path) or not (location.startswith(PIPE) or "://" in location)


@contextmanager
def _open_remote(location: str, file: str, allow_pipe: bool) -> Iterator[IO[bytes]]:
    if not location.startswith(PIPE):
        try:
            with fsspec.open(f"{location.rstrip('/')}/{file}", "rb") as stream:
                yield stream
        except ImportError as error:  # fsspec names the package of this scheme
            raise ValueError(f"{location} cannot be read: {error}") from error
        except FileNotFoundError as error:
            raise FileNotFoundError(f"no {file} at {location}") from error
        return
    if not allow_pipe:
        raise ValueError(f"{location!r} would run a command on this machine; --allow-pipe permits it")
    if "{file}" not in location:
        raise ValueError(f"{location!r} has no {{file}}; write for example 'pipe:ssh host cat /shards/{{file}}'")
    # `parse_index` admits plain file names only, so nothing in an index can change what the command does.
    try:
        with wds.gopen(location.replace("{file}", file)) as stream:
            yield stream
    except OSError as error:  # the command failed; which kind of failure it was, nobody says
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise FileNotFoundError(f"no {file} from {location!r}: {error}") from error
