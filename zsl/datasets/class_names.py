"""Readable names of classes: `names.csv` beside a benchmark's data, which the user may edit.

    class,name
    001.Black_footed_Albatross,Black footed Albatross

People read these names; no score depends on them but those of a method that says so.  The names of split files stay the
keys of everything else.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zsl.common.spreadsheet import plain_cell, raw_cell, write_csv
from zsl.common.text import did_you_mean, is_one_line, nfc, printable, read_table

NAMES_FILE = "names.csv"
COLUMNS = ("class", "name")
REMEDY = "mend the line, or delete the file: names are then made from the classes' own"

log = logging.getLogger(__name__)


def readable_class(name: str) -> str:
    """The class's name for a reader.

    `087.Mallard_Duck` becomes `Mallard Duck`, `grizzly+bear` becomes `grizzly bear`, and `a/apartment_building/outdoor`
    becomes `apartment building outdoor`.
    """
    text = re.sub(r"^(\d+\.(?=\D)|[a-z]/)", "", printable(name))
    text = re.sub(r"(?<=\w)[+/](?=\w)", " ", text).replace("_", " ")
    return " ".join(text.split()) or printable(name)


def default_names(classes: Sequence[str], words: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Make the names of all classes; a class keeps its own name if two classes would share the readable one.

    words: names that no rule makes, by class.
    """
    names = [(words or {}).get(name) or readable_class(name) for name in classes]
    pairs = list(zip(names, map(printable, classes), strict=True))
    times = Counter(name for pair in pairs for name in set(pair))  # another class's own name is taken, too
    return tuple(name if times[name] == 1 else own for name, own in pairs)


def read_names(path: Path, classes: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes in `names.csv`; a class without a line, or all without the file, has its default name.

    Raises:
        ValueError: the file is no such table; it names a class that there is not, or a class twice; or a name is empty,
            has a line break, or is that of two classes.  The message names the line.
    """
    edited = _read(path, classes) if path.is_file() else {}
    _refuse_unknown(path, classes, edited)
    of_file = {own: entry.name for own, entry in edited.items()}
    names = tuple(of_file.get(own, name) for own, name in zip(classes, default_names(classes), strict=True))
    for name, times in Counter(names).items():
        if times > 1:
            both = [own for own, shown in zip(classes, names, strict=True) if shown == name]
            line = max(edited[own].line for own in both if own in edited)  # default names are all different
            raise ValueError(
                f"{path}, line {line}: the classes {both[0]!r} and {both[1]!r} are both named {name!r}; {REMEDY}"
            )
    return names


def update_names(path: Path, classes: Sequence[str], words: Mapping[str, str] | None = None) -> None:
    """Write `names.csv` for these classes; lines of an earlier file stay, but for those of other classes.

    Raises:
        ValueError: as in `read_names`, but for classes that there are not.
    """
    edited = _read(path, classes) if path.is_file() else {}
    known = set(classes)
    if gone := [name for name in edited if name not in known]:
        log.warning("%s: the lines of %d classes that are no longer there are removed: %s", path, len(gone), gone[0])
    defaults = zip(classes, default_names(classes, words), strict=True)
    write_names(path, classes, [edited[own].name if own in edited else name for own, name in defaults])


def write_names(path: Path, classes: Sequence[str], names: Sequence[str]) -> None:
    """Write `names.csv` with these names of the classes."""
    write_csv(path, COLUMNS, zip(classes, names, strict=True))


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A name in the file."""

    name: str
    line: int


def _read(path: Path, classes: Sequence[str]) -> dict[str, _Entry]:
    """The file's names by class; a class that is not one of `classes` is there as it is written."""
    table = read_table(path, "class")
    if table.columns != COLUMNS:
        raise ValueError(f"{path}, line 1: the columns are {','.join(table.columns)}; needed are class,name")
    written = {nfc(str(plain_cell(name)).strip()): name for name in classes}
    names: dict[str, _Entry] = {}
    for row in table.rows:
        where, own = f"{path}, line {row.line}", written.get(row.cells[0], row.cells[0])
        name = raw_cell(row.cells[1])
        if own in names:
            raise ValueError(f"{where}: class {own!r} occurs twice; {REMEDY}")
        if not name or not is_one_line(name):
            fault = "has a line break in its name" if name else "has no name"
            raise ValueError(f"{where}: class {own!r} {fault}; {REMEDY}")
        names[own] = _Entry(name=name, line=row.line)
    return names


def _refuse_unknown(path: Path, classes: Sequence[str], edited: Mapping[str, _Entry]) -> None:
    known = set(classes)
    for name, entry in edited.items():
        if name not in known:
            guess = did_you_mean(name, classes)
            raise ValueError(f"{path}, line {entry.line}: there is no class {name!r}{guess}; {REMEDY}")
