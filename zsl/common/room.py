"""Tensors that may be larger than memory: where they are, they lie in a temporary file that is mapped."""

from __future__ import annotations

import errno
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from zsl.common.control_groups import memory_limits

MEMORY_FILE = Path("/proc/meminfo")
SHARE = 0.5  # of the memory that is free, which one tensor may take
NO_RESERVING = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)  # errors of file systems that cannot reserve
PIECE = 2**26  # bytes that are worked on at a time


def make_room(*shape: int) -> Tensor:
    """Return a float32 tensor of this shape, whose values are not set.

    Without room in memory it lies in a file without a name in the folder for temporary files ($TMPDIR), which ends with
    the tensor.  Whoever indexes such a tensor reads the pages of these rows alone.

    Raises:
        OSError: the folder for temporary files has no room for it.
    """
    size = 4 * math.prod(shape)
    if size <= SHARE * free_memory():
        return torch.empty(shape)
    with tempfile.NamedTemporaryFile(prefix="zsl-") as file:
        reserve(file, size)
        return torch.from_file(file.name, shared=True, size=size // 4, dtype=torch.float32).reshape(shape)


def reserve(file: IO[bytes], size: int) -> None:
    """Give a temporary file that is to be mapped `size` bytes, which the disk has from then on.

    Without them, whoever writes to the map while the disk is full is killed by the system, and no error says why.

    Raises:
        OSError: the folder for temporary files has no room; in words.
    """
    try:
        _allocate(file, size)
    except OSError as error:
        if error.errno in NO_RESERVING:
            file.truncate(size)
            return
        worded = OSError(
            f"{tempfile.gettempdir()} has no room for a temporary file of {size / 1e9:.3g} GB ({error.strerror}); make "
            "room there, or name another folder by TMPDIR"
        )
        worded.errno = error.errno
        raise worded from error


def _allocate(file: IO[bytes], size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:  # macOS and Windows
        file.truncate(size)


def free_memory() -> float:
    """Bytes of memory that this process can still take; infinite where the system does not tell."""
    free = [float(group.free) for group in memory_limits()]
    if MEMORY_FILE.is_file():
        for line in MEMORY_FILE.read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                free.append(1024 * float(line.split()[1]))
    return min(free, default=math.inf)


def pieces(rows: int, row_bytes: int) -> Iterator[slice]:
    """Yield slices of about PIECE bytes, one after the other, that are all of so many rows."""
    step = max(1, PIECE // max(row_bytes, 1))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
