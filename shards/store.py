"""Open shards at a location: a folder, a URL that fsspec reads (s3://, gs://, https://) or, if allowed, a command."""

from __future__ import annotations

import errno
import hashlib
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import IO, TypeVar

import fsspec
import webdataset as wds

from shards.index import INDEX_FILE, Shard, ShardIndex, open_checked, parse_index, read_index
from shards.read import Sample, read_samples

Location = str | Path
PIPE = "pipe:"
CHUNK = 1 << 20
ABSENT = (404, 410, "404", "NoSuchKey", "NoSuchBucket")  # answers of HTTP and S3 that say "not there"
LATER = (408, 425, 429)  # answers of HTTP to a client that say "try again"
WAITS = (1, 5, 20)  # seconds before the second, third and fourth attempt to read a file at a URL

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class RemoteError(OSError):
    """A network, server or command failed, so that nobody knows whether the file is there and whole."""


class Denied(RemoteError):
    """A server answered that this client may not read the file, or asked in a wrong way."""


class NoCopy(OSError):
    """The folder for temporary files cannot take the copy of a remote shard: it is full, or its disk fails."""


class _OtherFile(ValueError):
    """A copy of a shard that is not the file of the index: the server cut it short, or has another file."""


class _Refused(ValueError):
    """A location that cannot be a place of shards, whatever the network does."""


def open_index(location: Location, *, allow_pipe: bool = False) -> ShardIndex:
    """Read the index of the shards at `location`.

    A location is a folder, the URL of a folder, or `pipe:COMMAND`.  The command contains `{file}` and prints that file.

    Raises:
        FileNotFoundError: the location has no index, which means that its shards are unfinished.
        RemoteError: the network or the command fails.
        ValueError: the index has another format, or `open_shard` would refuse the location.
    """
    if is_folder(location):
        return read_index(Path(location))
    content = _patiently(lambda: b"".join(_remote_chunks(str(location), INDEX_FILE, allow_pipe)), str(location))
    return parse_index(content, f"{INDEX_FILE} at {location}")


@contextmanager
def open_shard(location: Location, shard: Shard, *, allow_pipe: bool = False) -> Iterator[IO[bytes]]:
    """Open `shard` at `location`, after a check of its sha256; a remote shard is first copied to a temporary file.

    A shard at a URL is tried again after `WAITS` if the network or the server fails, or if the copy is another file.

    Raises:
        FileNotFoundError: the location has no such file.
        RemoteError: the network or the command fails, which says nothing of the file.
        NoCopy: the folder for temporary files is full, or its disk fails.
        ValueError: the sha256 differs from the index; the scheme of the URL needs a package that is not installed; or
            `location` is a command and `allow_pipe` is not set.
    """
    if is_folder(location):
        with open_checked(Path(location), shard) as stream:
            yield stream
        return
    with ExitStack() as stack:
        yield _patiently(lambda: stack.enter_context(_copy(str(location), shard, allow_pipe)), str(location))


@contextmanager
def _copy(location: str, shard: Shard, allow_pipe: bool) -> Iterator[IO[bytes]]:
    """A temporary copy of a remote shard, after a check of its sha256."""
    digest = hashlib.sha256()
    with tempfile.TemporaryFile(buffering=0) as copy:
        for chunk in _remote_chunks(location, shard.file, allow_pipe):
            digest.update(chunk)
            _write(copy, chunk, shard)
        if digest.hexdigest() != shard.sha256:
            raise _OtherFile(f"{shard.file} at {location} is not the file that {INDEX_FILE} describes (sha256 differs)")
        copy.seek(0)
        yield copy


def _patiently(read: Callable[[], Result], location: str) -> Result:
    """What `read` returns; at a URL it is tried again if it fails, because networks and servers fail for a moment."""
    for wait in () if location.startswith(PIPE) else WAITS:
        try:
            return read()
        except Denied:
            raise
        except (RemoteError, _OtherFile) as error:
            log.warning("%s; another attempt follows in %d s", error, wait)
            time.sleep(wait)
    return read()


