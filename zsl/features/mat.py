"""`res101.mat` to a feature table and back, bit for bit.

The file of the Proposed Splits archive holds `features` [D, N], `labels` [N, 1] (1-based) and `image_files` [N, 1]
(strings), column i being official row i.  A table with missing photos is written with one more variable, `rows`
[n, 1] (1-based), so that nothing is renumbered; other code then fails at the first absent index and cannot misread it.
"""

from __future__ import annotations

import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from shards import Location, open_index, open_shard, read_samples
from shards.index import file_sha256
from zsl.common.files import atomic_path, read_json, write_json
from zsl.common.matlab import read_variables
from zsl.datasets.places import benchmark_name, features_folder, splits_folder
from zsl.datasets.split_file import SPLIT_FILE, SplitFile, read_split_file
from zsl.datasets.splits import make_splits
from zsl.features.table import FORMAT, MANIFEST_FILE, FeatureTable, read_features

KEYS = ("features", "labels", "image_files")
FILES_FILE = "image_files.txt"  # one a line, in the order of the rows
DOUBLE_FILE = "features_float64.npy"  # only where float32 does not hold the imported numbers exactly


def import_mat(file: Path, benchmark: str, data: Path, *, splits: Path | None = None) -> tuple[Path, dict[str, Any]]:
    """Make the feature table `data/<benchmark>/features/<name of the file>` from `file`; returns folder and manifest.

    The split files come from `splits`, and are then copied below `data`, or from
    the copy that is there.  What the features were made with is not in the file, and the manifest says so.

    Raises:
        FileNotFoundError: there is no such file, or no split file.
        FileExistsError: there is a table of that name.
        ValueError: the file is no `res101.mat`, or does not fit the split file.
    """
    content = _read(file)
    out = features_folder(data, benchmark, file.stem)
    if (out / MANIFEST_FILE).is_file():
        manifest = read_json(out / MANIFEST_FILE)
        if manifest.get("imported", {}).get("sha256") == file_sha256(file):
            return out, manifest  # a second start, or a second process
        raise FileExistsError(f"{out} is a table made from something else; rename the .mat file, or delete that folder")
    split_file = read_split_file(splits or splits_folder(data, benchmark))
    features, labels, rows, files = _columns(content, split_file, file)
    joined = make_splits(split_file, rows, labels)
    if splits is not None:
        _keep_splits(splits, splits_folder(data, benchmark), split_file)
    missing = split_file.count - len(rows)
    single = features.astype(np.float32)
    exact = np.array_equal(single.astype(features.dtype), features)
    manifest = {
        "format": FORMAT,
        "benchmark": benchmark_name(benchmark),
        "source": {
            "verdict": f"{joined.verdict}, " + (f"INCOMPLETE: {missing:,} photos missing" if missing else "complete"),
            "split_hashes": list(split_file.hashes),
            "missing": missing,
            "classes_left": len(joined.seen) + len(joined.unseen),
        },
        "shards_sha256": None,
        "backbone": out.name,
        "pretraining": f"unknown (imported from {file.name})",
        "weights_sha256": None,
        "transform": None,
        "precision": "unknown",
        "versions": {"python": platform.python_version(), "scipy": version("scipy")},
        "count": len(rows),
        "dim": features.shape[1],
        "imported": {
            "file": file.name,
            "sha256": file_sha256(file),
            "features_dtype": str(features.dtype),
            "labels_dtype": str(content["labels"].dtype),
            "exact_in_float32": exact,
        },
    }
    arrays = {"features.npy": single, "labels.npy": labels, "rows.npy": rows}
    for part, array in (arrays if exact else arrays | {DOUBLE_FILE: features}).items():
        with atomic_path(out / part) as temporary, temporary.open("wb") as stream:
            np.save(stream, array, allow_pickle=False)
    with atomic_path(out / FILES_FILE) as temporary:
        temporary.write_text("".join(f"{name}\n" for name in files))
    write_json(out / MANIFEST_FILE, manifest)
    return out, manifest


