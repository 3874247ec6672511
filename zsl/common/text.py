"""Reading text files and CSV files of people: UTF-8, with or without a byte order mark."""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from zsl.common.files import LFS_POINTER

REMEDY = "save the file as UTF-8"
# The mark of UTF-32 begins with the mark of UTF-16, so the search begins with UTF-32.
MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
ODD_BYTE = re.compile("[\udc80-\udcff]")  # how Python holds a byte of a file's name that is not UTF-8
LINE_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"  # at which `str.splitlines` divides a text
SEPARATORS = {";": "semicolons", "\t": "tabs"}


def nfc(name: str) -> str:
    """Return `name` in Unicode form NFC, in which names that look equal are equal; macOS writes folders in NFD."""
    return unicodedata.normalize("NFC", name)


def printable(name: str) -> str:
    """Return the name of a file as text that UTF-8 can hold: a byte that is not UTF-8 is written as `\\xff`."""
    shown = ODD_BYTE.sub(lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", name)
    return shown.encode("utf-8", "backslashreplace").decode()


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The one of `names` that is nearest to `name`, small or capital letters, as a part of a message; else ""."""
    lower = {each.lower(): each for each in names}
    near = get_close_matches(name.lower(), lower, n=1)
    return f"; did you mean {lower[near[0]]!r}?" if near else ""


def is_one_line(name: str) -> bool:
    """Whether `name` can be a line of a list: it has no line break of any kind, at which `read_lines` would divide."""
    return len(name.splitlines()) <= 1 and not name.endswith(tuple(LINE_BREAKS))


def read_text(path: Path) -> str:
    """Read the characters of a UTF-8 file, without its byte order mark.

    Raises:
        ValueError: the file is a Git LFS pointer, has another encoding, a NUL byte, or ends within a character; the
            message names the line.
    """
    content = path.read_bytes()
    if content.startswith(LFS_POINTER):
        raise ValueError(f"{path} is a Git LFS pointer, not the file itself; git lfs pull fetches it")
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            raise ValueError(f"{path}, line 1: the file is {encoding}; {REMEDY}")
    if (place := content.find(b"\0")) >= 0:
        raise ValueError(f"{path}, line {_line(content, place)}: a NUL byte, which text has not; {REMEDY}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # A codec that removes the mark counts bytes after the mark.
        place = error.start + len(content) - len(error.object)
        if error.reason == "unexpected end of data":
            raise ValueError(
                f"{path}, line {_line(content, place)}: the file ends within a character; was it cut?  Get the whole "
                f"file, or {REMEDY}"
            ) from error
        raise ValueError(
            f"{path}, line {_line(content, place)}: byte {content[place]:#04x} is not UTF-8; {REMEDY}"
        ) from error


def _line(content: bytes, place: int) -> int:
    """Return the number of the line, from 1, that holds byte `place`; \\r\\n, \\n and \\r end a line."""
    return len(content[:place].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))


def read_lines(path: Path) -> list[str]:
    """Read all lines of a UTF-8 file, with empty lines; entry k is line k + 1.

    Raises:
        ValueError: see `read_text`.
    """
    return read_text(path).splitlines()


def read_names(path: Path) -> tuple[str, ...]:
    """Read the names in a UTF-8 file, one name a line, in Unicode form NFC; empty lines do not count.

    Raises:
        ValueError: see `read_text`.
    """
    return tuple(nfc(line.strip()) for line in read_lines(path) if line.strip())


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    line: int  # number of the line in the file, from 1
    cells: tuple[str, ...]  # one cell for each column


@dataclass(frozen=True)
class Table:
    """The content of a CSV file whose columns have names; cells are stripped and in Unicode form NFC."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read_table(path: Path, what: str = "row") -> Table:
    """Read a CSV file: a header, then one line for each `what`; empty lines do not count.

    Raises:
        ValueError: the file is not UTF-8, is not separated by commas, has a column without a name, has no line after
            its header, or a line has another number of cells than the header.
    """
    rows = _split(path)
    if len(rows) < 2:
        raise ValueError(f"{path} has {len(rows)} lines; needed are a header and one line a {what}")
    head, *body = rows
    _check_separator(head, path)
    _check_columns(head, path)
    for row in body:
        _check_length(row, len(head.cells), path)
    return Table(path, head.cells, tuple(body))


def _split(path: Path) -> list[Row]:
    """Read the lines of a CSV file that are not empty."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    rows = []
    try:
        for cells in reader:
            rows.append(Row(reader.line_num, tuple(nfc(cell.strip()) for cell in cells)))
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {reader.line_num}: no table of commas and lines ({error}); is a quotation mark left open?  "
            "Save the file as CSV"
        ) from error
    return [row for row in rows if any(row.cells)]


def _check_separator(head: Row, path: Path) -> None:
    """Check that the separator is a comma: a header of one cell with another separator shows that it is not."""
    for separator, words in SEPARATORS.items():
        if len(head.cells) == 1 and separator in head.cells[0]:
            raise ValueError(
                f"{path}, line {head.line}, column 1: {head.cells[0][:40]!r} is separated by {words}; save the file as "
                "comma-separated CSV, with decimal points"
            )


def _check_columns(head: Row, path: Path) -> None:
    """Check that every column has a name.  Spreadsheets save empty columns; data frames save one of row numbers."""
    if "" in head.cells:
        raise ValueError(
            f"{path}, line {head.line}, column {head.cells.index('') + 1}: the column has no name; name it, or remove "
            "it (an empty column of a spreadsheet, or the row numbers of a data frame)"
        )


def _check_length(row: Row, count: int, path: Path) -> None:
    """Check that a line has one cell for each column; decimal commas give more cells."""
    if len(row.cells) == count:
        return
    place = min(len(row.cells), count) + 1
    remedy = (
        "fill in what is absent"
        if len(row.cells) < count
        else "remove trailing commas, write decimal points instead of decimal commas, and put text that holds a comma "
        "in quotation marks"
    )
    raise ValueError(
        f"{path}, line {row.line}: {len(row.cells)} cells, the header has {count}; from column {place} on they do not "
        f"fit: {remedy}"
    )


def column_cells(table: Table, column: str) -> list[str]:
    """Return the cells of a column, one for each row."""
    place = table.columns.index(column)
    return [row.cells[place] for row in table.rows]
