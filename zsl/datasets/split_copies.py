"""The copies of a split file and its class lists below `--data`, which training reads."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zsl.common.files import atomic_path
from zsl.common.text import read_names
from zsl.datasets.class_lists import TITLES
from zsl.datasets.split_file import SPLIT_FILE, SplitFile, read_split_file

LISTS = "*classes*.txt"  # the class lists beside a split file


def copy_split_files(source: Path, target: Path) -> None:
    """Copy the split files byte for byte, so that their hashes still name the split; later stages read these.

    The split file comes last: where it is, the class lists are.  Class lists of an earlier packing that `source` lacks
    are removed.
    """
    if source.resolve() == target.resolve():
        return
    lists = list(source.glob(LISTS))
    for stale in target.glob(LISTS):
        if stale.name not in {path.name for path in lists}:
            stale.unlink()
    _copy([*lists, *source.glob(SPLIT_FILE)], target)


def _copy(paths: Sequence[Path], target: Path) -> None:
    """Copy files into the folder `target`, one after the other; each is there whole or not at all."""
    for path in paths:
        with atomic_path(target / path.name) as temporary:
            shutil.copyfile(path, temporary)


def keep_splits(source: Path, target: Path, split_file: SplitFile) -> None:
    """Copy the split files below `data`, where training reads them; those of another split stay and are an error.

    Class lists that are absent there are added: an earlier version, when it was killed, left the split file alone.

    split_file: that of `source`.

    Raises:
        ValueError: `target` has other rows, classes, attributes or lists.
    """
    if not (target / SPLIT_FILE).is_file():
        copy_split_files(source, target)
        return
    _check_equal(read_split_file(target), split_file, target, source)
    lists = {path: target / path.name for path in source.glob(LISTS)}
    for path, present in lists.items():
        if path.stem in TITLES and present.is_file() and set(read_names(present)) != set(read_names(path)):
            raise ValueError(f"{present} has other classes than --splits {path}; use another --data")
    _copy([path for path, present in lists.items() if not present.is_file()], target)


def _check_equal(present: SplitFile, other: SplitFile, target: Path, source: Path) -> None:
    """Check that the split file in `target` says what the one in `source` says.

    Raises:
        ValueError: rows, classes or attributes differ.
    """
    if present.hashes != other.hashes:
        raise ValueError(
            f"{target} holds splits {'/'.join(present.hashes)}, --splits {'/'.join(other.hashes)}; use another --data"
        )
    same_attributes = np.array_equal(present.attributes, other.attributes, equal_nan=True)
    for what, same in (("classes", present.class_names == other.class_names), ("attributes", same_attributes)):
        if not same:
            raise ValueError(
                f"{target} holds other {what}, or in another order, than --splits {source}; use another --data"
            )
