"""From an official `att_splits.mat` to checked splits: which rows and classes may be seen when.

The Proposed Splits (Xian et al. 2019) number the images 1..N in the row order of `res101.mat`.  Here rows are made
0-based once, on reading, and are never renumbered after that: a benchmark with missing photos keeps its official row
numbers and class ids and merely has fewer of them.

The files' own `train_loc`/`val_loc` are not read: they are absent in CUB and SUN, and an older vintage that is still
in circulation holds test_seen rows in them.  Validation classes come from the class lists (`validation_fold`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from zsl.determinism import derive_seed

SPLIT_FILE = "att_splits.mat"
PARTS = ("trainval_loc", "test_seen_loc", "test_unseen_loc")

# First six hex digits of the md5 of each part as a sorted, 1-based int64 array, in the order of PARTS.  Every public
# copy of the files (2019-2024) agrees on these.
OFFICIAL_HASHES = {
    "AWA1": ("2b059e", "cea3bf", "6c5c61"),
    "AWA2": ("cbe1b3", "5e2cd2", "1d0f99"),
    "CUB": ("aa6a3a", "b7bf2e", "b94d4b"),
    "SUN": ("280e25", "421034", "5121fd"),
    "aPY": ("faa2d6", "126ab1", "fcefd0"),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitFile:
    """What an `att_splits.mat` says, checked but not yet joined with the images' labels."""

    class_names: tuple[str, ...]  # C
    attributes: np.ndarray  # [C, A] float32, the file's `att` transposed
    trainval_loc: np.ndarray  # [n] int64, 0-based rows, sorted
    test_seen_loc: np.ndarray
    test_unseen_loc: np.ndarray

    @property
    def count(self) -> int:
        """Number of official rows N; the three parts cover 0..N-1."""
        return sum(len(getattr(self, part)) for part in PARTS)

    @property
    def hashes(self) -> tuple[str, str, str]:
        """Six hex digits a part, comparable with OFFICIAL_HASHES."""
        first, second, third = (rows_hash(getattr(self, part)) for part in PARTS)
        return first, second, third

    @property
    def verdict(self) -> str:
        """`official Proposed Split of X`, or `unknown split` with its hash."""
        known = [name for name, hashes in OFFICIAL_HASHES.items() if hashes == self.hashes]
        return f"official Proposed Split of {known[0]}" if known else "unknown split, hash " + "/".join(self.hashes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Splits:
    """Disjoint sets of rows, and the classes that each may show.

    `seen` are the classes with trainval rows, `unseen` those with test_unseen rows; test_seen rows show seen classes.
    Class ids index `class_names` and `attributes`; where photos are missing some ids are in neither list.
    """

    class_names: tuple[str, ...]  # C
    attributes: np.ndarray  # [C, A] float32
    seen: np.ndarray  # [S] int64, sorted class ids
    unseen: np.ndarray  # [U]
    trainval_loc: np.ndarray  # [n] int64, 0-based official rows, sorted
    test_seen_loc: np.ndarray
    test_unseen_loc: np.ndarray
    verdict: str

    def describe(self) -> str:
        """Counts in one line, for terminals and manifests."""
        rows = " / ".join(f"{len(getattr(self, part)):,}" for part in PARTS)
        return (
            f"{rows} trainval / test_seen / test_unseen rows, {len(self.seen)} seen / {len(self.unseen)} unseen classes"
        )


def rows_hash(rows: np.ndarray) -> str:
    """Six hex digits of the md5 of 0-based `rows` [n], in the form in which split files are compared publicly."""
    one_based = np.sort(np.asarray(rows, dtype=np.int64)) + 1
    return hashlib.md5(one_based.tobytes(), usedforsecurity=False).hexdigest()[:6]


def read_split_file(folder: Path) -> SplitFile:
    """Read and check `folder/att_splits.mat`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no split file, its rows are not 1-based, overlap, or leave a row out.
    """
    path = Path(folder) / SPLIT_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"no {SPLIT_FILE} in {folder}; it comes with the Proposed Splits archive (xlsa17/data/<benchmark>/)"
        )
    try:
        content = loadmat(path)
    except Exception as error:  # SciPy raises a different type for each way in which a file can be broken
        raise ValueError(f"{path} cannot be read as a MATLAB 5 file ({error}); is the download complete?") from error
    absent = [key for key in ("att", "allclasses_names", *PARTS) if key not in content]
    if absent:
        raise ValueError(f"{path} has no {', '.join(absent)}; it has {', '.join(k for k in content if k[0] != '_')}")
    names = tuple(str(cell[0]) for cell in content["allclasses_names"].ravel())
    attributes = np.ascontiguousarray(content["att"].T, dtype=np.float32)
    if len(attributes) != len(names) or not np.isfinite(attributes).all():
        raise ValueError(
            f"{path}: att has {len(attributes)} classes for {len(names)} names, {int((~np.isfinite(attributes)).sum())}"
            " of its values are not finite; it should be attributes x classes, without gaps"
        )
    parts = {part: np.sort(content[part].ravel().astype(np.int64)) - 1 for part in PARTS}
    _check_parts(parts, path)
    return SplitFile(class_names=names, attributes=attributes, **parts)


