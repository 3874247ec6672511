"""Class vectors: side information of another kind than attributes, such as embeddings of the classes' texts.

A file `FILE.npy` holds one vector for each class, and `FILE.txt` the classes' names, one a line, in the order of the
vectors.  The names are those of the split file, so the order of the file does not matter.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from zsl.common.files import atomic_path, write_text
from zsl.common.records import read_record, write_record
from zsl.common.text import read_names
from zsl.datasets.distinct import check_distinct
from zsl.datasets.splits import ATTRIBUTES, Splits

VECTORS = "class vectors"  # the kind of side information


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a file of vectors says about itself, in a `.json` beside it; scripts/embed_names.py writes that."""

    kind: str = VECTORS  # of side information
    source: str = ""  # in words: model, templates
    image_tower_sha256: str | None = None  # of the image tower in whose space the vectors are


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassVectors:
    """The content of a file of class vectors, and its use."""

    path: Path
    names: tuple[str, ...]  # n classes
    vectors: np.ndarray  # [n, V] float32, finite
    beside: bool = False  # whether they stand beside the attributes; else in their place
    origin: Origin = field(default_factory=lambda: Origin())

    @property
    def side_information(self) -> str:
        """What the results call the side information."""
        return f"{ATTRIBUTES} and {self.origin.kind}" if self.beside else self.origin.kind

    @property
    def sha256(self) -> str:
        """Twelve hex digits of the names and the numbers."""
        return hashlib.sha256("\n".join(self.names).encode() + b"\0" + self.vectors.tobytes()).hexdigest()[:12]


def read_class_vectors(path: Path, names_path: Path | None = None, *, beside: bool = False) -> ClassVectors:
    """Read the vectors in `path`, a `.npy` file, and their classes' names in `names_path`.

    names_path: None means the file with the suffix `.txt` beside `path`.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: `path` is no `.npy` file of a matrix of numbers; it has another number of rows than there are names;
            a name occurs twice; a vector is not finite (the message names the first class); or the `.json` beside it is
            damaged.
    """
    names_path = names_path or path.with_suffix(".txt")
    for file, flag in ((path, "--class-vectors"), (names_path, "--class-vectors-names")):
        if not file.is_file():
            raise FileNotFoundError(f"no file {file} of {flag}; docs/class-vectors.md says what it holds")
    vectors, names = _read_matrix(path), read_names(names_path)
    if len(names) != len(vectors):
        raise ValueError(f"{path} has {len(vectors)} rows, {names_path} has {len(names)} names; one a row is needed")
    for name, times in Counter(names).items():
        if times > 1:
            raise ValueError(f"{names_path}: the class {name!r} occurs {times} times")
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise ValueError(f"{path}: the vector of {names[broken[0]]!r} (row {broken[0]}) is not finite")
    origin_file = path.with_suffix(".json")
    origin = read_record(origin_file, Origin, "delete it, or embed anew") if origin_file.is_file() else Origin()
    return ClassVectors(path=path, names=names, vectors=vectors, beside=beside, origin=origin)


def write_class_vectors(path: Path, names: Sequence[str], vectors: np.ndarray, origin: Origin) -> None:
    """Write vectors [C, V] of the classes `names` to `path`, a `.npy` file, and the two files beside it."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, vectors.astype(np.float32))
    write_text(path.with_suffix(".txt"), "".join(f"{name}\n" for name in names))
    write_record(path.with_suffix(".json"), origin)


def _read_matrix(path: Path) -> np.ndarray:
    try:
        matrix = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is no .npy file without pickles ({error}); write it with numpy.save") from error
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or matrix.dtype.kind not in "fiu" or not matrix.size:
        shape = f"{matrix.dtype} {list(matrix.shape)}" if isinstance(matrix, np.ndarray) else "several arrays"
        raise ValueError(f"{path} holds {shape}; needed is one matrix of numbers, a row for each class")
    with np.errstate(over="ignore"):  # an infinite number is refused with its class
        return matrix.astype(np.float32)


def with_vectors(splits: Splits, of_file: ClassVectors) -> Splits:
    """The splits with class vectors [C, V] as side information, or with attributes and vectors [C, A + V].

    Every class's vector is divided by its L2 norm.  Attributes beside it are, too, and both together are divided by √2,
    so that each kind has half of the squared length.  A class without a photo at hand may lack a vector and gets 0.

    Raises:
        ValueError: a class with photos has no vector, or the vectors do not tell two classes apart.
    """
    at_hand = [splits.class_names[class_id] for class_id in np.union1d(splits.seen, splits.unseen).tolist()]
    _refuse_missing(at_hand, of_file)
    row_of = {name: row for row, name in enumerate(of_file.names)}
    check_distinct(of_file.vectors[[row_of[name] for name in at_hand]], at_hand, str(of_file.path))
    vectors = np.zeros((len(splits.class_names), of_file.vectors.shape[1]), np.float32)
    for class_id, name in enumerate(splits.class_names):
        if name in row_of:
            vectors[class_id] = of_file.vectors[row_of[name]]
    unit, names = _unit(vectors), tuple(f"vector {number}" for number in range(1, vectors.shape[1] + 1))
    source = f", {of_file.origin.source}" * bool(of_file.origin.source)
    kind = f"{of_file.origin.kind} of {of_file.path.name} ({of_file.sha256}{source}), L2-normalised"
    if of_file.beside:
        unit = (np.hstack([_unit(splits.attributes), unit]) / np.sqrt(2)).astype(np.float32)
        numbers = map(str, range(1, splits.attributes.shape[1] + 1))
        names, kind = (*(splits.attribute_names or numbers), *names), f"{splits.attribute_kind} and {kind}"
    return replace(
        splits, attributes=unit, attribute_kind=kind, attribute_names=names, side_information=of_file.side_information
    )


def _unit(vectors: np.ndarray) -> np.ndarray:
    """The vectors [C, V] with length 1; a zero vector stays as it is."""
    wide = vectors.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    return (wide / np.where(norms > 0, norms, 1)).astype(np.float32)


def _refuse_missing(at_hand: Sequence[str], of_file: ClassVectors) -> None:
    missing = [name for name in at_hand if name not in of_file.names]
    if missing:
        close = get_close_matches(missing[0], of_file.names, n=1)
        guess = f"; it has {close[0]!r}" if close else ""
        raise ValueError(
            f"{of_file.path} has no vector of {missing[0]!r}{guess} ({len(missing)} of {len(at_hand)} classes are "
            "missing); names are those of the split file, as in the column `class` of names.csv"
        )
