"""A benchmark of one's own: a folder with photos and tables in; the official split files out.

    birds/
        images/<class>/*.jpg       photos, also .jpeg and .png
        attributes.csv             class,<attribute>,<attribute>,…      one line a class
        splits.csv                 class,split    seen or unseen        one line a class; or
                                   file,split     trainval, test_seen or test_unseen, one line a photo
        att_splits.mat             instead of splits.csv, with rows in the order of the sorted paths below images/

`prepare` checks these and writes `att_splits.mat` and the class lists, so that all that follows knows one form only.
Equal input gives equal bytes.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io

from zsl.common.determinism import derive_seed
from zsl.common.files import atomic_path
from zsl.datasets import folders
from zsl.datasets.class_lists import FOLDS
from zsl.datasets.instances import Instance
from zsl.datasets.row_order import SUFFIXES
from zsl.datasets.split_file import PARTS, SPLIT_FILE, read_split_file
from zsl.datasets.splits import make_splits

ATTRIBUTES_FILE, SPLITS_FILE = "attributes.csv", "splits.csv"
TEST_SEEN_SHARE = 0.2  # of each seen class's photos, as in the Proposed Splits; where splits.csv names classes only
VALIDATION_SHARE = 0.28  # of the seen classes; below 1/3, so that three folds are disjoint
NOT_READ = {".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".avif"}


def is_own(benchmark: str) -> bool:
    """Whether `--benchmark` names a folder of one's own: it has a slash, or is a folder with `images/` in it."""
    return "/" in benchmark or os.sep in benchmark or (Path(benchmark) / "images").is_dir()


def folder_name(benchmark: str) -> str:
    """What a benchmark of one's own is called below `--data`: its folder's name."""
    return Path(benchmark).resolve().name


def prepare(folder: Path, out: Path) -> None:
    """Check the benchmark in `folder` and write `att_splits.mat` and the class lists to the folder `out`.

    Raises:
        FileNotFoundError: a table, or the folder of photos, is not there.
        ValueError: a table is broken, tables and photos contradict each other, a class has too few photos, or two
            photos have the same bytes.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}; --benchmark is a known name or the folder of one of your own")
    given = (folder / SPLIT_FILE).is_file()
    if given and (folder / SPLITS_FILE).is_file():
        raise ValueError(f"{folder} has both {SPLITS_FILE} and {SPLIT_FILE}; keep the one that is meant")
    if given:
        _prepare_official(folder, out)
        return
    table = read_attributes(folder / ATTRIBUTES_FILE)
    photos = _photos(folder, table.classes)
    parts = _read_splits(folder / SPLITS_FILE, table.classes, photos)
    labels = np.array([photo.label for photo in photos])
    unseen = np.unique(labels[parts["test_unseen_loc"]])
    seen = np.setdiff1d(np.arange(len(table.classes)), unseen)
    _write_mat(out / SPLIT_FILE, table, parts)
    _write_lists(out, table.classes, seen, unseen)


def _prepare_official(folder: Path, out: Path) -> None:
    """The folder brings its own att_splits.mat: check it against the photos, add the class lists that it lacks."""
    split_file = read_split_file(folder)
    if (folder / ATTRIBUTES_FILE).is_file():
        classes = read_attributes(folder / ATTRIBUTES_FILE).classes
        if classes != split_file.class_names:
            raise ValueError(
                f"{folder}: {ATTRIBUTES_FILE} and {SPLIT_FILE} have other classes, or in another order; "
                f"{ATTRIBUTES_FILE} may be left out, {SPLIT_FILE} holds attributes"
            )
    photos = _photos(folder, split_file.class_names)
    if len(photos) != split_file.count:
        raise ValueError(f"{folder} has {len(photos):,} photos, its {SPLIT_FILE} has {split_file.count:,} rows")
    splits = make_splits(split_file, np.arange(len(photos)), np.array([photo.label for photo in photos]))
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / SPLIT_FILE, out / SPLIT_FILE)
    _write_lists(out, split_file.class_names, splits.seen, splits.unseen)
    for path in folder.glob("*classes*.txt"):
        shutil.copyfile(path, out / path.name)


# --- the tables ------------------------------------------------------------------------------------------------------


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
        ValueError: a class or attribute occurs twice, a value is absent or no number, the place is named; or there are
            not `at_least` so many classes.
    """
    header, lines = _read_csv(path)
    if header[0] != "class" or len(header) < 2:
        raise ValueError(f"{path} begins with the column {header[0]!r}; needed are class and one column an attribute")
    attributes, classes = tuple(header[1:]), tuple(line[0] for line in lines)
    _refuse_twice(attributes, "attribute", path)
    _refuse_twice(classes, "class", path)
    if len(classes) < at_least:
        raise ValueError(
            f"{path} has {len(classes)} classes; at least 3 seen ones (for the folds) and 1 unseen are needed"
        )
    strengths = np.array(
        [
            [_number(value, name, line[0], path) for name, value in zip(attributes, line[1:], strict=True)]
            for line in lines
        ]
    )
    if len(flat := np.flatnonzero((strengths == 0).all(axis=1))):
        raise ValueError(f"{path}: class {classes[flat[0]]!r} has no attribute but 0; nothing tells what it looks like")
    return AttributeTable(classes=classes, attributes=attributes, strengths=strengths)