def _check_parts(parts: dict[str, np.ndarray], path: Path) -> None:
    """Rows are 1-based in the file, no row is in two parts or twice in one, and none of 1..N is left out."""
    rows = np.concatenate(list(parts.values()))
    empty = [part for part, loc in parts.items() if len(loc) == 0]
    if empty:
        raise ValueError(f"{path}: {', '.join(empty)} is empty")
    if rows.min() < 0:
        raise ValueError(f"{path} holds row {rows.min() + 1}; official rows are 1-based")
    for first, second in ((PARTS[0], PARTS[1]), (PARTS[0], PARTS[2]), (PARTS[1], PARTS[2])):
        common = np.intersect1d(parts[first], parts[second])
        if len(common):
            raise ValueError(
                f"{path}: {len(common)} rows are both in {first} and in {second}, the first is {common[0] + 1}"
            )
    values, counts = np.unique(rows, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"{path}: row {values[counts > 1][0] + 1} is listed twice in one part")
    if values[-1] != len(values) - 1:
        missing = np.setdiff1d(np.arange(values[-1] + 1), values)
        raise ValueError(
            f"{path}: {len(missing)} rows of 1..{values[-1] + 1} are in no part, the first is {missing[0] + 1}"
        )


def make_splits(split_file: SplitFile, rows: np.ndarray, labels: np.ndarray) -> Splits:
    """Join split rows with the `labels` [N] of the `rows` [N] that are at hand; other rows leave every part.

    A class that has no image left leaves `seen` or `unseen`; a test_seen row whose class has no trainval row left goes
    too, since nothing could learn it.

    Raises:
        ValueError: a row or label is out of range, a part is empty, or a test_unseen class has trainval rows.
    """
    class_count = len(split_file.class_names)
    if len(rows) and (rows.min() < 0 or rows.max() >= split_file.count):
        raise ValueError(f"rows reach from {rows.min()} to {rows.max()}; the split file has 0..{split_file.count - 1}")
    if len(labels) and (labels.min() < 0 or labels.max() >= class_count):
        raise ValueError(f"labels reach from {labels.min()} to {labels.max()}; there are {class_count} classes")
    label_of = np.full(split_file.count, -1, dtype=np.int64)
    label_of[rows] = labels
    present = {part: loc[label_of[loc] >= 0] for part, loc in ((p, getattr(split_file, p)) for p in PARTS)}
    seen = np.unique(label_of[present["trainval_loc"]])
    unseen = np.unique(label_of[present["test_unseen_loc"]])
    both = np.intersect1d(seen, unseen)
    if len(both):
        raise ValueError(
            f"{len(both)} classes have trainval rows and test_unseen rows, the first is "
            f"{split_file.class_names[both[0]]!r}: labels and split file do not belong together"
        )
    in_test = label_of[present["test_seen_loc"]]
    strange = np.intersect1d(in_test, unseen)
    if len(strange):
        raise ValueError(f"class {split_file.class_names[strange[0]]!r} has test_seen rows and test_unseen rows")
    present["test_seen_loc"] = present["test_seen_loc"][np.isin(in_test, seen)]
    empty = [part for part, loc in present.items() if len(loc) == 0]
    if empty:
        raise ValueError(f"no image at hand belongs to {', '.join(empty)}; all three parts are needed")
    return Splits(
        class_names=split_file.class_names,
        attributes=split_file.attributes,
        seen=seen,
        unseen=unseen,
        verdict=split_file.verdict,
        **present,
    )


def read_class_list(path: Path) -> tuple[str, ...]:
    """Class names of one list file, one a line."""
    return tuple(line.strip() for line in path.read_text().splitlines() if line.strip())


def validation_fold(
    splits: Splits, folder: Path, fold: int, rows: np.ndarray, labels: np.ndarray, held_out: float = 0.2
) -> Splits:
    """Splits of validation fold `fold` (1, 2 or 3), in which hyper-parameters may be chosen.

    Only trainval rows occur in it.  The classes of `folder/valclasses<fold>.txt` play the unseen classes; the other
    seen classes stay seen, with a share of `held_out` of each one's images playing test_seen.  `rows` and `labels` [N]
    name the class of each row at hand.
    """
    names = read_class_list(Path(folder) / f"valclasses{fold}.txt")
    unknown = sorted(set(names) - set(splits.class_names))
    if unknown:
        raise ValueError(f"valclasses{fold}.txt names {unknown[0]!r}, which is not a class of the split file")
    chosen = np.isin(splits.seen, [splits.class_names.index(name) for name in names])
    unseen, seen = splits.seen[chosen], splits.seen[~chosen]
    if len(unseen) == 0 or len(seen) == 0:
        raise ValueError(f"fold {fold} leaves {len(seen)} seen and {len(unseen)} unseen classes; both are needed")
    row_label = dict(zip(rows.tolist(), labels.tolist(), strict=True))
    trainval_labels = np.array([row_label[row] for row in splits.trainval_loc.tolist()])
    rng = np.random.default_rng(derive_seed(fold, "validation fold"))
    test_seen = np.sort(
        np.concatenate(
            [_share(splits.trainval_loc[trainval_labels == class_id], held_out, rng) for class_id in seen.tolist()]
        )
    )
    of_seen = splits.trainval_loc[np.isin(trainval_labels, seen)]
    return replace(
        splits,
        seen=seen,
        unseen=unseen,
        trainval_loc=np.setdiff1d(of_seen, test_seen),
        test_seen_loc=test_seen,
        test_unseen_loc=splits.trainval_loc[np.isin(trainval_labels, unseen)],
        verdict=f"validation fold {fold} of {splits.verdict}",
    )


def _share(rows: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """About `share` of the rows, at random, never all of them."""
    return rng.permutation(rows)[: min(round(share * len(rows)), len(rows) - 1)]


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
