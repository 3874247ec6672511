"""What a benchmark's reader returns: one instance an official row."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in 0-based pixels; x1 and y1 are the first ones outside


@dataclass(frozen=True, slots=True)
class Instance:
    """One row of a benchmark: a photo, or a box in it, and its class."""

    row: int  # 0-based position in res101.mat's order
    label: int  # class id in [0, C)
    class_name: str
    file: str  # relative to the benchmark's raw folder, with forward slashes
    box: Box | None = None  # None: the whole photo
    box_absent: bool = False  # True: the row is a box, and no file at hand states which


def check_files(folder: Path, instances: Sequence[Instance]) -> None:
    """Refuse a photo without bytes or without the right to read it, before anything of an earlier packing is touched.

    Raises:
        FileNotFoundError: a photo is absent below `folder`.
        PermissionError: this user may not read a photo.
        ValueError: a photo is empty.
    """
    for instance in instances:
        path = folder / instance.file
        if not path.stat().st_size:
            raise ValueError(f"{path} is empty (row {instance.row})")
        if not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