def _write(copy: IO[bytes], chunk: bytes, shard: Shard) -> None:
    """Write all of `chunk` to the copy of `shard`, which has no buffer: its end would raise the error once more."""
    left = memoryview(chunk)
    try:
        while left:
            left = left[copy.write(left) :]
    except OSError as error:
        raise NoCopy(
            f"{tempfile.gettempdir()} cannot take a copy of {shard.file} ({error.strerror}); make room there, or "
            "name another folder by TMPDIR"
        ) from error


def shard_samples(location: Location, shard: Shard, *, allow_pipe: bool = False) -> Iterator[Sample]:
    """Yield the samples of `shard` at `location` in stored order, after a check of its sha256.

    Raises:
        FileNotFoundError, RemoteError: as in `open_shard`.
        ValueError: as in `open_shard` and `read_samples`.
    """
    with open_shard(location, shard, allow_pipe=allow_pipe) as stream:
        yield from read_samples(stream, shard.file)


def is_folder(location: Location) -> bool:
    """Whether `location` is a folder, not a URL or a command."""
    return isinstance(location, Path) or not (location.startswith(PIPE) or "://" in location)


def _remote_chunks(location: str, file: str, allow_pipe: bool) -> Iterator[bytes]:
    """Yield the bytes of `file` at a URL, or of the output of a command for it; an error of the reader stays out."""
    is_command = location.startswith(PIPE)
    try:
        with _open_command(location, file, allow_pipe) if is_command else _open_url(location, file) as stream:
            while chunk := stream.read(CHUNK):
                yield chunk
    except (MemoryError, _Refused):
        raise
    except Exception as error:  # each of fsspec's packages has its own types
        if isinstance(error.__context__, GeneratorExit):  # the reader stopped, which ended the command, too
            return
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):  # of a cache on this machine
            raise
        if isinstance(error, FileNotFoundError) and _says_absent(error.__cause__):
            raise FileNotFoundError(f"no {file} at {location}") from error
        cause = error.__cause__ or error
        reason = " ".join(str(cause).split()) or type(cause).__name__
        status = getattr(cause, "status", None)
        denied = isinstance(status, int) and 400 <= status < 500 and status not in LATER
        raise (Denied if denied else RemoteError)(
            f"{file} could not be read from {location}: {reason}; start again when it can"
        ) from error


def _says_absent(cause: BaseException | None) -> bool:
    """Whether the cause of a FileNotFoundError is that the file is not there.

    fsspec raises this error for every answer of a web server but a good one, and where no server answers.
    """
    if cause is None or isinstance(cause, FileNotFoundError | KeyError):  # KeyError: of fsspec's folders in memory
        return True
    response = getattr(cause, "response", None)  # of S3
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return getattr(cause, "status", None) in ABSENT or code in ABSENT


def _open_url(location: str, file: str) -> AbstractContextManager[IO[bytes]]:
    try:
        remote: AbstractContextManager[IO[bytes]] = fsspec.open(f"{location.rstrip('/')}/{file}", "rb")
    except (ImportError, ValueError) as error:  # fsspec's message names the scheme, or the package for it
        raise _Refused(
            f"{location} cannot be read: {error}; the shards' place is a folder, or a URL such as s3://bucket/shards"
        ) from error
    return remote


def _open_command(location: str, file: str, allow_pipe: bool) -> AbstractContextManager[IO[bytes]]:
    if not allow_pipe:
        raise _Refused(f"{location!r} would run a command on this machine; --allow-pipe permits it")
    if "{file}" not in location:
        raise _Refused(f"{location!r} has no {{file}}; write for example 'pipe:ssh host cat /shards/{{file}}'")
    # `parse_index` allows only plain file names, so nothing in an index can change what the command does.
    command: AbstractContextManager[IO[bytes]] = wds.gopen(location.replace("{file}", file))
    return command
