"""`att_splits.mat` of the Proposed Splits (Xian et al. 2019): class names, attributes and the rows of each part."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np

from zsl.common.matlab import read_variables, strings, whole_numbers
from zsl.common.text import is_one_line, nfc
from zsl.datasets.dataset import Dataset
from zsl.datasets.registry import recognise

SPLIT_FILE = "att_splits.mat"
PARTS = ("trainval_loc", "test_seen_loc", "test_unseen_loc")
UNSAFE_PARTS = ("train_loc", "val_loc")  # what an author may have trained on; nothing here does

AttributeKind = Literal["att", "original_att"]
Variables = Mapping[str, np.ndarray]  # of a split file, by name


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitFile:
    """What an `att_splits.mat` says, checked but not yet joined with the images' labels."""

    class_names: tuple[str, ...]  # C
    attributes: np.ndarray  # [C, A] float32, the file's `att` transposed; NaN where `original_att` has none
    trainval_loc: np.ndarray  # [n] int64, 0-based rows, sorted
    test_seen_loc: np.ndarray
    test_unseen_loc: np.ndarray
    attribute_kind: AttributeKind = "att"
    path: Path | None = None  # of the file, for messages
    normalise: bool = False  # divide each class's attributes by their L2 norm, once the gaps are filled

    @property
    def count(self) -> int:
        """Number of official rows N; the three parts cover 0..N-1."""
        return sum(len(getattr(self, part)) for part in PARTS)

    @property
    def hashes(self) -> tuple[str, str, str]:
        """Six hex digits a part, comparable with those of a `Dataset`."""
        return _hashes({part: getattr(self, part) for part in PARTS})

    @property
    def dataset(self) -> Dataset | None:
        """The benchmark whose split this is; None where the split is unknown."""
        return recognise(self.hashes)

    @property
    def verdict(self) -> str:
        """`official Proposed Split of X`, `embedded split of X`, or `unknown split` with its hash."""
        dataset = self.dataset
        return dataset.verdict if dataset else "unknown split, hash " + "/".join(self.hashes)


def rows_hash(rows: np.ndarray) -> str:
    """Six hex digits of the md5 of 0-based `rows` [n], in the form in which split files are compared publicly."""
    one_based = np.sort(np.asarray(rows, dtype=np.int64)) + 1
    return _hash(one_based.tobytes())


def _hashes(parts: Mapping[str, np.ndarray]) -> tuple[str, str, str]:
    first, second, third = (rows_hash(parts[part]) for part in PARTS)
    return first, second, third


def _hash(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()[:6]


def read_split_file(
    folder: Path,
    *,
    attributes: AttributeKind = "att",
    normalise: bool = False,
    allow_leaky_vintage: bool = False,
) -> SplitFile:
    """Read and check `folder/att_splits.mat`.

    `attributes` names the variable that is read.  `att`, the official default, is each class's strengths divided by
    their L2 norm; it stays as the file has it (AWA's −1, "no strength given", is divided like the rest).
    `original_att` is the strengths as people gave them; AWA's −1 becomes NaN here, and `make_splits` fills it.
    `normalise` divides by the L2 norm.  `allow_leaky_vintage` admits a file of the older vintage: its leaking
    `train_loc` and `val_loc` are not used, and its other parts are those of the newer vintage.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no split file, its rows are not 1-based, overlap, or leave a row out; a class name
            occurs twice; or the file is of the leaky vintage.
    """
    path = _existing(folder)
    content = read_variables(path, [attributes, "allclasses_names", *PARTS], UNSAFE_PARTS)
    names = _class_names(content["allclasses_names"], path)
    strengths = _strengths(content[attributes], attributes, names, path)
    parts = {part: np.sort(whole_numbers(content[part], path, part, "row number")) - 1 for part in PARTS}
    _check_parts(parts, path)
    if not allow_leaky_vintage:
        _refuse_leaks(_leaks(content), path)
    dataset = recognise(_hashes(parts))
    if dataset is not None:
        _check_class_order(names, dataset, path)
        if attributes == "original_att" and dataset.missing_strength is not None:  # elsewhere -1 may be a strength
            strengths[strengths == dataset.missing_strength] = np.nan
    return SplitFile(
        class_names=names, attributes=strengths, attribute_kind=attributes, normalise=normalise, path=path, **parts
    )


def check_vintage(folder: Path) -> dict[str, dict[str, int]]:
    """How many test rows `train_loc` and `val_loc` of `folder/att_splits.mat` hold: {part: {test part: count}}.

    The result is empty where they hold none, so that the file is sound.  `read_split_file` refuses the others.
    """
    return _leaks(read_variables(_existing(folder), PARTS[1:], UNSAFE_PARTS))


def _existing(folder: Path) -> Path:
    """The path of the split file in `folder`."""
    path = Path(folder) / SPLIT_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"no {SPLIT_FILE} in {folder}; it comes with the Proposed Splits archive (xlsa17/data/<benchmark>/)"
        )
    return path


