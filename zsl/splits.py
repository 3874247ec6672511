"""From an official `att_splits.mat` to checked splits: which rows and classes may be seen when.

The Proposed Splits (Xian et al. 2019) number the images 1..N in the row order of `res101.mat`.  Here rows are made
0-based once, on reading, and are never renumbered after that: a benchmark with missing photos keeps its official row
numbers and class ids and merely has fewer of them.

The files' own `train_loc`/`val_loc` are never used: they are absent in CUB and SUN, and an older vintage that is still
in circulation holds test_seen rows in them; such a file is refused (`check_vintage`).  Validation classes come from the
class lists (`validation_fold`, `check_class_lists`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.io import loadmat

from zsl.determinism import derive_seed

SPLIT_FILE = "att_splits.mat"
PARTS = ("trainval_loc", "test_seen_loc", "test_unseen_loc")
UNSAFE_PARTS = ("train_loc", "val_loc")  # what an author may have trained on; nothing here does
FOLDS = (1, 2, 3)
MOST_CALIBRATION_FOLDS = 10  # each is one more training of the configuration that was chosen
MISSING_STRENGTH = -1  # AWA's `original_att` where people gave none: antelope's black, white, blue and brown

AttributeKind = Literal["att", "original_att"]

# First six hex digits of the md5 of each part as a sorted, 1-based int64 array, in the order of PARTS.  Every public
# copy of the files (2019-2024) agrees on these.
OFFICIAL_HASHES = {
    "AWA1": ("2b059e", "cea3bf", "6c5c61"),
    "AWA2": ("cbe1b3", "5e2cd2", "1d0f99"),
    "CUB": ("aa6a3a", "b7bf2e", "b94d4b"),
    "SUN": ("280e25", "421034", "5121fd"),
    "aPY": ("faa2d6", "126ab1", "fcefd0"),
}
# The same of `allclasses_names` in the file's order, joined by newlines: labels are positions in that list.
OFFICIAL_CLASS_HASHES = {"AWA1": "11ac34", "AWA2": "11ac34", "CUB": "0186c4", "SUN": "95edd9", "aPY": "ac6f79"}
# Benchmarks that this repository draws, at their default configuration.
EMBEDDED_HASHES = {"shapes": ("4af555", "172700", "278c69")}


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitFile:
    """What an `att_splits.mat` says, checked but not yet joined with the images' labels."""

    class_names: tuple[str, ...]  # C
    attributes: np.ndarray  # [C, A] float32, the file's `att` transposed; NaN where `original_att` has none
    trainval_loc: np.ndarray  # [n] int64, 0-based rows, sorted
    test_seen_loc: np.ndarray
    test_unseen_loc: np.ndarray
    attribute_kind: AttributeKind = "att"
    normalise: bool = False  # divide each class's attributes by their L2 norm, once the gaps are filled

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
        """`official Proposed Split of X`, `embedded split of X`, or `unknown split` with its hash."""
        for words, known in (("official Proposed Split", OFFICIAL_HASHES), ("embedded split", EMBEDDED_HASHES)):
            for name, hashes in known.items():
                if hashes == self.hashes:
                    return f"{words} of {name}"
        return "unknown split, hash " + "/".join(self.hashes)


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
    attribute_kind: str = "att"  # in words: which of the file's attributes, and what was done to them
    attribute_names: tuple[str, ...] = ()  # A, empty where they are not known

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


def attributes_hash(attributes: np.ndarray) -> str:
    """Twelve hex digits of the SHA-256 of attributes [C, A] float32."""
    return hashlib.sha256(np.ascontiguousarray(attributes, dtype=np.float32).tobytes()).hexdigest()[:12]


def read_mat(path: Path) -> dict[str, Any]:
    """The variables of a MATLAB 5 file.

    Raises:
        ValueError: it is a MATLAB 7.3 (HDF5) file, or broken; the message says what to do.
    """
    with path.open("rb") as stream:
        head = stream.read(520)
    if b"\x89HDF\r\n\x1a\n" in head or head.startswith(b"MATLAB 7.3"):
        raise ValueError(
            f"{path} is a MATLAB 7.3 (HDF5) file; the official files are MATLAB 5: "
            "load it in MATLAB and write it again with save(…, '-v7'), or get the original archive"
        )
    try:
        return loadmat(path)
    except Exception as error:  # SciPy raises a different type for each way in which a file can be broken
        raise ValueError(f"{path} cannot be read as a MATLAB 5 file ({error}); is the download complete?") from error


