"""Names of attributes: split files have none, the benchmarks' archives do.

`make_shards` looks for them once and leaves `attribute_names.txt`, a name a line, beside its copy of the split files.
They are for people to read; nothing is computed from them.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from zsl.common.files import write_text
from zsl.datasets.attribute_table import ATTRIBUTES_FILE
from zsl.datasets.registry import DATASETS

NAMES_FILE = "attribute_names.txt"
KNOWN = tuple(file for dataset in DATASETS.values() for file in dataset.attribute_files)


def find_names(images: Path, count: int) -> tuple[str, ...]:
    """The names of the `count` attributes in a benchmark's raw folder; () where no file there has that many."""
    table = images / ATTRIBUTES_FILE
    if table.is_file():
        names = tuple(cell.strip() for cell in next(csv.reader(_lines(table)))[1:])
        if len(names) == count:
            return names
    for path in (images / known for known in KNOWN):
        names = tuple(re.sub(r"^\s*\d+\s+", "", line).strip() for line in _lines(path)) if path.is_file() else ()
        if len(names) == count:
            return names
    return ()


def write_names(folder: Path, names: tuple[str, ...]) -> None:
    """Keep `names` in `folder`."""
    write_text(folder / NAMES_FILE, "".join(f"{name}\n" for name in names))


def read_names(folder: Path, count: int) -> tuple[str, ...]:
    """The names that `folder` keeps, () where it has none.

    Raises:
        ValueError: there are not `count` of them.
    """
    path = folder / NAMES_FILE
    names = tuple(_lines(path)) if path.is_file() else ()
    if names and len(names) != count:
        raise ValueError(f"{path} has {len(names)} names, the classes have {count} attributes; mend or remove it")
    return names


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
