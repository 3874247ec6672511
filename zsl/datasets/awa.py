"""AWA1 (Lampert et al. 2014) and AWA2 (Xian et al. 2019) from their raw layout, `JPEGImages/<class>/*.jpg`.

Class folders and the split file's class list spell names alike (`grizzly+bear`), but the list is not alphabetical.
Row order: `image_files` of the split folder, else classes alphabetical and the files of each in order, that is, the
sorted paths `<class>/<file>`.  That rule gives AWA2's 37,322 official rows exactly, and AWA1's 30,475 labels (AWA1's
photos are not public any more; its `labels_files.mat` names no files).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zsl.datasets.instances import Instance
from zsl.datasets.row_order import list_photos, make_instances, official_files, read_official_rows

FOLDER = "JPEGImages"


def instances(images: Path, class_names: Sequence[str], split_folder: Path | None = None) -> list[Instance]:
    """All instances of AWA1 or AWA2 in official row order.

    `images` is the folder that holds `JPEGImages`.  Where `image_files` in `split_folder` name the rows, all of them
    are listed whether or not the photo is there; else those on the disk are, and all must be there.

    Raises:
        FileNotFoundError: there is no `JPEGImages`, and nothing else names the files.
        ValueError: a class is not in `class_names`, or files or labels are not those of the split folder.
    """
    official = read_official_rows(split_folder)
    if official is not None and official.files is not None:
        files = official_files(official, lambda parts: "/".join(parts[-2:]) if len(parts) > 1 else None)
    else:
        files = sorted(list_photos(images / FOLDER))
    return make_instances(
        [f"{FOLDER}/{file}" for file in files], [file.split("/", 1)[0] for file in files], class_names, official
    )
