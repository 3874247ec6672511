"""Photos in class folders, `images/<class>/<file>`: rows are the sorted relative paths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zsl.datasets.instances import Instance
from zsl.datasets.row_order import SUFFIXES, make_instances, read_official_rows


def instances(images: Path, class_names: Sequence[str], split_folder: Path | None = None) -> list[Instance]:
    """All photos below `images/images/`, in sorted order; the folder's name is the class.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a class is not in `class_names`, or labels are not those of the split folder.
    """
    root = images / "images"
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}; photos are expected in images/<class>/ below {images}")
    files = sorted(p.relative_to(root).as_posix() for p in root.glob("*/*") if p.suffix.lower() in SUFFIXES)
    return make_instances(
        [f"images/{file}" for file in files],
        [file.split("/", 1)[0] for file in files],
        class_names,
        read_official_rows(split_folder),
    )
