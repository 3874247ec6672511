"""From file names to instances at their official rows, checked against the files that state the order.

`labels_files.mat` or `res101.mat` beside `att_splits.mat` name each row's file and label.  Where neither is there, a
benchmark's reader has a documented rule.  Either way each row's class is told twice, by its path (or box) and by the
label, and the two must agree.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from zsl.datasets.class_lists import class_ids
from zsl.datasets.instances import Instance

ORDER_FILES = ("labels_files.mat", "res101.mat")
SUFFIXES = {".jpg", ".jpeg", ".png"}

Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in 0-based pixels; x1 and y1 are the first ones outside


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
    first = None
    for name in ORDER_FILES if folder is not None else ():
        path = Path(folder or "") / name
        if path.is_file():
            rows = _read_mat(path)
            if rows.files is not None:
                return rows
            first = first or rows
    return first


def load_variables(path: Path, *names: str) -> dict[str, Any]:
    """Those of the variables `names` that a MATLAB 5 file has, without the others (features may be large).

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        return loadmat(path, variable_names=names)
    except Exception as error:  # SciPy raises a different type for each way in which a file can be broken
        raise ValueError(f"{path} cannot be read as a MATLAB 5 file ({error}); is the download complete?") from error


def _read_mat(path: Path) -> OfficialRows:
    content = load_variables(path, "labels", "image_files")
    if "labels" not in content:
        raise ValueError(f"{path} has no labels; an official file has labels and image_files in row order")
    labels = content["labels"].ravel().astype(np.int64)
    files = read_cells(content["image_files"], path) if "image_files" in content else None
    if files is not None and len(files) != len(labels):
        raise ValueError(f"{path} has {len(labels):,} labels and {len(files):,} image_files; each row should have both")
    return OfficialRows(path=path, labels=labels, files=files)


def read_cells(cells: np.ndarray, path: Path) -> tuple[str, ...]:
    """The strings of a MATLAB cell array that SciPy read from `path`.

    Raises:
        ValueError: it holds something else.
    """
    values = [cell.ravel() if isinstance(cell, np.ndarray) else np.array([cell]) for cell in cells.ravel()]
    strange = [row for row, value in enumerate(values, start=1) if len(value) != 1 or value.dtype.kind != "U"]
    if strange:
        raise ValueError(f"{path}: entry {strange[0]} of its list of files is not one string")
    return tuple(str(value[0]).strip() for value in values)


def list_photos(root: Path) -> list[str]:
    """Paths below `root` of all photos in it, with forward slashes, in no order; hidden files do not count.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}; --images should be the folder that holds {root.name}/")
    found = []
    for folder, _, names in os.walk(root):
        below = Path(folder).relative_to(root)
        found += [
            (below / name).as_posix() for name in names if name[0] != "." and Path(name).suffix.lower() in SUFFIXES
        ]
    return found


def official_files(official: OfficialRows, suffix: Callable[[list[str]], str | None]) -> list[str]:
    """The path [N] of each row below the raw folder: of the path in `official`, the part that `suffix` keeps.

    `suffix` is given the path's parts and returns None for a path that is none of this benchmark.

    Raises:
        ValueError: some are not; the first three are shown.
    """
    parts = [[part for part in file.replace("\\", "/").split("/") if part] for file in official.files or ()]
    kept = [None if ".." in part else suffix(part) for part in parts]
    strange = [(official.files or ())[row] for row, file in enumerate(kept) if file is None]
    if strange:
        raise ValueError(
            f"{official.path}: {len(strange):,} image_files are not of this benchmark: {first_three(strange)}"
        )
    return [file for file in kept if file is not None]


def make_instances(
    files: Sequence[str],
    names: Sequence[str],
    class_names: Sequence[str],
    official: OfficialRows | None,
    boxes: Sequence[Box] | None = None,
) -> list[Instance]:
    """One instance a row, in the order given: file, class name and box, where rows are boxes.

    Raises:
        ValueError: a class is not in the split file, a file occurs twice (where rows are no boxes), or the labels of
            `official` are not as many or not the same; the first three cases are shown.
    """
    known = set(class_names)
    unknown = [(file, name) for file, name in zip(files, names, strict=True) if name not in known]
    if unknown:
        raise ValueError(
            f"{len(unknown)} class names are not in the split file, the first is {unknown[0][1]!r}: "
            f"{first_three(file for file, _ in unknown)}; the split file has {class_names[0]!r}, {class_names[1]!r}, …"
        )
    labels = class_ids(names, class_names)
    repeated = [file for file, count in Counter(files).items() if count > 1]
    if repeated and boxes is None:
        raise ValueError(f"{len(repeated):,} files are listed more than once: {first_three(repeated)}")
    if official is not None:
        _check_labels(files, labels, class_names, official)
    return [
        Instance(row, label, name, file, None if boxes is None else boxes[row])
        for row, (file, name, label) in enumerate(zip(files, names, labels, strict=True))
    ]


def _check_labels(files: Sequence[str], labels: list[int], class_names: Sequence[str], official: OfficialRows) -> None:
    stated = official.labels - 1
    if len(stated) and (stated.min() < 0 or stated.max() >= len(class_names)):
        raise ValueError(
            f"{official.path}: labels reach from {stated.min() + 1} to {stated.max() + 1}; official ones are 1-based, "
            f"1..{len(class_names)}"
        )
    if len(stated) != len(files):
        found, wanted = np.bincount(labels, minlength=len(class_names)), np.bincount(stated, minlength=len(class_names))
        different = [
            f"{name} {there:,} for {rows:,} rows"
            for name, there, rows in zip(class_names, found, wanted, strict=True)
            if there != rows
        ]
        raise ValueError(
            f"{len(files):,} found, {official.path} has {len(stated):,} rows: {first_three(different)}.  Without "
            "image_files in that file, or with boxes missing, rows cannot be told; all must be there"
        )
    wrong = np.flatnonzero(stated != labels)
    if len(wrong):
        cases = [
            f"row {row} {files[row]} has label {stated[row] + 1} = {class_names[stated[row]]!r}" for row in wrong[:3]
        ]
        raise ValueError(f"{official.path}: {len(wrong):,} labels are not the class of their file: {'; '.join(cases)}")


def first_three(items: Iterable[Any]) -> str:
    """The first three of `items` in words, and a sign that there are more."""
    listed = [str(item) for item in items]
    return ", ".join(listed[:3]) + (", …" if len(listed) > 3 else "")