def export_mat(folder: Path, file: Path, shards: Location) -> FeatureTable:
    """Write the feature table in `folder` to `file` in the form of `res101.mat`.

    File names come from the table where it was imported, else from its `shards`.

    Raises:
        FileNotFoundError: the shards are absent.
        ValueError: the shards are not those that the table was made from.
    """
    from scipy.io import savemat

    table = read_features(folder)
    imported = table.manifest.get("imported", {})
    features = np.load(folder / DOUBLE_FILE) if (folder / DOUBLE_FILE).is_file() else np.asarray(table.features)
    names = _file_names(folder, table, shards)
    content = {
        "features": np.ascontiguousarray(features.T.astype(imported.get("features_dtype", "float32"))),
        "labels": (table.labels + 1)[:, None].astype(imported.get("labels_dtype", "float64")),
        "image_files": np.array([*names, None], dtype=object)[:-1, None],
    }
    if table.manifest["source"]["missing"]:
        content["rows"] = (table.rows + 1)[:, None].astype(np.float64)
    with atomic_path(file) as temporary, temporary.open("wb") as stream:
        savemat(stream, content)
    return table


def _read(file: Path) -> dict[str, np.ndarray]:
    if not file.is_file():
        raise FileNotFoundError(
            f"no file {file}; res101.mat comes with xlsa17.zip (xlsa17/data/<benchmark>/res101.mat)"
        )
    return read_variables(file, KEYS, optional=["rows"])


def _columns(
    content: dict[str, np.ndarray], split_file: SplitFile, file: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Features [N, D], labels [N] 0-based, rows [N] 0-based and rising, and file names."""
    features = content["features"].T
    labels = content["labels"].ravel().astype(np.int64) - 1
    files = [str(np.ravel(cell)[0]) if np.size(cell) else "" for cell in content["image_files"].ravel()]
    rows = content["rows"].ravel().astype(np.int64) - 1 if "rows" in content else np.arange(len(features))
    if features.dtype not in (np.float32, np.float64):
        raise ValueError(f"{file}: features are {features.dtype}; float32 or float64 is needed")
    if not len(features) == len(labels) == len(files) == len(rows):
        raise ValueError(
            f"{file}: {len(features)} columns of features, {len(labels)} labels, {len(files)} image_files and "
            f"{len(rows)} rows; features should be D x N"
        )
    if "rows" not in content and len(features) != split_file.count:
        raise ValueError(
            f"{file} has {len(features):,} images, the split file {split_file.count:,} rows; are they of one benchmark?"
        )
    if labels.min() < 0 or labels.max() >= len(split_file.class_names):
        raise ValueError(
            f"{file}: labels reach from {labels.min() + 1} to {labels.max() + 1}; right are 1 to "
            f"{len(split_file.class_names)}"
        )
    if (np.diff(rows) <= 0).any():
        raise ValueError(f"{file}: rows do not rise")
    if not np.isfinite(features).all():
        raise ValueError(f"{file}: column {int(np.argwhere(~np.isfinite(features))[0, 0]) + 1} is not finite")
    return features, labels, rows, files


def _keep_splits(source: Path, target: Path, split_file: SplitFile) -> None:
    """Training reads the splits below `data`; those of another split file must not be written over."""
    if (target / SPLIT_FILE).is_file():
        there = read_split_file(target).hashes
        if there != split_file.hashes:
            raise ValueError(
                f"{target} holds splits {'/'.join(there)}, --splits {'/'.join(split_file.hashes)}; use another --data"
            )
        return
    target.mkdir(parents=True, exist_ok=True)
    for path in [source / SPLIT_FILE, *source.glob("*classes*.txt")]:
        shutil.copyfile(path, target / path.name)


def _file_names(folder: Path, table: FeatureTable, shards: Location) -> list[str]:
    """The photo's path of each row of the table."""
    if (folder / FILES_FILE).is_file():
        return (folder / FILES_FILE).read_text().splitlines()
    index = open_index(shards)
    if index.sha256 != table.manifest["shards_sha256"]:
        raise ValueError(f"{folder} was not made from the shards in {shards}, which have the file names; extract anew")
    file = {}
    for shard in index.shards:
        with open_shard(shards, shard) as stream:
            file.update({sample.row: sample.file for sample in read_samples(stream, shard.file)})
    return [file[row] for row in table.rows.tolist()]
