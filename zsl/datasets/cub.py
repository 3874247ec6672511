"""CUB-200-2011 (Wah et al. 2011) from its raw layout: `images.txt` and `images/NNN.Class/*.jpg`.

The official rows are the names in `images.txt` in sorted order, not in the file's own order, and the labels follow the
split file's class list, which starts at class 002.  `labels_files.mat` or `res101.mat`, if the folder has one, must
agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zsl.common.text import read_lines
from zsl.datasets.dataset import Archive, Dataset
from zsl.datasets.instances import Instance
from zsl.datasets.row_order import OfficialRows, first_three, make_instances, official_files, read_official_rows

LISTING = "images.txt"


def instances(images: Path, class_names: Sequence[str], split_folder: Path | None = None) -> list[Instance]:
    """All instances of CUB in official row order, whether or not the photo is on the disk.

    `images` is the folder `CUB_200_2011`.

    Raises:
        FileNotFoundError: the folder has no `images.txt`.
        ValueError: a line of `images.txt` is no number and path, a class is not in `class_names`, or files or labels
            are not those of the split folder.
    """
    listing = images / LISTING
    if not listing.is_file():
        raise FileNotFoundError(f"no {LISTING} in {images}; --images should be the folder CUB_200_2011 of the archive")
    files = _read_listing(listing)
    official = read_official_rows(split_folder)
    if official is not None and official.files is not None:
        files = _official_order(files, listing, official)
    return make_instances(
        [f"images/{file}" for file in files], [file.split("/", 1)[0] for file in files], class_names, official
    )


def _read_listing(path: Path) -> list[str]:
    """The files of `images.txt`, sorted; a line is a number and a path below `images/`."""
    files = []
    for number, line in enumerate(read_lines(path), start=1):
        words = line.split(maxsplit=1)
        if len(words) == 1:
            raise ValueError(f"{path}, line {number}: {line[:60]!r} is not `number class/photo.jpg`")
        if words:
            files.append(words[1].strip())
    return sorted(files)


def _official_order(files: list[str], listing: Path, official: OfficialRows) -> list[str]:
    """The same files in the order of `labels_files.mat` or `res101.mat`."""
    ordered = official_files(official, lambda parts: "/".join(parts[-2:]))
    different = set(files) ^ set(ordered)
    if different:
        raise ValueError(
            f"{listing} and {official.path} differ in {len(different):,} files: {first_three(sorted(different))}"
        )
    return ordered


CUB = Dataset(
    reader=instances,
    name="CUB",
    split_hashes=("aa6a3a", "b7bf2e", "b94d4b"),
    class_hash="0186c4",
    attribute_files=("attributes/attributes.txt", "attributes.txt", "../attributes.txt"),
    archive=Archive(
        photos="CUB_200_2011.tgz",
        folder="CUB_200_2011 (with images.txt and images/<NNN.Class>/*.jpg)",
        splits="CUB",
        gigabytes=1.2,
        images=11_788,
    ),
)