def _class_names(cells: np.ndarray, path: Path) -> tuple[str, ...]:
    """`allclasses_names` in Unicode form NFC, each once."""
    names = tuple(map(nfc, strings(cells, path, "allclasses_names")))
    if "" in names:
        raise ValueError(f"{path}: a name in allclasses_names is empty")
    if odd := [name for name in names if not is_one_line(name)]:
        raise ValueError(f"{path}: the name {odd[0]!r} in allclasses_names holds a line break; the class lists cannot")
    if repeated := sorted(name for name, times in Counter(names).items() if times > 1):
        raise ValueError(
            f"{path}: {len(repeated)} class names occur twice in allclasses_names, the first is {repeated[0]!r}"
        )
    return names


def _strengths(values: np.ndarray, attributes: AttributeKind, names: tuple[str, ...], path: Path) -> np.ndarray:
    """The attributes [C, A] float32 of a file's [A, C]."""
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{path}: {attributes} holds {values.dtype} values; it should be real numbers")
    with np.errstate(over="ignore"):  # what does not fit is told below
        strengths = np.ascontiguousarray(values.T, dtype=np.float32)
    if len(strengths) != len(names) or not np.isfinite(strengths).all():
        raise ValueError(
            f"{path}: {attributes} has {len(strengths)} classes for {len(names)} names, "
            f"{int((~np.isfinite(strengths)).sum())} of its values are not finite; "
            "it should be attributes x classes, without gaps"
        )
    return strengths


def _check_parts(parts: Mapping[str, np.ndarray], path: Path) -> None:
    """Rows are 1-based in the file, no row is in two parts or twice in one, and none of 1..N is left out."""
    empty = [part for part, loc in parts.items() if len(loc) == 0]
    if empty:
        raise ValueError(f"{path}: {', '.join(empty)} is empty")
    rows = np.concatenate(list(parts.values()))
    if rows.min() < 0:
        raise ValueError(f"{path} holds row {rows.min() + 1}; official rows are 1-based")
    for first, second in combinations(PARTS, 2):
        common = np.intersect1d(parts[first], parts[second])
        if len(common):
            raise ValueError(
                f"{path}: {len(common)} rows are both in {first} and in {second}, the first is {common[0] + 1}"
            )
    values, counts = np.unique(rows, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"{path}: row {values[counts > 1][0] + 1} is listed twice in one part")
    if values[-1] != len(values) - 1:
        gap = int((values != np.arange(len(values))).argmax())  # the rows may be too many for a list of all
        missing = int(values[-1]) + 1 - len(values)
        raise ValueError(f"{path}: {missing} rows of 1..{values[-1] + 1} are in no part, the first is {gap + 1}")


def _leaks(content: Variables) -> dict[str, dict[str, int]]:
    """The number of rows that each unsafe part has in common with each test part, where it is not 0."""
    leaks = {}
    for part in UNSAFE_PARTS:
        if part in content:
            counts = {test: len(np.intersect1d(content[part], content[test])) for test in PARTS[1:]}
            leaks[part] = {test: count for test, count in counts.items() if count}
    return {part: counts for part, counts in leaks.items() if counts}


def _refuse_leaks(leaks: Mapping[str, Mapping[str, int]], path: Path) -> None:
    """A file whose training rows hold test rows is not read."""
    if not leaks:
        return
    numbers = "; ".join(
        f"{part} holds " + " and ".join(f"{count:,} {test.removesuffix('_loc')} rows" for test, count in tests.items())
        for part, tests in leaks.items()
    )
    raise ValueError(
        f"{path} is of the leaky vintage: {numbers}. Whoever chooses on them chooses on the test set. "
        "Get version 2.0 of the Proposed Splits (xlsa17.zip)"
    )


def _check_class_order(names: tuple[str, ...], dataset: Dataset, path: Path) -> None:
    """The classes of an official split are in the official order: labels are positions in this list."""
    class_hash = _hash("\n".join(names).encode())
    if dataset.class_hash not in (None, class_hash):
        raise ValueError(
            f"{path}: the rows are those of the {dataset.verdict}, but the class list is not (hash {class_hash}, "
            f"official {dataset.class_hash}; it begins with {', '.join(map(repr, names[:3]))}); labels are positions "
            "in that list, so an official order that was changed gives wrong labels"
        )
