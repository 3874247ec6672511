"""`splits.csv` of a benchmark of one's own: `class,split` or `file,split`, to the rows of each part.

By class, a split is `seen` or `unseen`; by photo it is `trainval`, `test_seen` or `test_unseen`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from zsl.common.determinism import derive_seed
from zsl.common.text import Table, column_cells, did_you_mean, nfc
from zsl.datasets.attribute_table import ATTRIBUTES_FILE, read_own_table, refuse_repeated
from zsl.datasets.class_lists import FOLDS
from zsl.datasets.held_out import TEST_SEEN_SHARE, hold_out
from zsl.datasets.instances import Instance
from zsl.datasets.split_file import PARTS

SPLITS_FILE = "splits.csv"
SPLIT_WORDS = {"class": ("seen", "unseen"), "file": tuple(part.removesuffix("_loc") for part in PARTS)}

Parts = Mapping[str, np.ndarray]  # 0-based rows by PARTS
log = logging.getLogger(__name__)


def read_splits(path: Path, classes: Sequence[str], photos: Sequence[Instance]) -> Parts:
    """The rows of each part, by class or by photo.

    Columns beside these are not read, and a warning names them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no table in UTF-8 or lacks a column; it names a class or photo twice, leaves one out or
            names an unknown one; a split is no word of the list above; or the parts are no zero-shot split.
    """
    table = read_own_table(path)
    key = _key_column(table)
    names = column_cells(table, key)
    refuse_repeated(names, key, path)
    _check_names(table, key, list(classes) if key == "class" else [_name(photo) for photo in photos])
    _check_words(table, key)
    split_of = dict(zip(names, column_cells(table, "split"), strict=True))
    if key == "class":
        return _parts_by_class(classes, photos, split_of)
    return _parts_by_photo(photos, split_of, path)


def _name(photo: Instance) -> str:
    """A photo as `splits.csv` names it: its path below `images/`."""
    return nfc(photo.file.removeprefix("images/"))


def _key_column(table: Table) -> str:
    """`file` or, where the table does not have that, `class`."""
    key = next((column for column in ("file", "class") if column in table.columns), None)
    if key is None or "split" not in table.columns:
        raise ValueError(
            f"{table.path} has the columns {','.join(table.columns)}; needed are class,split or file,split"
        )
    refuse_repeated(table.columns, "column", table.path)
    ignored = [column for column in table.columns if column not in (key, "split")]
    if ignored:
        log.warning("%s: the columns %s and split are read, %s not", table.path, key, ", ".join(ignored))
    return key


def _check_names(table: Table, key: str, expected: Sequence[str]) -> None:
    """The table names what is `expected`, no more and no less."""
    names = column_cells(table, key)
    expected_set, listed = set(expected), set(names)
    for row, name in zip(table.rows, names, strict=True):
        if name not in expected_set:
            where = (ATTRIBUTES_FILE if key == "class" else "images/") + did_you_mean(name, expected)
            raise ValueError(f"{table.path}, line {row.line} names the {key} {name!r}, which is not in {where}")
    if absent := [name for name in expected if name not in listed]:
        raise ValueError(
            f"{table.path} leaves out {len(absent)} of {len(expected)}, the first is the {key} {absent[0]!r}"
        )


def _check_words(table: Table, key: str) -> None:
    """Every split is a word that belongs to the `key`."""
    for row, name, word in zip(table.rows, column_cells(table, key), column_cells(table, "split"), strict=True):
        if word not in SPLIT_WORDS[key]:
            raise ValueError(
                f"{table.path}, line {row.line}: split of {name!r} is {word!r}; it should be "
                f"{' or '.join(SPLIT_WORDS[key])}"
            )


def _parts_by_class(classes: Sequence[str], photos: Sequence[Instance], split_of: Mapping[str, str]) -> Parts:
    """All photos of unseen classes are tested, and a share of each seen class's photos."""
    labels = np.array([photo.label for photo in photos])
    seen = [label for label, name in enumerate(classes) if split_of[name] == "seen"]
    counts = np.bincount(labels, minlength=len(classes))
    for label in seen:
        if counts[label] < 2:
            raise ValueError(
                f"the seen class {classes[label]!r} has 1 photo; it needs one to learn from and one to be tested on"
            )
    _refuse_too_few(len(seen), len(classes) - len(seen))
    seen_rows = np.flatnonzero(np.isin(labels, seen))

    def generator(label: int) -> np.random.Generator:
        return np.random.default_rng(derive_seed(0, f"test_seen of {classes[label]}"))

    test_seen = seen_rows[hold_out(labels[seen_rows], TEST_SEEN_SHARE, generator)]
    return {
        "trainval_loc": np.setdiff1d(seen_rows, test_seen),
        "test_seen_loc": test_seen,
        "test_unseen_loc": np.flatnonzero(~np.isin(labels, seen)),
    }


def _parts_by_photo(photos: Sequence[Instance], split_of: Mapping[str, str], path: Path) -> Parts:
    """The parts as the table states them, which are a zero-shot split."""
    members = {part: [photo.row for photo in photos if f"{split_of[_name(photo)]}_loc" == part] for part in PARTS}
    parts = {part: np.array(rows, dtype=np.int64) for part, rows in members.items()}
    check_parts(parts, photos, path)
    return parts


def check_parts(parts: Parts, photos: Sequence[Instance], path: Path) -> None:
    """Check that `parts`, which the file `path` states for all `photos` in row order, are a zero-shot split.

    Raises:
        ValueError: a class is seen and unseen, or is trained and not tested, or the reverse; or classes are too few.
    """
    trainval, test_seen, test_unseen = ({photos[row].class_name for row in parts[part].tolist()} for part in PARTS)
    if both := sorted((trainval | test_seen) & test_unseen):
        raise ValueError(
            f"{path}: class {both[0]!r} has photos in test_unseen and in another part; it cannot be unseen"
        )
    if untrained := sorted(test_seen - trainval):
        raise ValueError(f"{path}: class {untrained[0]!r} has test_seen photos and none in trainval")
    if untested := sorted(trainval - test_seen):
        raise ValueError(f"{path}: class {untested[0]!r} has trainval photos and none in test_seen")
    _refuse_too_few(len(trainval), len(test_unseen))


def _refuse_too_few(seen: int, unseen: int) -> None:
    """Three validation folds need three seen classes, and the test an unseen one."""
    if seen < len(FOLDS) or unseen < 1:
        raise ValueError(
            f"{seen} seen and {unseen} unseen classes; at least {len(FOLDS)} seen ones (one a validation fold) and 1 "
            "unseen are needed"
        )