def read_split_file(
    folder: Path,
    *,
    attributes: AttributeKind = "att",
    normalise: bool = False,
    allow_leaky_vintage: bool = False,
) -> SplitFile:
    """Read and check `folder/att_splits.mat`.

    `attributes` are the file's `att` (each class's strengths divided by their L2 norm; the official default, left as it
    is: in AWA that holds −1, "none given", too, divided like the rest) or its `original_att` (the strengths as people
    gave them; AWA's −1 becomes NaN here and is filled by `make_splits`).  `normalise` divides by the L2 norm.  With
    `allow_leaky_vintage` a file of the older vintage is read too: its leaking `train_loc`/`val_loc` are not used, and
    its other parts are those of the newer one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no split file, its rows are not 1-based, overlap, or leave a row out; a class name occurs
            twice; or it is of the leaky vintage.
    """
    path = Path(folder) / SPLIT_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"no {SPLIT_FILE} in {folder}; it comes with the Proposed Splits archive (xlsa17/data/<benchmark>/)"
        )
    content = read_mat(path)
    absent = [key for key in (attributes, "allclasses_names", *PARTS) if key not in content]
    if absent:
        raise ValueError(f"{path} has no {', '.join(absent)}; it has {', '.join(k for k in content if k[0] != '_')}")
    names = _class_names(content, path)
    strengths = np.ascontiguousarray(content[attributes].T, dtype=np.float32)
    if len(strengths) != len(names) or not np.isfinite(strengths).all():
        raise ValueError(
            f"{path}: {attributes} has {len(strengths)} classes for {len(names)} names, "
            f"{int((~np.isfinite(strengths)).sum())} of its values are not finite; "
            "it should be attributes x classes, without gaps"
        )
    parts = {part: _rows(content, part, path) for part in PARTS}
    _check_parts(parts, path)
    if not allow_leaky_vintage:
        _refuse_leaks(_leaks(content), path)
    made = SplitFile(class_names=names, attributes=strengths, attribute_kind=attributes, normalise=normalise, **parts)
    if attributes == "original_att" and made.verdict.endswith(("AWA1", "AWA2")):  # elsewhere -1 may be a strength
        strengths[strengths == MISSING_STRENGTH] = np.nan
    _check_class_order(made, path)
    return made


def check_vintage(folder: Path) -> dict[str, dict[str, int]]:
    """How many test rows `train_loc` and `val_loc` of `folder/att_splits.mat` hold: {part: {test part: count}}.

    Empty where there are none, so that all is well.  `read_split_file` refuses the others.
    """
    return _leaks(read_mat(Path(folder) / SPLIT_FILE))


def _leaks(content: dict[str, Any]) -> dict[str, dict[str, int]]:
    found = {
        part: {
            test: len(common)
            for test in PARTS[1:]
            if test in content and len(common := np.intersect1d(content[part], content[test]))
        }
        for part in UNSAFE_PARTS
        if part in content
    }
    return {part: counts for part, counts in found.items() if counts}


def _refuse_leaks(leaks: dict[str, dict[str, int]], path: Path) -> None:
    if not leaks:
        return
    numbers = "; ".join(
        f"{part} holds " + " and ".join(f"{count:,} {test.removesuffix('_loc')} rows" for test, count in tests.items())
        for part, tests in leaks.items()
    )
    raise ValueError(
        f"{path} is of the leaky vintage: {numbers}. Whoever chooses on them chooses on the test set. "
        "Get version 2.0 of the Proposed Splits (xlsa17.zip); or read it with allow_leaky_vintage=True, "
        f"which never uses {' and '.join(leaks)}"
    )


def _class_names(content: dict[str, Any], path: Path) -> tuple[str, ...]:
    """`allclasses_names`, each once."""
    try:
        names = tuple(str(cell[0]) for cell in content["allclasses_names"].ravel())
    except IndexError as error:
        raise ValueError(f"{path}: a name in allclasses_names is empty") from error
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"{path}: {len(repeated)} class names occur twice in allclasses_names, the first is {repeated[0]!r}"
        )
    return names


