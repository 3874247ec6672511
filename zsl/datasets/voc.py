"""The files that state aPY's boxes: three text files of its archive, and VOC's XML annotations.

    attribute_data/{apascal_train,apascal_test,ayahoo_test}.txt    `file class xmin ymin xmax ymax attributes…`, a box
    VOCdevkit/VOC2008/Annotations/*.xml    boxes of VOC photos that the text files do not have

Boxes in these files are 1-based and hold their last pixel, as in VOC; here they are 0-based and half-open, so xmin and
ymin become one less and xmax and ymax stay.  They count in the pixels as they are stored, before EXIF turns the photo:
`backbones.decode_photo` crops first and turns the crop.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from zsl.common.text import read_lines
from zsl.datasets.instances import Box

VOC, YAHOO = "VOCdevkit/VOC2008/JPEGImages", "ayahoo_test_images"
ANNOTATIONS = "VOCdevkit/VOC2008/Annotations"
LISTS = {
    "attribute_data/apascal_train.txt": VOC,
    "attribute_data/apascal_test.txt": VOC,
    "attribute_data/ayahoo_test.txt": YAHOO,
}
BOX_FILES = f"{', '.join(LISTS)}, or for VOC photos {ANNOTATIONS}/*.xml"  # what states boxes, in words
# A photo's name may hold spaces and ends in a suffix; the class may not hold any, and four numbers follow it.
LINE = re.compile(r"(?P<file>\S.*?\.\w+)\s+(?P<name>\S+)\s+" + r"\s+".join([r"(-?\d+(?:\.\d+)?)"] * 4) + r"(?:\s.*)?")


class Object(NamedTuple):
    """A box of a photo and what it shows."""

    file: str  # below the raw folder
    class_name: str
    box: Box | None  # None: no file states it


def read_lists(images: Path) -> list[Object]:
    """The boxes in the text files of `images/attribute_data`, in the order of LISTS and lines; a file may be absent.

    Raises:
        ValueError: a line is not `file class xmin ymin xmax ymax attributes…`.
    """
    objects = []
    for name, folder in LISTS.items():
        if (images / name).is_file():
            objects += _read_list(images / name, folder)
    return objects


def _read_list(path: Path, folder: str) -> list[Object]:
    """The boxes of one text file, whose photos lie in `folder`."""
    objects = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        fields = LINE.fullmatch(line.strip())
        if fields is None:
            raise ValueError(f"{path}, line {number}: {line[:60]!r} is not `file class xmin ymin xmax ymax …`")
        try:
            box = _half_open(fields.groups()[2:])
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        objects.append(Object(f"{folder}/{fields['file']}", fields["name"], box))
    return objects


def read_annotations(images: Path, files: Sequence[str]) -> list[Object]:
    """The boxes of those `files` that VOC's XML annotates, in the order of the XML.

    Boxes of parts (heads, hands) do not count.

    Raises:
        ValueError: a file is no VOC annotation.
    """
    paths = {file: images / ANNOTATIONS / f"{Path(file).stem}.xml" for file in files if file.startswith(f"{VOC}/")}
    return [item for file, path in paths.items() if path.is_file() for item in _read_annotation(file, path)]


def _read_annotation(file: str, path: Path) -> list[Object]:
    """The boxes of one XML file, which are those of the photo `file`."""
    try:
        return [
            Object(
                file,
                (element.findtext("name") or "").strip(),
                _half_open([element.findtext(f"bndbox/{side}") or "" for side in ("xmin", "ymin", "xmax", "ymax")]),
            )
            for element in ElementTree.parse(path).getroot().findall("object")
        ]
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: of an unknown encoding
        raise ValueError(f"{path} is not a VOC annotation: {error}") from error


def _half_open(sides: Sequence[str]) -> Box:
    """1-based xmin, ymin, xmax, ymax, the last pixel included, to 0-based x0, y0, x1, y1 without it.

    Raises:
        ValueError: a side is no number, or not finite.
    """
    numbers = [float(side) for side in sides]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"the box {' '.join(sides)[:60]} is not of finite numbers")
    xmin, ymin, xmax, ymax = map(round, numbers)
    # A few lists of this kind count from 0: a side at 0 is the photo's border, one below it stays an error.
    return (xmin or 1) - 1, (ymin or 1) - 1, xmax, ymax
