"""aPascal & aYahoo (Farhadi et al. 2009) from their raw layout: rows are boxes, several of them in one photo.

    VOCdevkit/VOC2008/JPEGImages/*.jpg    ayahoo_test_images/*.jpg
    attribute_data/{apascal_train,apascal_test,ayahoo_test}.txt    `file class xmin ymin xmax ymax attributes…`, a box
    VOCdevkit/VOC2008/Annotations/*.xml    boxes of VOC photos that the text files do not have

Row order: `image_files` of the split folder, else the lines of the three text files in that order; either way VOC2008
comes first (12,695 rows), then aYahoo (2,644).  The k-th row of a photo is its k-th box, and its class must be the
row's label.

Boxes in these files are 1-based and hold their last pixel, as in VOC; an `Instance` has them 0-based and half-open, so
xmin and ymin become one less and xmax and ymax stay.

**Trainval and test rows share JPEGs.**  The official 15,339 rows lie in 6,577 JPEGs, of which 1,793 hold two or more
classes; 2,885 of 7,924 test_unseen rows and 817 of 1,483 test_seen rows lie in a JPEG that also holds a trainval row.
Cropping keeps a test box's label out of training, not its surroundings, nor what of it lies in a neighbour's box.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from zsl.datasets.instances import Instance
from zsl.datasets.row_order import Box, first_three, make_instances, official_files, read_official_rows
from zsl.datasets.splits import Splits

VOC, YAHOO = "VOCdevkit/VOC2008/JPEGImages", "ayahoo_test_images"
ANNOTATIONS = "VOCdevkit/VOC2008/Annotations"
LISTS = {
    "attribute_data/apascal_train.txt": VOC,
    "attribute_data/apascal_test.txt": VOC,
    "attribute_data/ayahoo_test.txt": YAHOO,
}
# A photo's name may hold spaces and ends in a suffix; the class may not hold any, and four numbers follow it.
LINE = re.compile(r"(?P<file>\S.*?\.\w+)\s+(?P<name>\S+)\s+" + r"\s+".join([r"(-?\d+(?:\.\d+)?)"] * 4) + r"(?:\s.*)?")

Object = tuple[str, str, Box]  # file below the raw folder, class name, box


def instances(images: Path, class_names: Sequence[str], split_folder: Path | None = None) -> list[Instance]:
    """All boxes of aPY in official row order, whether or not the photo is there.

    `images` is the folder that holds `VOCdevkit`, `ayahoo_test_images` and `attribute_data`.

    Raises:
        FileNotFoundError: boxes, or the order of the rows, are in no file.
        ValueError: boxes do not fit rows, labels, or the size of a photo that is there.
    """
    official = read_official_rows(split_folder)
    objects = read_lists(images)
    if official is not None and official.files is not None:
        wanted = official_files(official, _below_archive)
        listed = {file for file, _, _ in objects}
        objects += read_annotations(images, [file for file in dict.fromkeys(wanted) if file not in listed])
        objects = _match(wanted, objects)
    else:
        absent = [name for name in LISTS if not (images / name).is_file()]
        if absent:
            raise FileNotFoundError(
                f"no {', '.join(absent)} in {images}, which state boxes and their order; with labels_files.mat or "
                f"res101.mat in the split folder, {ANNOTATIONS}/*.xml does instead of the apascal ones"
            )
    files, names, boxes = (
        [thing[0] for thing in objects],
        [thing[1] for thing in objects],
        [thing[2] for thing in objects],
    )
    rows = make_instances(files, names, class_names, official, boxes)
    _check_boxes(images, rows)
    return rows


def read_lists(images: Path) -> list[Object]:
    """The boxes in those text files of `images/attribute_data` that are there, in the order of LISTS and lines.

    Raises:
        ValueError: a line is not `file class xmin ymin xmax ymax attributes…`.
    """
    objects = []
    for path, folder in ((images / name, folder) for name, folder in LISTS.items()):
        for number, line in enumerate(path.read_text().splitlines() if path.is_file() else (), start=1):
            if not line.strip():
                continue
            fields = LINE.fullmatch(line.strip())
            if fields is None:
                raise ValueError(f"{path}, line {number}: {line[:60]!r} is not `file class xmin ymin xmax ymax …`")
            objects.append((f"{folder}/{fields['file']}", fields["name"], _half_open(fields.groups()[2:])))
    return objects


def read_annotations(images: Path, files: Sequence[str]) -> list[Object]:
    """The boxes of `files` from VOC's XML, in the order of the XML; boxes of parts (heads, hands) do not count.

    Raises:
        FileNotFoundError: there is none for some of them.
        ValueError: one is no VOC annotation.
    """
    paths = {file: images / ANNOTATIONS / f"{Path(file).stem}.xml" for file in files if file.startswith(f"{VOC}/")}
    absent = [file for file in files if file not in paths or not paths[file].is_file()]
    if absent:
        raise FileNotFoundError(
            f"no box for {len(absent):,} photos: {first_three(absent)}.  Boxes are in {', '.join(LISTS)}, or for VOC "
            f"photos in {ANNOTATIONS}/*.xml, below {images}"
        )
    return [thing for file, path in paths.items() for thing in _read_xml(file, path)]


def _read_xml(file: str, path: Path) -> list[Object]:
    try:
        return [
            (
                file,
                (thing.findtext("name") or "").strip(),
                _half_open([thing.findtext(f"bndbox/{side}") or "" for side in ("xmin", "ymin", "xmax", "ymax")]),
            )
            for thing in ElementTree.parse(path).getroot().findall("object")
        ]
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"{path} is not a VOC annotation: {error}") from error


def _half_open(sides: Sequence[str]) -> Box:
    """1-based xmin, ymin, xmax, ymax, the last pixel included, to 0-based x0, y0, x1, y1 without it."""
    xmin, ymin, xmax, ymax = (round(float(side)) for side in sides)
    # A few lists of this kind count from 0: a side at 0 is the photo's border, one below it stays an error.
    return (xmin or 1) - 1, (ymin or 1) - 1, xmax, ymax


def _below_archive(parts: list[str]) -> str | None:
    """A photo's path below the raw folder, by the name of its last folder."""
    folders = {"JPEGImages": VOC, YAHOO: YAHOO}
    return f"{folders[parts[-2]]}/{parts[-1]}" if len(parts) > 1 and parts[-2] in folders else None


