"""From file names to instances at their official rows, checked against the files that state the order.

`labels_files.mat` or `res101.mat` beside `att_splits.mat` name each row's file and label.  Where the folder has
neither, a benchmark's reader has a documented rule.  Either way each row's class is stated twice, by its path (or box)
and by the label, and the two must agree.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zsl.common.matlab import read_variables, strings, whole_numbers
from zsl.common.text import nfc
from zsl.datasets.instances import Box, Instance

ORDER_FILES = ("labels_files.mat", "res101.mat")
FILE_LIST = "its list of files"  # how messages call `image_files`, and `images` of SUN


@dataclass(frozen=True, kw_only=True, eq=False)
class OfficialRows:
    """What one of ORDER_FILES says of the rows 0..N-1."""

    path: Path
    labels: np.ndarray  # [N] int64 as in the file: 1-based positions in the class list
    files: tuple[str, ...] | None  # N paths, of the authors' machine in res101.mat; AWA1's labels_files.mat has none


def read_official_rows(folder: Path | None) -> OfficialRows | None:
    """The first of ORDER_FILES in `folder` that names files, else the first that has labels, else None.

    Raises:
        ValueError: such a file cannot be read, or has no labels, or not as many as files.
    """
    paths = [folder / name for name in ORDER_FILES] if folder is not None else []
    rows_without_files = None
    for path in paths:
        if path.is_file():
            rows = _read_order_file(path)
            if rows.files is not None:
                return rows
            rows_without_files = rows_without_files or rows
    return rows_without_files


def _read_order_file(path: Path) -> OfficialRows:
    """Labels and files of one of ORDER_FILES; its features, which may be large, are not read."""
    content = read_variables(path, ["labels"], optional=["image_files"])
    labels = whole_numbers(content["labels"], path, "labels", "class number")
    if "image_files" not in content:
        return OfficialRows(path=path, labels=labels, files=None)
    files = strings(content["image_files"], path, FILE_LIST)
    if len(files) != len(labels):
        raise ValueError(f"{path} has {len(labels):,} labels and {len(files):,} image_files; each row should have both")
    return OfficialRows(path=path, labels=labels, files=files)


def check_depth(files: Iterable[str], root: Path, layout: str, least: int, most: int) -> None:
    """Each of `files` below `root` lies in as many folders as the `layout` has.

    Raises:
        ValueError: files lie elsewhere; the message names the first.
    """
    for file in sorted(files):
        if not least <= (folders := file.count("/")) <= most:
            where = "in no class folder" if not folders else "too deep" if folders > most else "not deep enough"
            raise ValueError(f"{root / file} lies {where}; photos are expected in {layout}")


def official_files(official: OfficialRows, suffix: Callable[[list[str]], str | None]) -> list[str]:
    """The path [N] of each row below the raw folder: of the path in `official`, the part that `suffix` keeps.

    `suffix` gets the path's parts and returns None for a path of another benchmark.

    Raises:
        ValueError: paths are of another benchmark; the first three are shown.
    """
    paths = official.files or ()
    parts = [[part for part in path.replace("\\", "/").split("/") if part] for path in paths]
    files = [None if ".." in names else suffix(names) for names in parts]
    strange = [path for path, file in zip(paths, files, strict=True) if file is None]
    if strange:
        raise ValueError(
            f"{official.path}: {len(strange):,} image_files are not of this benchmark: {first_three(strange)}"
        )
    return [file for file in files if file is not None]


def make_instances(
    files: Sequence[str],
    names: Sequence[str],
    class_names: Sequence[str],
    official: OfficialRows | None,
    boxes: Sequence[Box | None] | None = None,
    *,
    listed_in: str = "the split file",
) -> list[Instance]:
    """One instance a row, in the order of `files`: file, class name and, where rows are boxes, box or None.

    Class names are compared in Unicode form NFC; files stay as the disk spells them.  listed_in: the file of
    `class_names`.

    Raises:
        ValueError: a class is not in `class_names`, a file occurs twice (where rows are no boxes), or the labels of
            `official` are not as many or not the same; the first three cases are shown.
    """
    names = [nfc(name) for name in names]
    labels = _labels(files, names, class_names, listed_in)
    repeated = [file for file, count in Counter(files).items() if count > 1]
    if repeated and boxes is None:
        raise ValueError(f"{len(repeated):,} files are listed more than once: {first_three(repeated)}")
    if official is not None:
        _check_labels(files, labels, class_names, official)
    return [
        Instance(row, label, name, file, box=box, box_absent=boxes is not None and box is None)
        for row, (file, name, label, box) in enumerate(
            zip(files, names, labels, boxes or [None] * len(files), strict=True)
        )
    ]


def _labels(files: Sequence[str], names: Sequence[str], class_names: Sequence[str], listed_in: str) -> list[int]:
    """The class id of each name: its position in `class_names`."""
    position = {name: label for label, name in enumerate(class_names)}
    if unknown := [name for name in dict.fromkeys(names) if name not in position]:
        first = next(iter(unknown))
        examples = first_three(file for file, name in zip(files, names, strict=True) if name == first)
        raise ValueError(
            f"{len(unknown)} class names are not in {listed_in}, the first is {first!r}: {examples}; {listed_in} has "
            f"{_spelling(first, class_names)}"
        )
    return [position[name] for name in names]


def _spelling(name: str, class_names: Sequence[str]) -> str:
    """The class that differs from `name` in case and signs only, or else the first two classes."""
    alike = [other for other in class_names if letters(other) == letters(name)]
    if not alike:
        return f"{class_names[0]!r}, {class_names[1]!r}, …"
    return f"{alike[0]!r}; rename the folder"


def letters(name: str) -> str:
    """What remains of a name without case and signs, to find `grizzly+bear` where `Grizzly_bear` is."""
    return re.sub(r"[\W_]", "", nfc(name)).casefold()


def _check_labels(files: Sequence[str], labels: list[int], class_names: Sequence[str], official: OfficialRows) -> None:
    """The labels of `official` are in range, as many as the files, and the classes of the files."""
    official_labels = official.labels - 1
    if len(official_labels) and (official_labels.min() < 0 or official_labels.max() >= len(class_names)):
        raise ValueError(
            f"{official.path}: labels reach from {official.labels.min()} to {official.labels.max()}; official ones "
            f"are 1-based, 1..{len(class_names)}"
        )
    if len(official_labels) != len(files):
        _raise_other_count(labels, official_labels, class_names, official.path)
    wrong = np.flatnonzero(official_labels != labels)
    if len(wrong):
        cases = [
            f"row {row} {files[row]} has label {official.labels[row]} = {class_names[official_labels[row]]!r}"
            for row in wrong[:3]
        ]
        raise ValueError(f"{official.path}: {len(wrong):,} labels are not the class of their file: {'; '.join(cases)}")


def _raise_other_count(labels: list[int], official_labels: np.ndarray, class_names: Sequence[str], path: Path) -> None:
    """Say of which classes there are more or fewer files than official rows."""
    files_of, rows_of = (np.bincount(ids, minlength=len(class_names)) for ids in (labels, official_labels))
    different = [
        f"{name} {files:,} for {rows:,} rows"
        for name, files, rows in zip(class_names, files_of, rows_of, strict=True)
        if files != rows
    ]
    raise ValueError(
        f"{len(labels):,} found, {path} has {len(official_labels):,} rows: {first_three(different)}.  Without "
        "image_files in that file, or with boxes missing, rows cannot be told; all must be there, and no others"
    )


def first_three(items: Iterable[Any]) -> str:
    """The first three of `items` in words, and a sign where there are more."""
    words = [str(item) for item in items]
    return ", ".join(words[:3]) + (", …" if len(words) > 3 else "")
