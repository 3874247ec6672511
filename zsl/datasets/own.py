"""A benchmark of one's own: a folder with photos and tables in; the official split files out.

    birds/
        images/<class>/*.jpg       photos, by their content (`zsl.common.photo_files`)
        attributes.csv             class,<attribute>,<attribute>,…      one line a class
        splits.csv                 class,split    seen or unseen        one line a class; or
                                   file,split     trainval, test_seen or test_unseen, one line a photo
        att_splits.mat             instead of splits.csv, with rows in the order of the sorted paths below images/

`prepare` checks these and writes `att_splits.mat` and the class lists, so that all that follows reads one form only.
Equal input gives equal bytes.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path

import numpy as np

from shards.index import file_sha256
from zsl.common.determinism import derive_seed
from zsl.datasets import folders
from zsl.datasets.attribute_table import ATTRIBUTES_FILE, read_attributes
from zsl.datasets.class_lists import FOLDS
from zsl.datasets.distinct import check_distinct
from zsl.datasets.held_out import VALIDATION_SHARE
from zsl.datasets.instances import Instance, check_files
from zsl.datasets.official_files import write_class_lists, write_split_file
from zsl.datasets.split_file import PARTS, SPLIT_FILE, SplitFile, read_split_file
from zsl.datasets.split_table import SPLITS_FILE, check_parts, read_splits
from zsl.datasets.splits import make_splits

END_BYTES = 4096
SAME_ATTRIBUTES = 1e-4  # of numbers of a class, divided by their L2 norm; tables are rounded
log = logging.getLogger(__name__)


def is_own(benchmark: str) -> bool:
    """Whether `--benchmark` names a folder of one's own: it has a slash, or is a folder with `images/` in it."""
    return "/" in benchmark or os.sep in benchmark or (Path(benchmark) / "images").is_dir()


def folder_name(benchmark: str) -> str:
    """What a benchmark of one's own is called below `--data`: its folder's name."""
    return Path(benchmark).resolve().name


