"""The class lists beside a split file, checked against the split and each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zsl.datasets.splits import Splits

FOLDS = (1, 2, 3)


def read_class_list(path: Path) -> tuple[str, ...]:
    """Class names of one list file, one a line.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it names a class twice.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no {path.name} in {path.parent}; the class lists come with the Proposed Splits archive"
        )
    names = tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{path} names {repeated!r} more than once")
    return names


def check_class_lists(splits: Splits, folder: Path) -> list[str]:
    """Check the class lists of `folder` against the split and each other; returns the titles of those that are there.

    Every seen class is in `trainvalclasses`, every unseen one in `testclasses`, these two share no class; a fold's
    training and validation classes are disjoint and together the trainval classes, so none of them is a test class;
    and `allclasses`, where it is there, has the order of the split file.  A list that is absent is not missed.

    Raises:
        ValueError: a list contradicts another one, or the split.
    """
    titles = ["allclasses", "trainvalclasses", "testclasses"]
    titles += [f"{kind}classes{fold}" for fold in FOLDS for kind in ("train", "val")]
    lists = {title: read_class_list(path) for title in titles if (path := Path(folder) / f"{title}.txt").is_file()}
    for title, names in lists.items():
        for name in names:
            if name not in splits.class_names:
                raise ValueError(f"{title}.txt names {name!r}, which is not a class of the split file")
    order = lists.get("allclasses", splits.class_names)
    if len(order) != len(splits.class_names):
        raise ValueError(
            f"allclasses.txt has {len(order)} classes, allclasses_names of the split file has "
            f"{len(splits.class_names)}: they do not belong together"
        )
    if order != splits.class_names:
        place = next(i for i, pair in enumerate(zip(order, splits.class_names, strict=True)) if pair[0] != pair[1])
        raise ValueError(
            f"allclasses.txt has {len(order)} classes in another order than allclasses_names of the split file: "
            f"line {place + 1} is {order[place]!r}, the file has {splits.class_names[place]!r}"
        )
    for title, ids, words in (
        ("trainvalclasses", splits.seen, "trainval"),
        ("testclasses", splits.unseen, "test_unseen"),
    ):
        absent = [splits.class_names[i] for i in ids if title in lists and splits.class_names[i] not in lists[title]]
        if absent:
            raise ValueError(
                f"{len(absent)} classes with {words} rows are not in {title}.txt, the first is {absent[0]!r}: "
                "labels, class lists and split file do not belong together"
            )
    trainval = lists.get("trainvalclasses")
    pairs = [("trainvalclasses", "testclasses")]
    pairs += [pair for fold in FOLDS for pair in ((f"trainclasses{fold}", f"valclasses{fold}"),)]
    pairs += [(f"{kind}classes{fold}", "testclasses") for fold in FOLDS for kind in ("train", "val")]
    for first, second in pairs:
        common = [name for name in lists.get(first, ()) if name in lists.get(second, ())]
        if common:
            raise ValueError(
                f"{len(common)} classes are both in {first}.txt and in {second}.txt, the first is {common[0]!r}"
            )
    for fold in FOLDS:
        train, val = lists.get(f"trainclasses{fold}"), lists.get(f"valclasses{fold}")
        if trainval and train and val and (apart := sorted(set(trainval) ^ {*train, *val})):
            raise ValueError(
                f"trainclasses{fold}.txt and valclasses{fold}.txt together are not trainvalclasses.txt; "
                f"{len(apart)} classes are in only one of them, the first is {apart[0]!r}"
            )
    return list(lists)


def class_ids(names: Sequence[str], class_names: Sequence[str]) -> list[int]:
    """Position of each of `names` in `class_names`.

    Raises:
        ValueError: a name is not among them.
    """
    position = {name: index for index, name in enumerate(class_names)}
    unknown = [name for name in names if name not in position]
    if unknown:
        raise ValueError(
            f"{len(unknown)} class names are not in the split file, the first is {unknown[0]!r}; "
            f"the split file has {class_names[0]!r}, {class_names[1]!r}, …"
        )
    return [position[name] for name in names]
