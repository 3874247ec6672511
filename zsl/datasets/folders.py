"""Photos in class folders, `images/<class>/<file>`: the layout of `shapes` and of a benchmark of one's own.

Rows are the sorted relative paths, in Unicode form NFC, so that a copy by macOS, which writes NFD, has the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zsl.common.photo_files import check_photos, list_entries
from zsl.common.text import nfc
from zsl.datasets.dataset import Dataset
from zsl.datasets.instances import Instance
from zsl.datasets.row_order import check_depth, make_instances, read_official_rows


def instances(images: Path, class_names: Sequence[str], split_folder: Path | None = None) -> list[Instance]:
    """All photos below `images/images/`, in sorted order; the folder's name is the class.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a file is no photo or lies elsewhere, a class is not in `class_names`, or labels are not those of
            the split folder.
    """
    root = images / "images"
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}; photos are expected in images/<class>/ below {images}")
    entries = list(list_entries(root))
    check_depth([entry.file for entry in entries], root, "images/<class>/", 1, 1)
    check_photos(root, entries)
    files = sorted((entry.file for entry in entries), key=nfc)
    return make_instances(
        [f"images/{file}" for file in files],
        [file.split("/", 1)[0] for file in files],
        class_names,
        read_official_rows(split_folder),
    )


SHAPES = Dataset(  # as `zsl.datasets.shapes` draws it at its default configuration
    reader=instances, name="shapes", official=False, split_hashes=("4af555", "172700", "278c69")
)
