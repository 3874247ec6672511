"""Atomic files: a file is written under a temporary name, synced and then renamed, so it is whole or absent.

If something stops a writer (a full disk, a read-only folder), the error says so in words.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

REMEDY = "put the file back from a copy, or delete it and make it anew"
LFS_POINTER = b"version https://git-lfs"  # start of the text that Git LFS keeps in place of a large file
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # no further name of a file
REMEDIES = {  # the reason that stops a writer, and what to do about it
    errno.ENOSPC: "no space is left on the disk; make room there",
    errno.EDQUOT: "the disk quota of this user is used up; make room there, or have it raised",
    errno.EFBIG: "the file grows larger than this process or file system may have one; raise the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only; name another folder",
    errno.EACCES: "this user may not write there; change the permissions, or name another folder",
    errno.EPERM: "this user may not write there; change the permissions, or name another folder",
    errno.EEXIST: "a file lies where a folder is needed; move it away, or name another folder",
    errno.ENOTDIR: "a file lies where a folder is needed; move it away, or name another folder",
    errno.EISDIR: "a folder has this name; move it away, or name another file",
    errno.ENAMETOOLONG: "the name is too long for the file system; name another folder or a shorter --name",
    errno.EIO: "the disk reports an error of its own; look at it, or name another folder",
}
WRITERS_ONLY = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # reasons that stop no reader
EITHER = {  # the remedy where the reason may have stopped a reader
    errno.EACCES: "this user has no permission for it; change the permissions, or name another place",
    errno.EPERM: "this user has no permission for it; change the permissions, or name another place",
}


def in_words(error: OSError, path: Path | None = None) -> str:
    """Say what stopped a reader or writer and what to do, if the reason is in REMEDIES; else the text of the error.

    path: file that the program was writing; None: the file that the error names, which it may have been reading.
    """
    if error.errno is None or not _is_of_system(error):
        return str(error)
    if path is not None or error.errno in WRITERS_ONLY:
        named, deed, remedy = path or error.filename, "written", REMEDIES[error.errno]
    else:
        named, deed, remedy = error.filename, "read or written", EITHER.get(error.errno, REMEDIES[error.errno])
    return f"{'a file' if named is None else named} cannot be {deed}: {remedy}"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise an OSError of the block again in words, with its type and number, if it is about writing `path`."""
    try:
        yield
    except OSError as error:
        if not (_is_of_system(error) and _concerns(error, path)):
            raise
        worded = type(error)(in_words(error, path))
        worded.errno = error.errno
        raise worded from error


def _is_of_system(error: OSError) -> bool:
    """Whether the reason is in REMEDIES, and the text is still the text of the operating system."""
    return error.errno in REMEDIES and error.strerror == os.strerror(error.errno)


def _concerns(error: OSError, path: Path) -> bool:
    """Whether the error concerns writing `path`: it names `path`, a file beside it, one of its folders, or no file."""
    if error.filename is None:
        return True
    named = Path(os.fsdecode(error.filename))
    return named == path or named.parent == path.parent or named in path.parents


@contextmanager
def atomic_path(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """Yield a temporary file beside `path`; rename it to `path` after the block, or remove it after an error.

    The content is on the disk before the file gets its name, so a power cut leaves the old file or the new one.

    replace: whether an earlier file goes.  Without it, one of several processes that write at the same time succeeds.

    Raises:
        OSError: the disk is full, the folder is read-only, or the like; the message is in words.
        FileExistsError: there is a file, and it is not to be replaced.
    """
    # The host's name is in the file's name, because machines that share the folder may have equal process numbers.
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            _sync(temporary)
            if replace or not _link(temporary, path):
                temporary.replace(path)
        finally:
            with suppress(OSError):  # a folder that refuses files does not have the temporary file
                temporary.unlink(missing_ok=True)
    with suppress(OSError):  # some file systems cannot sync a folder
        _sync(path.parent)


def _link(old: Path, new: Path) -> bool:
    """Give the file `old` the name `new`, too; return whether the file system can do that.

    Raises:
        FileExistsError: there is a file of that name.
    """
    try:
        os.link(old, new)
    except OSError as error:
        if error.errno in NO_LINKS:
            return False
        raise
    return True


def _sync(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of `atomic_path` and of safetensors that killed processes left in `folder`."""
    for pattern in (".*.tmp", ".tmp*"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def write_json(path: Path, content: Any, *, replace: bool = True) -> None:
    """Write `content` to `path` as indented JSON, atomically; `replace` and errors as in `atomic_path`."""
    with atomic_path(path, replace=replace) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path, remedy: str = REMEDY) -> Any:
    """Read a JSON file.

    remedy: end of an error message, which says what to do about the file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not JSON; the message names a Git LFS pointer as such.
    """
    content = path.read_bytes()
    if content.startswith(LFS_POINTER):
        raise ValueError(f"{path} is a Git LFS pointer, not the file itself; git lfs pull fetches it")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error if content else 'it is empty'}); {remedy}") from error


def read_object(path: Path, remedy: str = REMEDY) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        FileNotFoundError, ValueError: as in `read_json`; or the content is not an object.
    """
    content = read_json(path, remedy)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a JSON {type(content).__name__}, not an object; {remedy}")
    return content


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read the JSON object of each line, and skip lines that a kill or a full disk cut short."""
    entries = []
    for line in path.read_bytes().splitlines():
        with suppress(ValueError, RecursionError):
            if isinstance(entry := json.loads(line), dict):
                entries.append(entry)
    return entries


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append_text(path: Path, text: str) -> None:
    """Append `text` to the file `path` in UTF-8; the file need not exist.

    If a kill cut the last line of the file short, the text begins on a new line, so that it is not lost with that one.

    Raises:
        OSError: as in `atomic_path`.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as stream:
            stream.seek(-1 if stream.tell() else 0, os.SEEK_END)
            is_cut = stream.read(1) not in (b"", b"\n")
            stream.write(b"\n" * is_cut + text.encode())
