"""SUN Attribute (Patterson and Hays 2012) from its raw layout, `images/<a>/<scene…>/*.jpg`.

A scene is one folder or two (`a/abbey`, `b/bazaar/indoor`) below that of its first letter.  The split file's class is
the scene's folders joined by `_` (`abbey`, `bazaar_indoor`); that holds for all 14,340 official rows and tells all 717
classes apart, though not back: `airplane_cabin` is one folder.

Row order: `image_files` of the split folder, else `SUNAttributeDB/images.mat` (or `images.mat`) beside `images/`, else
the sorted paths of all photos, which is the order of the official rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zsl.common.matlab import read_variables, strings
from zsl.common.photo_files import list_photos
from zsl.datasets.dataset import Archive, Dataset
from zsl.datasets.instances import Instance
from zsl.datasets.row_order import FILE_LIST, check_depth, make_instances, official_files, read_official_rows

FOLDER = "images"
LISTS = ("SUNAttributeDB/images.mat", "images.mat")


def instances(images: Path, class_names: Sequence[str], split_folder: Path | None = None) -> list[Instance]:
    """All instances of SUN in official row order.

    `images` is the folder that holds `images/`, and `SUNAttributeDB/` if it was downloaded.  Where a file states the
    order, the list has all rows, whether or not the photo is on the disk; elsewhere it has the photos on the disk, and
    none may be absent.

    Raises:
        FileNotFoundError: `images` has no folder `images/`, and no file names the photos.
        ValueError: a class is not in `class_names`, or files or labels are not those of the split folder.
    """
    official = read_official_rows(split_folder)
    listing = next((images / name for name in LISTS if (images / name).is_file()), None)
    if official is not None and official.files is not None:
        files = official_files(official, scene_path)
    elif listing is not None:
        files = _read_listing(listing)
    else:
        files = sorted(list_photos(images / FOLDER))
        check_depth(files, images / FOLDER, f"{FOLDER}/<a>/<scene…>/", 2, 3)
    return make_instances([f"{FOLDER}/{file}" for file in files], list(map(class_name, files)), class_names, official)


def class_name(file: str) -> str:
    """The class of `<a>/<scene…>/<photo>`: the scene's folders joined by `_`."""
    return "_".join(file.split("/")[1:-1])


def scene_path(parts: list[str]) -> str | None:
    """Of a path's parts, those from the last folder with a one-letter name on; None without such a folder."""
    starts = [place for place, part in enumerate(parts[:-2]) if len(part) == 1]
    return "/".join(parts[starts[-1] :]) if starts else None


def _read_listing(path: Path) -> list[str]:
    """The `images` of SUN's own `images.mat`, in its order."""
    return list(strings(read_variables(path, ["images"])["images"], path, FILE_LIST))


SUN = Dataset(
    reader=instances,
    name="SUN",
    split_hashes=("280e25", "421034", "5121fd"),
    class_hash="95edd9",
    attribute_files=("SUNAttributeDB/attributes.mat", "attributes.mat"),
    archive=Archive(
        photos="SUNAttributeDB_Images.tar.gz",
        folder="the folder with images/<a>/<scene>/*.jpg",
        splits="SUN",
        gigabytes=5,
        images=14_340,
    ),
)
