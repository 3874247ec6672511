"""CUB-200-2011 (Wah et al. 2011) from its raw layout: `images.txt` and `images/NNN.Class/*.jpg`.

The official rows are the names in `images.txt` in sorted order, not in the file's own order, and the labels follow the
split file's class list, which starts at class 002.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zsl.benchmarks.instances import Instance
from zsl.splits import class_ids


def instances(images: Path, class_names: Sequence[str]) -> list[Instance]:
    """All instances of CUB in official row order, whether or not the photo is there.

    `images` is the folder `CUB_200_2011`.
    """
    listing = images / "images.txt"
    if not listing.is_file():
        raise FileNotFoundError(f"no images.txt in {images}; --images should be the folder CUB_200_2011 of the archive")
    files = sorted(line.split(maxsplit=1)[1].strip() for line in listing.read_text().splitlines() if line.strip())
    folders = [file.split("/", 1)[0] for file in files]
    labels = class_ids(folders, class_names)
    return [
        Instance(row, label, folder, f"images/{file}")
        for row, (file, folder, label) in enumerate(zip(files, folders, labels, strict=True))
    ]
