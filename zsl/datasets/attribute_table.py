"""`attributes.csv` of a benchmark of one's own: `class,<attribute>,<attribute>,…`, one line a class."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsl.common.text import Row, Table, is_one_line, read_table

ATTRIBUTES_FILE = "attributes.csv"


@dataclass(frozen=True, kw_only=True, eq=False)
class AttributeTable:
    """What attributes.csv says; class ids are its lines."""

    classes: tuple[str, ...]  # C
    attributes: tuple[str, ...]  # A
    strengths: np.ndarray  # [C, A] float64


def read_attributes(path: Path, *, at_least: int = 4) -> AttributeTable:
    """Read `attributes.csv`: first column `class`, then one column an attribute, no gaps.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no table in UTF-8; a class or attribute occurs twice; a value is absent or no number
            (the message names line and column); a name holds a line break; or there are fewer than `at_least` classes.
    """
    table = read_own_table(path)
    if table.columns[0] != "class" or len(table.columns) < 2:
        raise ValueError(
            f"{path} begins with the column {table.columns[0]!r}; needed are class and one column an attribute"
        )
    attributes, classes = table.columns[1:], tuple(row.cells[0] for row in table.rows)
    refuse_repeated(attributes, "attribute", path)
    refuse_repeated(classes, "class", path)
    for name in (*attributes, *classes):
        if not is_one_line(name):
            raise ValueError(f"{path}: the name {name!r} holds a line break; give it a name of one line")
    if len(classes) < at_least:
        raise ValueError(
            f"{path} has {len(classes)} classes; at least 3 seen ones (for the folds) and 1 unseen are needed"
        )
    strengths = np.array([_numbers(row, table) for row in table.rows])
    return AttributeTable(classes=classes, attributes=attributes, strengths=strengths)


def read_own_table(path: Path) -> Table:
    """Read a table of a benchmark of one's own.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no table in UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}; docs/own-benchmark.md says what it holds")
    return read_table(path, "class")


def refuse_repeated(names: Sequence[str], what: str, path: Path) -> None:
    """Raise ValueError where a name is empty or occurs twice."""
    for name, times in Counter(names).items():
        if not name:
            raise ValueError(f"{path}: a {what} has no name")
        if times > 1:
            raise ValueError(f"{path}: {what} {name!r} occurs {times} times")


def _numbers(row: Row, table: Table) -> list[float]:
    """The strengths [A] of one class."""
    return [
        _number(value, f"{table.path}, line {row.line}, column {column}", attribute, row.cells[0])
        for column, (attribute, value) in enumerate(zip(table.columns[1:], row.cells[1:], strict=True), start=2)
    ]


def _number(value: str, place: str, attribute: str, class_name: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or "_" in value:  # Python reads 1_000
        remedy = "; write decimal points instead of decimal commas" if "," in value else ""
        raise ValueError(
            f"{place}: attribute {attribute!r} of class {class_name!r} is {value!r}; every class needs a number for it"
            f"{remedy}"
        )
    return number
