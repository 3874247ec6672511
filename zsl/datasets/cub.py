"""CUB-200-2011 (Wah et al. 2011) from its raw layout: `images.txt` and `images/NNN.Class/*.jpg`.

The official rows are the names in `images.txt` in sorted order, not in the file's own order, and the labels follow the
split file's class list, which starts at class 002.  `labels_files.mat` or `res101.mat`, if it is there, must agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zsl.datasets.instances import Instance
from zsl.datasets.row_order import first_three, make_instances, official_files, read_official_rows


def instances(images: Path, class_names: Sequence[str], split_folder: Path | None = None) -> list[Instance]:
    """All instances of CUB in official row order, whether or not the photo is there.

    `images` is the folder `CUB_200_2011`.

    Raises:
        FileNotFoundError: it has no `images.txt`.
        ValueError: a class is not in `class_names`, or files or labels are not those of the split folder.
    """
    listing = images / "images.txt"
    if not listing.is_file():
        raise FileNotFoundError(f"no images.txt in {images}; --images should be the folder CUB_200_2011 of the archive")
    files = sorted(line.split(maxsplit=1)[1].strip() for line in listing.read_text().splitlines() if line.strip())
    official = read_official_rows(split_folder)
    if official is not None and official.files is not None:
        stated = official_files(official, lambda parts: "/".join(parts[-2:]))
        different = set(files) ^ set(stated)
        if different:
            raise ValueError(
                f"{listing} and {official.path} differ in {len(different):,} files: {first_three(sorted(different))}"
            )
        files = stated
    return make_instances(
        [f"images/{file}" for file in files], [file.split("/", 1)[0] for file in files], class_names, official
    )
