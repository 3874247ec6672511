"""AWA1 (Lampert et al. 2014) and AWA2 (Xian et al. 2019) from their raw layout, `JPEGImages/<class>/*.jpg`.

Class folders and the split file's class list spell names alike (`grizzly+bear`), but the list is not alphabetical.
Row order: `image_files` of the split folder, else classes alphabetical and the files of each in order, that is, the
sorted paths `<class>/<file>`.  That rule gives AWA2's 37,322 official rows exactly, and AWA1's 30,475 labels (AWA1's
photos are not public any more; its `labels_files.mat` names no files).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zsl.common.photo_files import list_photos
from zsl.datasets.dataset import Archive, Dataset
from zsl.datasets.instances import Instance
from zsl.datasets.row_order import check_depth, make_instances, official_files, read_official_rows

FOLDER = "JPEGImages"


def instances(images: Path, class_names: Sequence[str], split_folder: Path | None = None) -> list[Instance]:
    """All instances of AWA1 or AWA2 in official row order.

    `images` is the folder that holds `JPEGImages`.  Where `image_files` in `split_folder` name the rows, the list has
    all rows, whether or not the photo is on the disk; elsewhere it has the photos on the disk, and none may be absent.

    Raises:
        FileNotFoundError: `images` has no `JPEGImages`, and no file names the photos.
        ValueError: a class is not in `class_names`, or files or labels are not those of the split folder.
    """
    official = read_official_rows(split_folder)
    if official is not None and official.files is not None:
        files = official_files(official, lambda parts: "/".join(parts[-2:]) if len(parts) > 1 else None)
    else:
        files = sorted(list_photos(images / FOLDER))
        check_depth(files, images / FOLDER, f"{FOLDER}/<class>/", 1, 1)
    return make_instances(
        [f"{FOLDER}/{file}" for file in files], [file.split("/", 1)[0] for file in files], class_names, official
    )


AWA1 = Dataset(
    reader=instances,
    name="AWA1",
    split_hashes=("2b059e", "cea3bf", "6c5c61"),
    class_hash="11ac34",
    missing_strength=-1,  # antelope's black, white, blue and brown
    attribute_files=("predicates.txt",),
    archive=Archive(
        photos="the raw photos of AWA1 (no longer distributed by its authors; not AwA2-data.zip)",
        folder="the folder with JPEGImages/<class>/*.jpg",
        splits="AWA1",
        gigabytes=10,
        images=30_475,
    ),
)
AWA2 = Dataset(
    reader=instances,
    name="AWA2",
    split_hashes=("cbe1b3", "5e2cd2", "1d0f99"),
    class_hash="11ac34",
    missing_strength=-1,
    attribute_files=("predicates.txt",),
    archive=Archive(
        photos="AwA2-data.zip",
        folder="Animals_with_Attributes2 (with JPEGImages/<class>/*.jpg)",
        splits="AWA2",
        gigabytes=13,
        images=37_322,
    ),
)
