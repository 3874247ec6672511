"""MATLAB 5 files: reading variables as dense arrays, strings or whole numbers."""

from __future__ import annotations

import mmap
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zsl.common.files import LFS_POINTER
from zsl.common.matlab_structure import check_structure

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"  # at byte 0, or at byte 512 after MATLAB's header
LARGEST = 2.0**53  # whole numbers above this are not exact in MATLAB's own numbers
COMPLETE = "is the download complete?"


def read_variables(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Read the variables `required`, and those of `optional` that the file has, and skip others, which may be large.

    A sparse matrix becomes dense.  Cells with one number each become an array of numbers.

    Raises:
        ValueError: the file is empty, cut, a MATLAB 7.3 (HDF5) file or no MATLAB file, or lacks a required variable.
    """
    from scipy.io import loadmat, whosmat  # here, as a command line's help can do without

    _check_form(path)
    try:
        _check_damage(path, {*required, *optional})
        content = loadmat(path, variable_names=[*required, *optional])
        absent = [name for name in required if name not in content]
        names = [name for name, _, _ in whosmat(path)] if absent else []
    except Exception as error:  # SciPy raises many types of exceptions for broken files
        raise ValueError(f"{path} cannot be read as a MATLAB 5 file ({error}); {COMPLETE}") from error
    if absent:
        raise ValueError(f"{path} has no {', '.join(absent)}; it has {', '.join(names) or 'no variables'}")
    return {name: _dense(value) for name, value in content.items() if name in {*required, *optional}}


def _check_form(path: Path) -> None:
    """Refuse the forms of files that SciPy cannot read, with the name of the form and a remedy."""
    with path.open("rb") as stream:
        head = stream.read(520)
    if not head:
        raise ValueError(f"{path} is empty; {COMPLETE}")
    if head.startswith(HDF5_MAGIC) or head[512:] == HDF5_MAGIC or head.startswith(b"MATLAB 7.3"):
        raise ValueError(
            f"{path} is a MATLAB 7.3 (HDF5) file; the official files are MATLAB 5: "
            "load it in MATLAB and write it again with save(…, '-v7'), or get the original archive"
        )
    if head.startswith(LFS_POINTER):
        raise ValueError(f"{path} cannot be read as a MATLAB 5 file: it is a Git LFS pointer; run `git lfs pull`")
    # MATLAB 4 files begin with a number whose bytes include 0; SciPy also reads them.
    if not head.startswith(b"MATLAB") and 0 not in head[:4]:
        raise ValueError(
            f"{path} cannot be read as a MATLAB 5 file: it begins with {head[:16]!r}, not with MATLAB; {COMPLETE}  "
            "A server may have sent a web page instead"
        )


def _check_damage(path: Path, wanted: Collection[str]) -> None:
    """Refuse a damaged MATLAB 5 file, with what is damaged, before SciPy reads it."""
    with path.open("rb") as stream:
        if stream.read(6) == b"MATLAB":  # MATLAB 4 files have another structure
            check_structure(memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)), wanted)


def _dense(value: Any) -> np.ndarray:
    """Turn a sparse matrix into a dense one, and cells of one number each into an array of the same shape."""
    from scipy.sparse import issparse

    if issparse(value):
        return value.toarray()
    if value.dtype == object and value.size and all(_is_number(cell) for cell in value.ravel()):
        return np.array([np.ravel(cell)[0] for cell in value.ravel()]).reshape(value.shape)
    return value


def _is_number(cell: Any) -> bool:
    return np.size(cell) == 1 and np.issubdtype(np.asarray(cell).dtype, np.number)


def strings(values: np.ndarray, path: Path, what: str) -> tuple[str, ...]:
    """Return the strings [N] of a cell array or of a padded char matrix, stripped; an empty cell is "".

    Raises:
        ValueError: an entry is no string; `what` names the list in the message.
    """
    flat = values.ravel()
    if flat.dtype.kind == "O" and flat.size == 1 and np.size(flat[0]) > 1:
        return strings(np.asarray(flat[0]), path, what)  # a cell that holds the list
    texts = [_string(cell) for cell in flat]
    for number, text in enumerate(texts, start=1):
        if text is None:
            raise ValueError(f"{path}: entry {number} of {what} is not one string; save a cell array of strings")
    return tuple(text.strip() for text in texts if text is not None)


def _string(cell: Any) -> str | None:
    """Return the string in a cell, or in a cell in a cell; None if it holds several strings or something else."""
    if isinstance(cell, str):
        return str(cell)
    if not isinstance(cell, np.ndarray) or cell.dtype.kind not in "UO" or cell.size > 1:
        return "" if isinstance(cell, np.ndarray) and not cell.size else None
    return _string(cell.ravel()[0]) if cell.size else ""


def whole_numbers(values: np.ndarray, path: Path, name: str, meaning: str) -> np.ndarray:
    """Return the whole numbers [N] int64 of the variable `name`.

    Raises:
        ValueError: a value is no number, not finite or has a fraction; `meaning` names the right values in the message.
    """
    flat = values.ravel()
    if flat.dtype.kind not in "fiu":
        raise ValueError(f"{path}: {name} holds {_words(flat)}, which is no {meaning}")
    strange = flat[~(np.isfinite(flat) & (flat == np.floor(flat)) & (abs(flat.astype(float)) < LARGEST))]
    if len(strange):
        raise ValueError(f"{path}: {name} holds {strange[0].item()!r}, which is no {meaning}")
    return flat.astype(np.int64)


def _words(flat: np.ndarray) -> str:
    """Describe the first value, which is no number."""
    return repr(flat[0].item() if isinstance(flat[0], np.generic) else flat[0]) if len(flat) else "nothing"
