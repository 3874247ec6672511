"""aPascal & aYahoo (Farhadi et al. 2009) from their raw layout: rows are boxes, several of them in one photo.

    VOCdevkit/VOC2008/JPEGImages/*.jpg    ayahoo_test_images/*.jpg
    attribute_data/*.txt and VOCdevkit/VOC2008/Annotations/*.xml    the boxes (`zsl.datasets.voc`)

Row order: `image_files` of the split folder, else the lines of the three text files in that order; either way VOC2008
comes first (12,695 rows), then aYahoo (2,644).  The k-th row of a photo is its k-th box, and its class must be the
row's label.

**Trainval and test rows share JPEGs.**  The official 15,339 rows lie in 6,577 JPEGs, of which 1,793 hold two or more
classes; 2,885 of 7,924 test_unseen rows and 817 of 1,483 test_seen rows lie in a JPEG that also holds a trainval row.
Cropping keeps a test box's label out of training, not its surroundings, nor what of it lies in a neighbour's box.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from backbones import FORMATS
from zsl.datasets.dataset import Archive, Dataset
from zsl.datasets.instances import Instance
from zsl.datasets.row_order import OfficialRows, first_three, make_instances, official_files, read_official_rows
from zsl.datasets.voc import ANNOTATIONS, BOX_FILES, LISTS, VOC, YAHOO, Object, read_annotations, read_lists


def instances(images: Path, class_names: Sequence[str], split_folder: Path | None = None) -> list[Instance]:
    """All boxes of aPY in official row order, whether or not the photo is on the disk.

    `images` is the folder that holds `VOCdevkit`, `ayahoo_test_images` and `attribute_data`.  Where the split folder
    names the rows, a row whose box no file states is marked so (`Instance.box_absent`).

    Raises:
        FileNotFoundError: no file has the order of the rows.
        ValueError: boxes do not fit rows, labels, or the size of a photo that is on the disk.
    """
    official = read_official_rows(split_folder)
    if official is not None and official.files is not None:
        objects = _official_objects(images, official, class_names)
    else:
        objects = _listed_objects(images)
    rows = make_instances(
        [item.file for item in objects],
        [item.class_name for item in objects],
        class_names,
        official,
        [item.box for item in objects],
    )
    _check_boxes(images, rows)
    return rows


def _official_objects(images: Path, official: OfficialRows, class_names: Sequence[str]) -> list[Object]:
    """The object of each row of `official`, whose boxes are in the text files or in VOC's XML.

    A photo of which neither has a box gives objects without one, and their class is that of the row's label.
    """
    files = official_files(official, _below_archive)
    objects = read_lists(images)
    listed = {item.file for item in objects}
    objects += read_annotations(images, [file for file in dict.fromkeys(files) if file not in listed])
    boxless = _photos_without_boxes(images, files, objects)
    classes = np.clip(official.labels - 1, 0, len(class_names) - 1)  # a label out of range is refused with the others
    rows = [(file, label) for file, label in zip(files, classes.tolist(), strict=False) if file in boxless]
    with_boxes = [item for item in objects if item.file not in boxless]
    return _match(files, with_boxes + [Object(file, class_names[label], None) for file, label in rows])


def _photos_without_boxes(images: Path, files: Sequence[str], objects: Sequence[Object]) -> set[str]:
    """Those of `files` that have no box or, where the photo is not on the disk, not as many boxes as rows."""
    rows_of, boxes_of = Counter(files), Counter(item.file for item in objects)
    different = [file for file in rows_of if boxes_of[file] != rows_of[file]]
    return {file for file in different if not boxes_of[file] or not (images / file).is_file()}


def _listed_objects(images: Path) -> list[Object]:
    """The objects of all three text files, which state the order of the rows too."""
    absent = [name for name in LISTS if not (images / name).is_file()]
    if absent:
        raise FileNotFoundError(
            f"no {', '.join(absent)} in {images}, which state boxes and their order; with labels_files.mat or "
            f"res101.mat in the split folder, {ANNOTATIONS}/*.xml does instead of the apascal ones"
        )
    return read_lists(images)


def _below_archive(parts: list[str]) -> str | None:
    """A photo's path below the raw folder, by the name of its last folder."""
    folders = {"JPEGImages": VOC, YAHOO: YAHOO}
    return f"{folders[parts[-2]]}/{parts[-1]}" if len(parts) > 1 and parts[-2] in folders else None


def _match(files: Sequence[str], objects: Sequence[Object]) -> list[Object]:
    """The object of each row: the k-th row of a file is its k-th object."""
    rows_of, objects_of = Counter(files), Counter(item.file for item in objects)
    different = [
        f"{file} {rows_of[file]} rows, {objects_of[file]} boxes"
        for file in rows_of | objects_of
        if rows_of[file] != objects_of[file]
    ]
    if different:
        raise ValueError(f"rows and boxes are not as many for {len(different):,} photos: {first_three(different)}")
    waiting: dict[str, list[Object]] = defaultdict(list)
    for item in reversed(objects):
        waiting[item.file].append(item)
    return [waiting[file].pop() for file in files]


def _check_boxes(images: Path, rows: Sequence[Instance]) -> None:
    """Each box lies within its photo, where that is on the disk; reads no more than the photos' headers."""
    sizes = {file: _photo_size(images / file) for file in dict.fromkeys(instance.file for instance in rows)}
    outside = []
    for instance in rows:
        size = sizes[instance.file]
        x0, y0, x1, y1 = instance.box or (0, 0, 1, 1)
        if not (0 <= x0 < x1 and 0 <= y0 < y1) or (size is not None and (x1 > size[0] or y1 > size[1])):
            of_size = f" of {size[0]} x {size[1]} pixels" if size is not None else ""
            outside.append(f"row {instance.row} box {[x0, y0, x1, y1]} in {instance.file}{of_size}")
    if outside:
        raise ValueError(
            f"{len(outside):,} boxes (0-based x0, y0, x1, y1, half-open) are not inside their photo: "
            f"{first_three(outside)}"
        )


def _photo_size(path: Path) -> tuple[int, int] | None:
    """Width and height of the stored pixels, in which boxes are; None where there is no such photo."""
    if not path.is_file():
        return None
    try:
        with Image.open(path, formats=FORMATS) as photo:
            return photo.size
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not an image: {error}") from error


APY = Dataset(
    reader=instances,
    name="aPY",
    split_hashes=("faa2d6", "126ab1", "fcefd0"),
    class_hash="ac6f79",
    box_files=BOX_FILES,
    attribute_files=("attribute_data/attribute_names.txt",),
    readable={
        "diningtable": "dining table",
        "pottedplant": "potted plant",
        "tvmonitor": "TV monitor",
        "jetski": "jet ski",
    },
    archive=Archive(
        photos="VOCtrainval_14-Jul-2008.tar, ayahoo_test_images.tar.gz and attribute_data (the boxes)",
        folder="the folder with VOC2008's JPEGImages, ayahoo_test_images and attribute_data",
        splits="APY",
        gigabytes=1.5,
        images=15_339,
    ),
)
