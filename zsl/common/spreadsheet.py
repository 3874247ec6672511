"""CSV files for people, who open them in spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from zsl.common.files import atomic_path
from zsl.common.text import printable

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet computes a cell that begins so


def plain_cell(value: Any) -> Any:
    """`value` for a cell that no spreadsheet computes: an apostrophe stands before a text that begins like a formula.

    Names of files and messages come from others' archives.  Numbers stay as they are.
    (OWASP, CSV injection.)
    """
    if not isinstance(value, str):
        return value
    return f"'{printable(value)}" if value.startswith(FORMULA) else printable(value)


def raw_cell(cell: str) -> str:
    """The text of a cell that `plain_cell` wrote, without the apostrophe before a text that begins like a formula."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file of UTF-8: a head, then one line for each row, with texts as `plain_cell`.

    Bytes of a file's name that are not UTF-8 are written as `\\\\xff`.

    Raises:
        OSError: the disk is full, the folder read-only, or the like; in words.
    """
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        for row in (columns, *rows):
            writer.writerow([plain_cell(value) for value in row])
