"""Let only one process at a time work in a folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zsl.common.files import writing

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # errors of file systems without flock

_held: set[Path] = set()  # folders that this process keeps others out of


class FolderInUse(ValueError):
    """Another process is at work in a folder."""


@contextmanager
def sole_process(folder: Path, *, when: bool = True) -> Iterator[None]:
    """Keep other processes out of `folder` during the block.  The lock also ends with the process, even after a kill.

    The lock leaves no file in the folder.  A file system without locks keeps nobody out.

    when: whether to lock at all; of the processes of one launch, only the first does.

    Raises:
        FolderInUse: another process is in such a block.
    """
    place = folder.resolve()
    if fcntl is None or not when or place in _held:
        yield
        return
    absent = [path for path in (folder, *folder.parents) if not path.exists()]  # innermost folder first
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(place, os.O_RDONLY)
    try:
        _lock(descriptor, folder)
    except FolderInUse:
        os.close(descriptor)
        raise
    _held.add(place)
    try:
        yield
    finally:
        with suppress(OSError):  # this removes new folders that stayed empty; a folder with files raises the error
            for path in absent:
                path.rmdir()
        _held.discard(place)
        os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Whether a process, this one or another, is at work in `folder`.

    False where the file system has no locks, and for a folder that this user may not read.
    """
    if fcntl is None or folder.resolve() in _held:
        return folder.resolve() in _held
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # it ends at once, with the descriptor
    except OSError as error:
        return error.errno not in NO_LOCKS
    finally:
        os.close(descriptor)
    return False


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise FolderInUse(
                f"another process is at work in {folder}; wait until it has ended, or give this one another folder "
                "(--name, or --data)"
            ) from error