def _rows(content: dict[str, Any], part: str, path: Path) -> np.ndarray:
    """The rows of one part, 0-based and sorted."""
    values = content[part].ravel()
    if not np.issubdtype(values.dtype, np.number) or not (values == np.floor(values)).all():
        strange = [v for v in values.tolist() if not isinstance(v, int | float) or v != v // 1]
        raise ValueError(f"{path}: {part} holds {strange[0]!r}, which is no row number")
    return np.sort(values.astype(np.int64)) - 1


def _check_class_order(split_file: SplitFile, path: Path) -> None:
    """The classes of an official split are in the official order: labels are positions in this list."""
    verdict, found = split_file.verdict, _text_hash("\n".join(split_file.class_names))
    expected = OFFICIAL_CLASS_HASHES.get(verdict.removeprefix("official Proposed Split of "))
    if expected is not None and found != expected:
        raise ValueError(
            f"{path}: the rows are those of the {verdict}, but the class list is not (hash {found}, official "
            f"{expected}; it begins with {', '.join(map(repr, split_file.class_names[:3]))}); labels are positions in "
            "that list, so an official order that was changed gives wrong labels"
        )


def _text_hash(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:6]


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
    too, since nothing could learn it.  A missing attribute of a class is filled by its mean over the other seen ones.

    Raises:
        ValueError: a row or label is out of range, a row is given twice, a part is empty, or a test_unseen class has
            trainval rows.
    """
    if len(rows) != len(labels):
        raise ValueError(f"{len(rows)} rows for {len(labels)} labels")
    values, counts = np.unique(rows, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"row {values[counts > 1][0]} is given {counts.max()} times; every image has a row of its own")
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
        attributes=_complete(split_file, seen),
        seen=seen,
        unseen=unseen,
        verdict=split_file.verdict,
        attribute_kind=split_file.attribute_kind + (", L2-normalised" if split_file.normalise else ""),
        **present,
    )


def _complete(split_file: SplitFile, seen: np.ndarray) -> np.ndarray:
    """Attributes [C, A] without gaps, and normalised if that was asked for.

    A gap becomes the mean of that attribute over the seen classes that have it: where nothing is known the class is
    taken for an average one, so that centred attributes say nothing there; and of seen classes alone, so that no
    training class's attributes depend on an unseen class.
    """
    attributes = split_file.attributes
    gaps = np.isnan(attributes)
    if gaps.any():
        known = np.where(gaps[seen], 0, attributes[seen]).sum(axis=0, dtype=np.float64)
        count = (~gaps[seen]).sum(axis=0)
        if (count[gaps.any(axis=0)] == 0).any():
            raise ValueError(
                f"attribute {int(np.flatnonzero(gaps.any(axis=0) & (count == 0))[0])} of no seen class is known"
            )
        attributes = np.where(gaps, (known / np.maximum(count, 1)).astype(np.float32), attributes)
    if not split_file.normalise:
        return attributes
    norms = np.linalg.norm(attributes, axis=1, keepdims=True)
    if (norms == 0).any():
        raise ValueError(f"class {split_file.class_names[int(np.argmin(norms))]!r} has no attribute but 0")
    return attributes / norms


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
    seen, unseen = (~chosen).sum(), chosen.sum()
    if seen < 2 or unseen < 1:
        raise ValueError(f"fold {fold} leaves {seen} seen and {unseen} unseen classes; two and one are needed at least")
    return _hold_out(splits, chosen, f"validation fold {fold}", fold, rows, labels, held_out)


def calibration_folds(splits: Splits, rows: np.ndarray, labels: np.ndarray, held_out: float = 0.2) -> dict[int, Splits]:
    """Splits within trainval in which as large a share of the classes is unseen as in the test: for γ, by number.

    The seen classes are dealt at random into as many folds as the unseen ones' share allows (CUB: 4 of 37 or 38, AWA: 5
    of 8, SUN: 10), so that each plays unseen once; at most 10, and none at all where a fold would be left with fewer
    than two seen classes.  The best γ falls with the share of unseen classes, and the official folds have more of them
    than the test (CUB: 50 of 150 against 50 of 200).
    """
    seen = len(splits.seen)
    count = min(max(2, round(1 + seen / len(splits.unseen))), seen, MOST_CALIBRATION_FOLDS)
    if seen - -(-seen // count) < 2:  # fewer leave training nothing to tell apart
        return {}
    dealt = np.random.default_rng(derive_seed(count, "calibration folds")).permutation(seen) % count
    return {
        number: _hold_out(splits, dealt == number - 1, f"calibration fold {number}", number, rows, labels, held_out)
        for number in range(1, count + 1)
    }


def _hold_out(
    splits: Splits, chosen: np.ndarray, name: str, number: int, rows: np.ndarray, labels: np.ndarray, held_out: float
) -> Splits:
    """Of the seen classes the `chosen` [S] play unseen, and of the others' images a share plays test_seen."""
    unseen, seen = splits.seen[chosen], splits.seen[~chosen]
    row_label = dict(zip(rows.tolist(), labels.tolist(), strict=True))
    trainval_labels = np.array([row_label[row] for row in splits.trainval_loc.tolist()])
    rng = np.random.default_rng(derive_seed(number, name.rstrip(" 0123456789")))
    test_seen = np.sort(
        np.concatenate(
            [_share(splits.trainval_loc[trainval_labels == class_id], held_out, rng) for class_id in seen.tolist()]
        )
    )
    if not len(test_seen):
        raise ValueError(
            f"{name}: no seen class has two trainval images, of which one could play test_seen; nothing can be chosen"
        )
    of_seen = splits.trainval_loc[np.isin(trainval_labels, seen)]
    return replace(
        splits,
        seen=seen,
        unseen=unseen,
        trainval_loc=np.setdiff1d(of_seen, test_seen),
        test_seen_loc=test_seen,
        test_unseen_loc=splits.trainval_loc[np.isin(trainval_labels, unseen)],
        verdict=f"{name} of {splits.verdict}",
    )


def _share(rows: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """About `share` of the rows, at random: one at least, never all of them."""
    return rng.permutation(rows)[: min(max(1, round(share * len(rows))), len(rows) - 1)]


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