def _read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and lines, cells stripped, empty lines dropped; every line has as many cells as the header."""
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}; docs/own-benchmark.md says what it holds")
    with path.open(newline="", encoding="utf-8-sig") as stream:
        try:
            numbered = [
                (number, [cell.strip() for cell in line]) for number, line in enumerate(csv.reader(stream), start=1)
            ]
        except csv.Error as error:
            raise ValueError(f"{path} is no table of commas and lines ({error}); save it as CSV") from error
    numbered = [(number, line) for number, line in numbered if any(line)]
    if len(numbered) < 2:
        raise ValueError(f"{path} has {len(numbered)} lines; needed are a header and one line a class")
    header = numbered[0][1]
    for number, line in numbered[1:]:
        if len(line) != len(header):
            raise ValueError(f"{path}, line {number}: {len(line)} cells, the header has {len(header)}")
    return header, [line for _, line in numbered[1:]]


def _number(value: str, attribute: str, class_name: str, path: Path) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(
            f"{path}: attribute {attribute!r} of class {class_name!r} is {value!r}; every class needs a number for it"
        )
    return number


def _refuse_twice(names: Sequence[str], what: str, path: Path) -> None:
    for name, times in Counter(names).items():
        if not name:
            raise ValueError(f"{path}: a {what} has no name")
        if times > 1:
            raise ValueError(f"{path}: {what} {name!r} occurs {times} times")


def _read_splits(path: Path, classes: Sequence[str], photos: Sequence[Instance]) -> dict[str, np.ndarray]:
    """0-based rows of each part, by class or by photo."""
    header, lines = _read_csv(path)
    if header not in (["class", "split"], ["file", "split"]):
        raise ValueError(f"{path} has the columns {','.join(header)}; needed are class,split or file,split")
    names = [line[0] for line in lines]
    _refuse_twice(names, header[0], path)
    by_class = header[0] == "class"
    expected = list(classes) if by_class else [photo.file.removeprefix("images/") for photo in photos]
    known, given = set(expected), set(names)
    for name in names:
        if name not in known:
            where = f"{ATTRIBUTES_FILE}" if by_class else "images/"
            raise ValueError(f"{path} names the {header[0]} {name!r}, which is not in {where}")
    if absent := [name for name in expected if name not in given]:
        raise ValueError(
            f"{path} leaves out {len(absent)} of {len(expected)}, the first is the {header[0]} {absent[0]!r}"
        )
    words = ("seen", "unseen") if by_class else tuple(part.removesuffix("_loc") for part in PARTS)
    for name, word in lines:
        if word not in words:
            raise ValueError(f"{path}: split of {name!r} is {word!r}; it should be {' or '.join(words)}")
    split_of = dict(lines)
    if by_class:
        return _deal(classes, photos, split_of)
    return _check_parts(
        {
            f"{word}_loc": np.array([p.row for p in photos if split_of[p.file.removeprefix("images/")] == word])
            for word in words
        },
        photos,
        path,
    )


def _deal(classes: Sequence[str], photos: Sequence[Instance], split_of: dict[str, str]) -> dict[str, np.ndarray]:
    """All photos of unseen classes are tested, and a share of each seen class's photos."""
    rows: dict[str, list[int]] = {part: [] for part in PARTS}
    for label, name in enumerate(classes):
        mine = [photo.row for photo in photos if photo.label == label]
        if split_of[name] == "unseen":
            rows["test_unseen_loc"] += mine
            continue
        if len(mine) < 2:
            raise ValueError(f"the seen class {name!r} has 1 photo; it needs one to learn from and one to be tested on")
        order = np.random.default_rng(derive_seed(0, f"test_seen of {name}")).permutation(mine).tolist()
        held_out = max(1, round(TEST_SEEN_SHARE * len(mine)))
        rows["test_seen_loc"] += order[:held_out]
        rows["trainval_loc"] += order[held_out:]
    _refuse_too_few(
        sum(word == "seen" for word in split_of.values()), sum(word == "unseen" for word in split_of.values())
    )
    return {part: np.sort(np.array(listed, dtype=np.int64)) for part, listed in rows.items()}


