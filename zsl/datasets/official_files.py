"""Write `att_splits.mat` and the class lists in the official form; equal input gives equal bytes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from zsl.common.files import atomic_path, write_text

HEADER_BYTES = 116  # of text, with which a MATLAB 5 file begins


def write_split_file(
    path: Path, class_names: Sequence[str], strengths: np.ndarray, parts: Mapping[str, np.ndarray], what: str
) -> None:
    """Write `att_splits.mat` without `train_loc` and `val_loc`, which no one should use.

    strengths: [A, C].  parts: 0-based rows by name.  what: a few words for the file's header.
    """
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(
        buffer,
        {
            "allclasses_names": np.array(class_names, dtype=object)[:, None],
            "original_att": strengths,
            "att": strengths / np.linalg.norm(strengths, axis=0),
            **{part: (rows + 1)[:, None].astype(np.uint32) for part, rows in parts.items()},
        },
    )
    # SciPy writes the time of day into the header, so the header is replaced.
    header = f"MATLAB 5.0 MAT-file, {what}".encode().ljust(HEADER_BYTES)
    with atomic_path(path) as temporary:
        temporary.write_bytes(header + buffer.getvalue()[HEADER_BYTES:])


def write_class_lists(
    folder: Path,
    class_names: Sequence[str],
    seen: Iterable[int],
    unseen: Iterable[int],
    validation: Sequence[Iterable[int]],
) -> None:
    """Write all class lists; `seen`, `unseen` and the `validation` classes of each fold are class ids."""
    seen = list(seen)
    lists = {"allclasses": range(len(class_names)), "trainvalclasses": seen, "testclasses": unseen}
    for fold, classes in enumerate(map(set, validation), start=1):
        lists[f"trainclasses{fold}"] = sorted(set(seen) - classes)
        lists[f"valclasses{fold}"] = sorted(classes)
    for title, ids in lists.items():
        write_text(folder / f"{title}.txt", "".join(f"{class_names[i]}\n" for i in ids))
