"""Names of attributes: split files have none, the benchmarks' archives have.

`make_shards` looks for them once and writes `attribute_names.txt`, one name a line, beside its copy of the split files.
People read these names; nothing is computed from them.
"""

from __future__ import annotations

import csv
import logging
import re
from pathlib import Path

from zsl.common.files import write_text
from zsl.common.matlab import read_variables, strings
from zsl.common.text import nfc, read_lines
from zsl.datasets.attribute_table import ATTRIBUTES_FILE
from zsl.datasets.registry import DATASETS

NAMES_FILE = "attribute_names.txt"
VARIABLE = "attributes"  # of SUN's attributes.mat
log = logging.getLogger(__name__)
# Files below a raw folder that may have the names: a user's own table, and those of the archives.
RAW_FILES = (ATTRIBUTES_FILE, *(file for dataset in DATASETS.values() for file in dataset.attribute_files))
FOLDERS = ("splits", "raw", ".")  # below `data/<benchmark>`, where such a file may lie


def find_names(folder: Path, count: int) -> tuple[str, ...]:
    """The names of the `count` attributes in a benchmark's raw folder; () where no file there has that many."""
    for path in (folder / file for file in RAW_FILES):
        names = _names_or_none(path) if path.is_file() else ()
        if len(names) == count:
            return names
    return ()


def _names_or_none(path: Path) -> tuple[str, ...]:
    """The names in a file that nobody named; () and a warning where it cannot be read, for people alone read them."""
    try:
        return _names_in(path)
    except ValueError as error:
        log.warning("no attribute names: %s", error)
        return ()


def find_names_below(benchmark_folder: Path, count: int) -> tuple[str, ...]:
    """The names of the `count` attributes below `data/<benchmark>`; () where no file there has that many."""
    for folder in FOLDERS:
        if names := find_names(benchmark_folder / folder, count):
            return names
    return ()


def read_names_file(path: Path, count: int) -> tuple[str, ...]:
    """The names of the `count` attributes in a file that the user names.

    Its lines are `number name`, as in CUB's `attributes.txt`, or names alone; of a `.csv` its head has
    the names, of SUN's `.mat` its variable `attributes`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has another number of names.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no file of attribute names {path}; CUB's is attributes.txt, AWA's predicates.txt, SUN's attributes.mat"
        )
    names = _names_in(path)
    if len(names) != count:
        raise ValueError(f"{path} has {len(names)} attribute names, the split file has {count} attributes")
    return names


def _names_in(path: Path) -> tuple[str, ...]:
    """The names in a file, in Unicode's composed form (NFC), as tables of attributes are read.

    Its lines are `number name`; of a `.csv` the head has the names after its first cell; of a `.mat` (SUN) the variable
    `attributes` has them.
    """
    if path.suffix.lower() == ".mat":
        return tuple(map(nfc, strings(read_variables(path, [VARIABLE])[VARIABLE], path, VARIABLE)))
    lines = _lines(path)
    if path.suffix.lower() == ".csv":
        return tuple(nfc(cell.strip()) for cell in next(csv.reader(lines), [])[1:])
    return tuple(nfc(re.sub(r"^\s*\d+\s+", "", line).strip()) for line in lines)


def write_names(folder: Path, names: tuple[str, ...]) -> None:
    """Write `names` into `folder`."""
    write_text(folder / NAMES_FILE, "".join(f"{name}\n" for name in names))


def read_names(folder: Path, count: int) -> tuple[str, ...]:
    """The names that `write_names` wrote into `folder`; () where it wrote none.

    Raises:
        ValueError: there are not `count` of them.
    """
    path = folder / NAMES_FILE
    names = tuple(map(nfc, _lines(path))) if path.is_file() else ()
    if names and len(names) != count:
        raise ValueError(f"{path} has {len(names)} names, the classes have {count} attributes; mend or remove it")
    return names


def readable_attribute(name: str) -> str:
    """The attribute's name for a reader: `has_bill_shape::hooked` to `bill shape: hooked`."""
    return re.sub(r"^(has|is)_", "", name.strip()).replace("::", ": ").replace("_", " ")


def _lines(path: Path) -> list[str]:
    return [line for line in read_lines(path) if line.strip()]
