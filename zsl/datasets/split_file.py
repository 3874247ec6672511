"""zsl.datasets.split_file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.io import loadmat

SPLIT_FILE = "att_splits.mat"
PARTS = ("trainval_loc", "test_seen_loc", "test_unseen_loc")
UNSAFE_PARTS = ("train_loc", "val_loc")  # what an author may have trained on; nothing here does
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


def rows_hash(rows: np.ndarray) -> str:
    """Six hex digits of the md5 of 0-based `rows` [n], in the form in which split files are compared publicly."""
    one_based = np.sort(np.asarray(rows, dtype=np.int64)) + 1
    return hashlib.md5(one_based.tobytes(), usedforsecurity=False).hexdigest()[:6]


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
