"""Class vectors: side information of another kind than attributes, such as embeddings of the classes' texts.

A file `FILE.npy` holds one vector for each class, and `FILE.txt` the classes' names, one a line, in the order of the
vectors.  The names are those of the split file, so the order of the file does not matter.  `FILE.json` may say where
the vectors come from.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from zsl.common.files import atomic_path, write_text
from zsl.common.records import read_record, write_record
from zsl.common.text import did_you_mean, read_names
from zsl.datasets.distinct import check_distinct
from zsl.datasets.splits import ATTRIBUTES, Splits

VECTORS = "class vectors"  # the kind of side information
SUFFIX = ".npy"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a file of vectors comes from: the `.json` beside it, which scripts/embed_names.py writes."""

    kind: str = VECTORS  # of side information
    source: str = ""  # in words: model, templates
    image_tower_sha256: str | None = None  # of the image tower in whose space the vectors are
    content: str | None = None  # `ClassVectors.sha256` of the vectors that it describes


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassVectors:
    """The content of a file of class vectors, and its use."""

    path: Path
    names: tuple[str, ...]  # n classes
    vectors: np.ndarray  # [n, V] float32, finite
    beside: bool = False  # whether they stand beside the attributes; else in their place
    origin: Origin = field(default_factory=Origin)

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
            damaged, or describes other vectors.
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
    return _with_origin(ClassVectors(path=path, names=names, vectors=vectors, beside=beside))


def _with_origin(class_vectors: ClassVectors) -> ClassVectors:
    """Add what the `.json` beside the vectors says, if there is one."""
    file = class_vectors.path.with_suffix(".json")
    if not file.is_file():
        return class_vectors
    origin = read_record(file, Origin, "embed anew, or move the file away if it is of something else")
    if origin.content not in (None, class_vectors.sha256):
        raise ValueError(
            f"{file} describes other vectors than those of {class_vectors.path} now; embed anew, or delete the .json "
            "if the vectors are your own"
        )
    return replace(class_vectors, origin=origin)


def check_vectors_name(path: Path) -> None:
    """Check that a file of vectors can have the name `path`, whose `.txt` and `.json` are other files.

    Raises:
        ValueError: the name does not end in `.npy`.
    """
    if path.suffix != SUFFIX:
        raise ValueError(f"{path}: a file of class vectors has a name that ends in {SUFFIX}")


def write_class_vectors(path: Path, names: Sequence[str], vectors: np.ndarray, origin: Origin) -> None:
    """Write vectors [C, V] of the classes `names` to `path`, a `.npy` file, and the two files beside it.

    A reader refuses what a kill leaves between two of the three files, because `origin` is written with the hash of
    names and numbers.

    Raises:
        ValueError: the name of the file does not end in `.npy`.
        OSError: a file cannot be written; in words.
    """
    check_vectors_name(path)
    written = ClassVectors(path=path, names=tuple(names), vectors=np.ascontiguousarray(vectors, np.float32))
    write_record(path.with_suffix(".json"), replace(origin, content=written.sha256))
    write_text(path.with_suffix(".txt"), "".join(f"{name}\n" for name in names))
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, written.vectors)


def _read_matrix(path: Path) -> np.ndarray:
    try:
        with path.open("rb") as stream:
            matrix: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
    except Exception as error:  # NumPy's reader of headers raises many types of exceptions
        raise ValueError(f"{path} is no .npy file without pickles ({error}); write it with numpy.save") from error
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu" or not matrix.size:
        raise ValueError(
            f"{path} holds {matrix.dtype} {list(matrix.shape)}; needed is one matrix of numbers, a row for each class"
        )
    with np.errstate(over="ignore"):  # an infinite number is refused with its class
        return matrix.astype(np.float32)


def with_vectors(splits: Splits, class_vectors: ClassVectors) -> Splits:
    """The splits with class vectors [C, V] as side information, or with attributes and vectors [C, A + V].

    Every class's vector is divided by its L2 norm.  Attributes beside it are, too, and both together are divided by √2,
    so that each kind has half of the squared length.  A class without a photo at hand may lack a vector and gets 0.

    Raises:
        ValueError: a class with photos has no vector, or the vectors do not tell two classes apart.
    """
    at_hand = [splits.class_names[class_id] for class_id in np.union1d(splits.seen, splits.unseen).tolist()]
    _refuse_missing(at_hand, class_vectors)
    row_of = {name: row for row, name in enumerate(class_vectors.names)}
    check_distinct(class_vectors.vectors[[row_of[name] for name in at_hand]], at_hand, str(class_vectors.path))
    vectors = np.zeros((len(splits.class_names), class_vectors.vectors.shape[1]), np.float32)
    for class_id, name in enumerate(splits.class_names):
        if name in row_of:
            vectors[class_id] = class_vectors.vectors[row_of[name]]
    unit, names = _unit(vectors), tuple(f"vector {number}" for number in range(1, vectors.shape[1] + 1))
    source = f", {class_vectors.origin.source}" * bool(class_vectors.origin.source)
    kind = f"{class_vectors.origin.kind} of {class_vectors.path.name} ({class_vectors.sha256}{source}), L2-normalised"
    if class_vectors.beside:
        unit = (np.hstack([_unit(splits.attributes), unit]) / np.sqrt(2)).astype(np.float32)
        numbers = map(str, range(1, splits.attributes.shape[1] + 1))
        names, kind = (*(splits.attribute_names or numbers), *names), f"{splits.attribute_kind} and {kind}"
    return replace(
        splits,
        attributes=unit,
        attribute_kind=kind,
        attribute_names=names,
        side_information=class_vectors.side_information,
    )


def _unit(vectors: np.ndarray) -> np.ndarray:
    """The vectors [C, V] with length 1; a zero vector stays as it is."""
    wide = vectors.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    return (wide / np.where(norms > 0, norms, 1)).astype(np.float32)


def _refuse_missing(at_hand: Sequence[str], class_vectors: ClassVectors) -> None:
    missing = [name for name in at_hand if name not in class_vectors.names]
    if missing:
        raise ValueError(
            f"{class_vectors.path} has no vector of {missing[0]!r} ({len(missing)} of {len(at_hand)} classes are "
            "missing); names are those of the split file, as in the column `class` of names.csv"
            f"{did_you_mean(missing[0], class_vectors.names)}"
        )