def _check_parts(parts: dict[str, np.ndarray], photos: Sequence[Instance], path: Path) -> dict[str, np.ndarray]:
    """What splits.csv says photo by photo is a zero-shot split."""
    names = {part: {photos[row].class_name for row in rows.tolist()} for part, rows in parts.items()}
    trainval, test_seen, test_unseen = (names[part] for part in PARTS)
    if both := sorted((trainval | test_seen) & test_unseen):
        raise ValueError(
            f"{path}: class {both[0]!r} has photos in test_unseen and in another part; it cannot be unseen"
        )
    if untrained := sorted(test_seen - trainval):
        raise ValueError(f"{path}: class {untrained[0]!r} has test_seen photos and none in trainval")
    if untested := sorted(trainval - test_seen):
        raise ValueError(f"{path}: class {untested[0]!r} has trainval photos and none in test_seen")
    _refuse_too_few(len(trainval), len(test_unseen))
    return parts


def _refuse_too_few(seen: int, unseen: int) -> None:
    if seen < len(FOLDS) or unseen < 1:
        raise ValueError(
            f"{seen} seen and {unseen} unseen classes; at least {len(FOLDS)} seen ones (one a validation fold) and 1 "
            "unseen are needed"
        )


# --- the photos ------------------------------------------------------------------------------------------------------


def _photos(folder: Path, classes: Sequence[str]) -> list[Instance]:
    """All photos in row order; every class has one, and no two have the same bytes."""
    strange = sorted(path for path in (folder / "images").glob("*/*") if path.suffix.lower() in NOT_READ)
    if strange:
        raise ValueError(f"{len(strange)} photos are neither JPEG nor PNG, the first is {strange[0]}; convert them")
    loose = sorted(path for path in (folder / "images").glob("*") if path.suffix.lower() in SUFFIXES)
    if loose:
        raise ValueError(f"{loose[0]} lies in no class folder; photos are expected in images/<class>/")
    photos = folders.instances(folder, classes)
    counts = np.bincount([photo.label for photo in photos], minlength=len(classes))
    if (counts == 0).any():
        empty = [classes[label] for label in np.flatnonzero(counts == 0).tolist()]
        raise ValueError(f"{len(empty)} classes have no photo in {folder / 'images'}, the first is {empty[0]!r}")
    _refuse_same_bytes(folder, [photo.file for photo in photos])
    return photos


def _refuse_same_bytes(folder: Path, files: Sequence[str]) -> None:
    """Only files of equal size are read: equal bytes have equal sizes."""
    by_size = defaultdict(list)
    for file in files:
        by_size[(folder / file).stat().st_size].append(file)
    by_content: dict[str, str] = {}
    for group in by_size.values():
        for file in group if len(group) > 1 else ():
            digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
            if (first := by_content.setdefault(digest, file)) != file:
                raise ValueError(f"{first} and {file} are the same photo, byte for byte; a test row must not be a copy")


# --- the official files ----------------------------------------------------------------------------------------------


def _write_mat(path: Path, table: AttributeTable, parts: dict[str, np.ndarray]) -> None:
    """`att_splits.mat` in the official form, without `train_loc` and `val_loc`, which no one should use."""
    buffer = io.BytesIO()
    strengths = table.strengths.T
    scipy.io.savemat(
        buffer,
        {
            "allclasses_names": np.array(table.classes, dtype=object)[:, None],
            "original_att": strengths,
            "att": strengths / np.linalg.norm(strengths, axis=0),
            **{part: (rows + 1)[:, None].astype(np.uint32) for part, rows in parts.items()},
        },
    )
    # The format opens with 116 bytes of text, where scipy writes the time of day: equal input must give equal bytes.
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"MATLAB 5.0 MAT-file, own benchmark".ljust(116) + buffer.getvalue()[116:])


def _write_lists(folder: Path, classes: Sequence[str], seen: np.ndarray, unseen: np.ndarray) -> None:
    """The class lists with three folds whose validation classes are disjoint; a function of the seen classes' names."""
    shuffled = sorted(seen.tolist(), key=lambda label: derive_seed(0, f"validation class {classes[label]}"))
    size = max(1, round(VALIDATION_SHARE * len(seen)))
    lists = {"allclasses": list(range(len(classes))), "trainvalclasses": seen.tolist(), "testclasses": unseen.tolist()}
    for fold in FOLDS:
        validation = sorted(shuffled[(fold - 1) * size : fold * size])
        lists |= {f"trainclasses{fold}": sorted(set(seen.tolist()) - set(validation)), f"valclasses{fold}": validation}
    for title, ids in lists.items():
        with atomic_path(folder / f"{title}.txt") as temporary:
            temporary.write_text("".join(f"{classes[i]}\n" for i in ids))
