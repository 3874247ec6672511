"""Photos in class folders, `images/<class>/<file>`: the layout of `shapes` and of a benchmark of one's own.

Rows are the sorted relative paths, in Unicode form NFC, so that a copy by macOS, which writes NFD, has the same order.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from zsl.common.photo_files import check_photos, list_entries
from zsl.common.text import nfc
from zsl.datasets.dataset import Dataset
from zsl.datasets.instances import Instance
from zsl.datasets.row_order import check_depth, make_instances, read_official_rows


def instances(
    images: Path, class_names: Sequence[str], split_folder: Path | None = None, *, listed_in: str = "the split file"
) -> list[Instance]:
    """All photos below `images/images/`, in sorted order; the folder's name is the class.

    listed_in: the file of `class_names`, for messages.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a file is no photo or lies elsewhere, two names differ in their Unicode form alone, a class is not
            in `class_names`, or labels are not those of the split folder.
    """
    root = images / "images"
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}; photos are expected in images/<class>/ below {images}")
    entries = list(list_entries(root))
    check_depth([entry.file for entry in entries], root, "images/<class>/", 1, 1)
    check_photos(root, entries)
    files = sorted((entry.file for entry in entries), key=nfc)
    for names in (files, sorted({file.split("/", 1)[0] for file in files}, key=nfc)):
        _refuse_alike(names, root)
    return make_instances(
        [f"images/{file}" for file in files],
        [file.split("/", 1)[0] for file in files],
        class_names,
        read_official_rows(split_folder),
        listed_in=listed_in,
    )


def _refuse_alike(names: Sequence[str], root: Path) -> None:
    """Refuse two of the sorted `names` that differ in their Unicode form alone."""
    for first, second in itertools.pairwise(names):
        if nfc(first) == nfc(second):
            raise ValueError(
                f"{root / first} and {second} look equal and differ in their bytes (Unicode forms NFC and NFD); rename "
                "one of them, or put the photos of the two folders into one"
            )


SHAPES = Dataset(  # as `zsl.datasets.shapes` draws it at its default configuration
    reader=instances, name="shapes", official=False, split_hashes=("4af555", "172700", "278c69")
)
