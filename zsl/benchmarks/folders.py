"""Photos in class folders, `images/<class>/<file>`: rows are the sorted relative paths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zsl.benchmarks.instances import Instance
from zsl.splits import class_ids

SUFFIXES = {".jpg", ".jpeg", ".png"}


def instances(images: Path, class_names: Sequence[str]) -> list[Instance]:
    """All photos below `images/images/`, in sorted order; the folder's name is the class."""
    root = images / "images"
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}; photos are expected in images/<class>/ below {images}")
    files = sorted(p.relative_to(root).as_posix() for p in root.glob("*/*") if p.suffix.lower() in SUFFIXES)
    folders = [file.split("/", 1)[0] for file in files]
    labels = class_ids(folders, class_names)
    return [
        Instance(row, label, folder, f"images/{file}")
        for row, (file, folder, label) in enumerate(zip(files, folders, labels, strict=True))
    ]
