"""The class lists beside a split file, checked against the split and each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from zsl.common.text import read_names
from zsl.datasets.splits import Splits

FOLDS = (1, 2, 3)
FOLD_TITLES = tuple((f"trainclasses{fold}", f"valclasses{fold}") for fold in FOLDS)
TITLES = ("allclasses", "trainvalclasses", "testclasses", *chain.from_iterable(FOLD_TITLES))

Lists = Mapping[str, tuple[str, ...]]  # class names by title, the file's name without `.txt`


def read_class_list(path: Path) -> tuple[str, ...]:
    """Class names of one list file, one a line.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it names a class twice, or is not UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no {path.name} in {path.parent}; the class lists come with the Proposed Splits archive"
        )
    names = read_names(path)
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{path} names {repeated!r} more than once")
    return names


def check_class_lists(splits: Splits, folder: Path) -> list[str]:
    """Check the class lists of `folder` against the split and each other; returns the titles of those that it has.

    Every seen class is in `trainvalclasses`, every unseen one in `testclasses`, these two share no class; a fold's
    training and validation classes are disjoint and together the trainval classes, so none of them is a test class;
    and `allclasses`, where the folder has it, has the order of the split file.  No list is required.

    Raises:
        ValueError: a list contradicts another one, or the split.
    """
    lists = _read_lists(folder)
    _check_names(lists, splits.class_names)
    _check_order(lists, splits.class_names)
    _check_rows(lists, "trainvalclasses", splits.seen, "trainval", splits)
    _check_rows(lists, "testclasses", splits.unseen, "test_unseen", splits)
    _check_disjoint(lists)
    _check_folds(lists)
    return list(lists)


def check_lists_alone(class_names: Sequence[str], folder: Path) -> list[str]:
    """Check the class lists of `folder` as far as that can be done without labels; returns the titles that it has.

    Raises:
        ValueError: a list names no class, or contradicts another one or the `class_names` of the split file.
    """
    lists = _read_lists(folder)
    for title, names in lists.items():
        if not names:
            raise ValueError(f"{Path(folder) / title}.txt names no class; get the whole file, or remove it")
    _check_names(lists, class_names)
    _check_order(lists, class_names)
    _check_disjoint(lists)
    _check_folds(lists)
    return list(lists)


def _read_lists(folder: Path) -> Lists:
    return {title: read_class_list(path) for title in TITLES if (path := Path(folder) / f"{title}.txt").is_file()}


def _check_names(lists: Lists, class_names: Sequence[str]) -> None:
    """Every name in a list is a class of the split file."""
    known = set(class_names)
    for title, names in lists.items():
        for name in names:
            if name not in known:
                raise ValueError(f"{title}.txt names {name!r}, which is not a class of the split file")


def _check_order(lists: Lists, class_names: Sequence[str]) -> None:
    """`allclasses` has the classes of the split file in the same order."""
    order = lists.get("allclasses", tuple(class_names))
    if len(order) != len(class_names):
        raise ValueError(
            f"allclasses.txt has {len(order)} classes, allclasses_names of the split file has "
            f"{len(class_names)}: they do not belong together"
        )
    if order != tuple(class_names):
        place = next(i for i, pair in enumerate(zip(order, class_names, strict=True)) if pair[0] != pair[1])
        raise ValueError(
            f"allclasses.txt has {len(order)} classes in another order than allclasses_names of the split file: "
            f"line {place + 1} is {order[place]!r}, the file has {class_names[place]!r}"
        )


def _check_rows(lists: Lists, title: str, classes: np.ndarray, part: str, splits: Splits) -> None:
    """The list `title` has all `classes` [n], which are those with rows in `part`."""
    if title not in lists:
        return
    listed = set(lists[title])
    absent = [splits.class_names[i] for i in classes if splits.class_names[i] not in listed]
    if absent:
        raise ValueError(
            f"{len(absent)} classes with {part} rows are not in {title}.txt, the first is {absent[0]!r}: "
            "labels, class lists and split file do not belong together"
        )


def _check_disjoint(lists: Lists) -> None:
    """Trainval and test classes, a fold's training and validation classes, and these and test classes, share none."""
    fold_titles = chain.from_iterable(FOLD_TITLES)
    pairs = [("trainvalclasses", "testclasses"), *FOLD_TITLES, *((title, "testclasses") for title in fold_titles)]
    for first, second in pairs:
        others = set(lists.get(second, ()))
        common = [name for name in lists.get(first, ()) if name in others]
        if common:
            raise ValueError(
                f"{len(common)} classes are both in {first}.txt and in {second}.txt, the first is {common[0]!r}"
            )


def _check_folds(lists: Lists) -> None:
    """A fold's training and validation classes together are the trainval classes."""
    trainval = lists.get("trainvalclasses", ())
    for train_title, val_title in FOLD_TITLES:
        train, val = lists.get(train_title, ()), lists.get(val_title, ())
        if trainval and train and val and (different := sorted(set(trainval) ^ {*train, *val})):
            raise ValueError(
                f"{train_title}.txt and {val_title}.txt together are not trainvalclasses.txt; "
                f"{len(different)} classes are in only one of them, the first is {different[0]!r}"
            )