def prepare(folder: Path, out: Path) -> None:
    """Check the benchmark in `folder` and write `att_splits.mat` and the class lists to the folder `out`.

    Raises:
        FileNotFoundError: a table, or the folder of photos, is absent.
        ValueError: a table is broken, tables and photos contradict each other, a class has too few photos, or two
            photos have the same bytes.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}; --benchmark is a known name or the folder of one of your own")
    has_split_file = (folder / SPLIT_FILE).is_file()
    if has_split_file and (folder / SPLITS_FILE).is_file():
        raise ValueError(f"{folder} has both {SPLITS_FILE} and {SPLIT_FILE}; keep the one that is meant")
    if has_split_file:
        _prepare_from_split_file(folder, out)
    else:
        _prepare_from_tables(folder, out)


def _prepare_from_tables(folder: Path, out: Path) -> None:
    """The folder has attributes.csv and splits.csv: write the official files from them."""
    table = read_attributes(folder / ATTRIBUTES_FILE)
    check_distinct(table.strengths, table.classes, str(folder / ATTRIBUTES_FILE))
    photos = _photos(folder, table.classes, ATTRIBUTES_FILE)
    parts = read_splits(folder / SPLITS_FILE, table.classes, photos)
    labels = np.array([photo.label for photo in photos])
    unseen = np.unique(labels[parts["test_unseen_loc"]])
    seen = np.setdiff1d(np.arange(len(table.classes)), unseen)
    write_split_file(out / SPLIT_FILE, table.classes, table.strengths.T, parts, "own benchmark")
    _write_lists(out, table.classes, seen, unseen)


def _prepare_from_split_file(folder: Path, out: Path) -> None:
    """The folder has an att_splits.mat: check it against the photos, and add the class lists that it lacks."""
    split_file = read_split_file(folder)
    if (folder / ATTRIBUTES_FILE).is_file():
        _compare_attributes(split_file, folder)
    photos = _photos(folder, split_file.class_names, SPLIT_FILE)
    if len(photos) != split_file.count:
        raise ValueError(f"{folder} has {len(photos):,} photos, its {SPLIT_FILE} has {split_file.count:,} rows")
    check_parts({part: getattr(split_file, part) for part in PARTS}, photos, folder / SPLIT_FILE)
    splits = make_splits(split_file, np.arange(len(photos)), np.array([photo.label for photo in photos]))
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / SPLIT_FILE, out / SPLIT_FILE)
    _write_lists(out, split_file.class_names, splits.seen, splits.unseen)
    for path in folder.glob("*classes*.txt"):
        shutil.copyfile(path, out / path.name)


def _compare_attributes(split_file: SplitFile, folder: Path) -> None:
    """Refuse an attributes.csv of other classes than those of the split file; tell of one with other attributes."""
    table = read_attributes(folder / ATTRIBUTES_FILE)
    if table.classes != split_file.class_names:
        raise ValueError(
            f"{folder}: {ATTRIBUTES_FILE} and {SPLIT_FILE} have other classes, or in another order; "
            f"{ATTRIBUTES_FILE} may be left out, {SPLIT_FILE} holds attributes"
        )
    with np.errstate(all="ignore"):  # a class without strengths has no direction; `make_splits` refuses it
        listed, held = (
            each / np.linalg.norm(each, axis=1, keepdims=True) for each in (table.strengths, split_file.attributes)
        )
    if listed.shape != held.shape or not np.allclose(listed, held, atol=SAME_ATTRIBUTES):
        log.warning(
            "%s: the attributes are those of %s; %s has others, which are not read", folder, SPLIT_FILE, ATTRIBUTES_FILE
        )


def _write_lists(out: Path, classes: Sequence[str], seen: np.ndarray, unseen: np.ndarray) -> None:
    """The class lists with three folds whose validation classes are disjoint; a function of the seen classes' names."""
    shuffled = sorted(seen.tolist(), key=lambda label: derive_seed(0, f"validation class {classes[label]}"))
    size = max(1, round(VALIDATION_SHARE * len(seen)))
    validation = [shuffled[(fold - 1) * size : fold * size] for fold in FOLDS]
    write_class_lists(out, classes, seen.tolist(), unseen.tolist(), validation)


def _photos(folder: Path, classes: Sequence[str], listed_in: str) -> list[Instance]:
    """All photos in row order; every class of the file `listed_in` has one, and no two have the same bytes."""
    images = folder / "images"
    photos = folders.instances(folder, classes, listed_in=listed_in)
    counts = np.bincount([photo.label for photo in photos], minlength=len(classes))
    if (counts == 0).any():
        empty = [classes[label] for label in np.flatnonzero(counts == 0).tolist()]
        raise ValueError(f"{len(empty)} classes have no photo in {images}, the first is {empty[0]!r}")
    check_files(folder, photos)
    _refuse_same_bytes(folder, [photo.file for photo in photos])
    return photos


def _refuse_same_bytes(folder: Path, files: Sequence[str]) -> None:
    """A test row must not be a copy.

    Equal bytes have equal sizes and equal ends, so only few files are read to the end.  (Photos begin alike.)
    """
    for of_size in _alike(files, lambda file: (folder / file).stat().st_size):
        for of_end in _alike(of_size, lambda file: _end(folder / file)):
            for first, file, *_ in _alike(of_end, lambda file: file_sha256(folder / file)):
                raise ValueError(f"{first} and {file} are the same photo, byte for byte; a test row must not be a copy")


def _alike(files: Sequence[str], key: Callable[[str], Hashable]) -> Iterator[list[str]]:
    """The groups of two files or more that have an equal key."""
    groups: dict[Hashable, list[str]] = defaultdict(list)
    for file in files:
        groups[key(file)].append(file)
    return (group for group in groups.values() if len(group) > 1)


def _end(path: Path) -> bytes:
    """A hash of the last bytes of a file."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - END_BYTES))
        return hashlib.sha256(stream.read()).digest()