def _match(files: Sequence[str], objects: Sequence[Object]) -> list[Object]:
    """The object of each row: the k-th row of a file is its k-th object."""
    rows_of, objects_of = Counter(files), Counter(file for file, _, _ in objects)
    different = [
        f"{file} {rows_of[file]} rows, {objects_of[file]} boxes"
        for file in rows_of | objects_of
        if rows_of[file] != objects_of[file]
    ]
    if different:
        raise ValueError(f"rows and boxes are not as many for {len(different):,} photos: {first_three(different)}")
    waiting: dict[str, list[Object]] = defaultdict(list)
    for thing in reversed(objects):
        waiting[thing[0]].append(thing)
    return [waiting[file].pop() for file in files]


def _check_boxes(images: Path, rows: Sequence[Instance]) -> None:
    """Each box lies within its photo, where that is there; reads no more than the photos' headers."""
    sizes: dict[str, tuple[int, int] | None] = {}
    outside = []
    for instance in rows:
        if instance.file not in sizes:
            sizes[instance.file] = _photo_size(images / instance.file)
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
    """Width and height in pixels; None where there is no such photo."""
    if not path.is_file():
        return None
    try:
        with Image.open(path) as photo:
            return photo.size
    except OSError as error:
        raise ValueError(f"{path} is not an image: {error}") from error


def shared_photos(rows: Sequence[Instance], splits: Splits) -> dict[str, int]:
    """How far boxes of several splits, or of several classes, lie in the same photo.

    `rows` are those at hand.  Counts: `photos`, `photos_of_several_classes`, and for test_seen and test_unseen all
    rows (`…_rows`) and those in a photo that also holds a trainval row (`…_rows_beside_trainval`).
    """
    file_of = {instance.row: instance.file for instance in rows}
    classes: dict[str, set[int]] = defaultdict(set)
    for instance in rows:
        classes[instance.file].add(instance.label)
    trained_on = {file_of[row] for row in splits.trainval_loc.tolist()}

    def beside(loc: np.ndarray) -> int:
        return sum(file_of[row] in trained_on for row in loc.tolist())

    return {
        "photos": len(classes),
        "photos_of_several_classes": sum(len(labels) > 1 for labels in classes.values()),
        "test_seen_rows": len(splits.test_seen_loc),
        "test_seen_rows_beside_trainval": beside(splits.test_seen_loc),
        "test_unseen_rows": len(splits.test_unseen_loc),
        "test_unseen_rows_beside_trainval": beside(splits.test_unseen_loc),
    }
