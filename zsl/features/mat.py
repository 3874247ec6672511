"""`res101.mat` to a feature table and back, bit for bit.

The file of the Proposed Splits archive holds `features` [D, N], `labels` [N, 1] (1-based) and `image_files` [N, 1]
(strings), column i being official row i; the last may be absent.  A table with missing photos, or without photos that
could not be read, is written with one more variable, `rows` [n, 1] (1-based), so that nothing is renumbered; other code
then fails at the first absent index and cannot misread it.
"""

from __future__ import annotations

import platform
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np

from shards import Location, open_index, shard_samples
from shards.index import file_sha256
from zsl.common.files import atomic_path, write_text
from zsl.common.matlab import read_variables, strings, whole_numbers
from zsl.common.text import is_one_line, printable
from zsl.datasets.places import benchmark_name, features_folder, splits_folder
from zsl.datasets.registry import DATASETS
from zsl.datasets.row_order import read_official_rows
from zsl.datasets.split_copies import keep_splits
from zsl.datasets.split_file import SPLIT_FILE, SplitFile, read_split_file
from zsl.datasets.splits import Splits, classes_hash, make_splits
from zsl.features.manifest import MANIFEST_FILE, UNKNOWN, Imported, Manifest, Source, read_manifest, write_manifest
from zsl.features.table import REMEDY, FeatureTable, arrays_sha256, lacks_files, read_array, read_features

KEYS = ("features", "labels")
FILES_FILE = "image_files.txt"  # one a line, in the order of the rows
LARGEST_ARRAY = 2**32  # bytes that the format can count
DOUBLE_FILE = "features_float64.npy"  # only where float32 does not hold the imported numbers exactly


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """The columns of a `res101.mat`, checked."""

    features: np.ndarray  # [N, D] float32 or float64
    labels: np.ndarray  # [N] int64, 0-based
    labels_dtype: str  # in the file
    rows: np.ndarray  # [N] int64, 0-based, rising
    files: list[str]  # [N] the photos' paths
    named: bool = True  # False: the file has no paths, and `files` are "row 1", …

    @cached_property
    def single(self) -> np.ndarray:
        """The features in float32."""
        with np.errstate(over="ignore", under="ignore"):
            return self.features.astype(np.float32)

    @cached_property
    def exact_in_float32(self) -> bool:
        """Whether float32 holds every feature exactly."""
        return np.array_equal(self.single.astype(self.features.dtype), self.features)


def import_mat(file: Path, benchmark: str, data: Path, *, splits: Path | None = None) -> tuple[Path, Manifest]:
    """Make the feature table `data/<benchmark>/features/<name of the file>` from `file`; gives folder and manifest.

    splits: folder of the split files, which are then copied below `data`; None: the copy that lies there.  The file
    does not say what the features were made with, and the manifest says that.

    Raises:
        FileNotFoundError: there is no such file, or no split file.
        FileExistsError: there is a table of that name.
        ValueError: the file is no `res101.mat`, or does not fit the split file.
    """
    content = _read(file)
    out = features_folder(data, benchmark, file.stem)
    if splits is not None and not splits.is_dir():
        raise FileNotFoundError(f"no folder {splits}; --splits is the folder with {SPLIT_FILE}")
    if (out / MANIFEST_FILE).is_file():  # a second start, or a second process
        manifest = _manifest_of(out, file)
        if splits is not None:
            keep_splits(splits, splits_folder(data, benchmark), read_split_file(splits))
        if not lacks_files(out, manifest):
            return out, manifest
    split_file = read_split_file(splits or splits_folder(data, benchmark))
    columns = _with_official_rows(_columns(content, split_file, file), splits or splits_folder(data, benchmark), file)
    dataset = DATASETS.get(benchmark)
    _check_files(columns.files, file, rows_are_boxes=dataset is not None and bool(dataset.box_files))
    joined = make_splits(split_file, columns.rows, columns.labels)
    if splits is not None:
        keep_splits(splits, splits_folder(data, benchmark), split_file)
    manifest = Manifest(
        benchmark=benchmark_name(benchmark),
        source=_source(split_file, joined, len(columns.rows)),
        backbone=out.name,
        pretraining=f"{UNKNOWN} (imported from {file.name})",
        precision=UNKNOWN,
        versions={"python": platform.python_version(), "scipy": version("scipy")},
        count=len(columns.rows),
        arrays_sha256=arrays_sha256(columns.single, columns.labels, columns.rows),
        dim=columns.features.shape[1],
        imported=_describe_file(file, columns),
    )
    _write(columns, manifest, out)
    return out, manifest


def _manifest_of(out: Path, file: Path) -> Manifest:
    """The manifest of the table in `out`, if that table was made from `file`."""
    manifest = read_manifest(out / MANIFEST_FILE)
    if manifest.imported is None or manifest.imported.sha256 != file_sha256(file):
        raise FileExistsError(f"{out} is a table made from something else; rename the .mat file, or delete that folder")
    return manifest


def _source(split_file: SplitFile, splits: Splits, count: int) -> Source:
    missing = split_file.count - count
    return Source(
        verdict=f"{splits.verdict}, " + (f"INCOMPLETE: {missing:,} photos missing" if missing else "complete"),
        split_hashes=split_file.hashes,
        classes_hash=classes_hash(split_file.class_names),
        missing=missing,
        classes_left=len(splits.seen) + len(splits.unseen),
    )


def _describe_file(file: Path, columns: Columns) -> Imported:
    return Imported(
        file=file.name,
        sha256=file_sha256(file),
        features_dtype=str(columns.features.dtype),
        labels_dtype=columns.labels_dtype,
        exact_in_float32=columns.exact_in_float32,
    )


def _write(columns: Columns, manifest: Manifest, out: Path) -> None:
    """The files of the table, manifest last."""
    arrays = {"features.npy": columns.single, "labels.npy": columns.labels, "rows.npy": columns.rows}
    if not columns.exact_in_float32:
        arrays[DOUBLE_FILE] = columns.features
    else:  # that of an import which was killed before its manifest
        (out / DOUBLE_FILE).unlink(missing_ok=True)
    for name, array in arrays.items():
        with atomic_path(out / name) as temporary, temporary.open("wb") as stream:
            np.save(stream, array, allow_pickle=False)
    write_text(out / FILES_FILE, "".join(f"{name}\n" for name in columns.files))
    write_manifest(out / MANIFEST_FILE, manifest)


def export_mat(folder: Path, file: Path, shards: Location, *, allow_pipe: bool = False) -> FeatureTable:
    """Write the feature table in `folder` to `file` in the form of `res101.mat`.

    File names come from the table where it was imported, else from its `shards`; allow_pipe: which may be a command.

    Raises:
        FileNotFoundError: the shards are absent, or the file with the imported numbers in float64.
        ValueError: the shards are others than those of the table; or the table has changed since it was made, or is
            too large for the format.
    """
    from scipy.io import savemat

    table = read_features(folder, allow_incomplete=True)
    table.check_content()
    imported = table.manifest.imported
    features = _exported_features(folder, table)
    if features.nbytes >= LARGEST_ARRAY:
        raise ValueError(
            f"{file} cannot hold {features.nbytes / 1e9:.1f} GB of features: an array in a MATLAB 5 file takes less "
            f"than {LARGEST_ARRAY / 1e9:.1f} GB; read {folder / 'features.npy'} with numpy.load"
        )
    names = _file_names(folder, table, shards, allow_pipe=allow_pipe)
    content = {
        "features": np.ascontiguousarray(features.T.astype(imported.features_dtype if imported else "float32")),
        "labels": (table.labels + 1)[:, None].astype(imported.labels_dtype if imported else "float64"),
        "image_files": np.array([*names, None], dtype=object)[:-1, None],
    }
    if table.manifest.source.missing or table.manifest.quarantined:
        content["rows"] = (table.rows + 1)[:, None].astype(np.float64)
    with atomic_path(file) as temporary, temporary.open("wb") as stream:
        savemat(stream, content)
    return table


def _read(file: Path) -> dict[str, np.ndarray]:
    if not file.is_file():
        raise FileNotFoundError(
            f"no file {file}; res101.mat comes with xlsa17.zip (xlsa17/data/<benchmark>/res101.mat)"
        )
    return read_variables(file, KEYS, optional=["image_files", "rows"])


def _columns(content: dict[str, np.ndarray], split_file: SplitFile, file: Path) -> Columns:
    """The columns, after a check of their sizes and values against each other and the split file."""
    features = content["features"].T
    labels = whole_numbers(content["labels"], file, "labels", "class number") - 1
    rows = np.arange(len(features))
    if "rows" in content:
        rows = whole_numbers(content["rows"], file, "rows", "row number") - 1
    files = [f"row {row + 1}" for row in rows.tolist()]
    if "image_files" in content:
        files = list(strings(content["image_files"], file, "image_files"))
    if features.ndim != 2:
        raise ValueError(f"{file}: features have {features.ndim} dimensions; they should be D x N")
    if features.dtype not in (np.float32, np.float64):
        raise ValueError(f"{file}: features are {features.dtype}; float32 or float64 is needed")
    if not len(features) == len(labels) == len(files) == len(rows):
        raise ValueError(
            f"{file}: {len(features)} columns of features, {len(labels)} labels, {len(files)} image_files and "
            f"{len(rows)} rows; features should be D x N"
        )
    if not len(features):
        raise ValueError(f"{file} has no image; features should be D x N")
    if "rows" not in content and len(features) != split_file.count:
        raise ValueError(
            f"{file} has {len(features):,} images, the split file {split_file.count:,} rows; are they of one benchmark?"
        )
    columns = Columns(
        features=features,
        labels=labels,
        labels_dtype=str(content["labels"].dtype),
        rows=rows,
        files=files,
        named="image_files" in content,
    )
    _check_values(columns, len(split_file.class_names), file)
    return columns


def _check_files(files: list[str], path: Path, *, rows_are_boxes: bool) -> None:
    """Refuse a photo's path that two rows have, if rows are no boxes, or that cannot be a line of a list."""
    if odd := [name for name in files if not is_one_line(name)]:
        raise ValueError(f"{path}: the entry {odd[0]!r} of image_files holds a line break; it should be a photo's path")
    repeated = [name for name, count in Counter(files).items() if count > 1]
    if repeated and not rows_are_boxes:
        raise ValueError(
            f"{path}: {len(repeated):,} entries of image_files occur more than once, the first is {repeated[0]!r}; "
            "each row is another photo"
        )


def _with_official_rows(columns: Columns, split_folder: Path, file: Path) -> Columns:
    """The columns, whose labels are those of `labels_files.mat`; a file without names of photos gets its names."""
    official = read_official_rows(split_folder)
    if official is None or len(official.labels) <= columns.rows.max():
        return columns
    wrong = np.flatnonzero(official.labels[columns.rows] - 1 != columns.labels)
    if len(wrong):
        row, label = columns.rows[wrong[0]], columns.labels[wrong[0]] + 1
        raise ValueError(
            f"{file}: {len(wrong):,} labels are not those of {official.path}, the first is {label} in "
            f"row {row + 1}, right is {official.labels[row]}; are the columns in the official order?"
        )
    if columns.named or official.files is None:
        return columns
    return replace(columns, files=[official.files[row] for row in columns.rows.tolist()])


def _check_values(columns: Columns, classes: int, file: Path) -> None:
    labels, features = columns.labels, columns.features
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"{file}: labels reach from {labels.min() + 1} to {labels.max() + 1}; right are 1 to {classes}"
        )
    if (np.diff(columns.rows) <= 0).any():
        raise ValueError(f"{file}: rows do not rise")
    if not np.isfinite(features).all():
        raise ValueError(f"{file}: column {int(np.argwhere(~np.isfinite(features))[0, 0]) + 1} is not finite")
    lost = ~np.isfinite(columns.single) | ((features != 0) & (not columns.single.any()))
    if lost.any():
        row, dimension = (int(at) for at in np.argwhere(lost)[0])
        raise ValueError(
            f"{file}: column {row + 1} holds {features[row, dimension]:g}, which float32 cannot hold; scale them"
        )


def _exported_features(folder: Path, table: FeatureTable) -> np.ndarray:
    """The features [N, D]: of an imported table those of its file, which float32 may not hold exactly.

    Raises:
        FileNotFoundError: float32 does not hold them, and the file that does is absent.
        ValueError: that file has changed since it was written.
    """
    imported, single, file = table.manifest.imported, np.asarray(table.features), folder / DOUBLE_FILE
    exact = imported is None or imported.exact_in_float32
    if exact or (exact is None and not file.is_file()):
        return single
    double = read_array(file, "f8", 2)
    with np.errstate(over="ignore", under="ignore"):
        if not np.array_equal(double.astype(np.float32), single):
            raise ValueError(f"{file} holds other numbers than features.npy; {REMEDY}")
    return double


def _file_names(folder: Path, table: FeatureTable, shards: Location, *, allow_pipe: bool) -> list[str]:
    """The photo's path of each row of the table."""
    if table.manifest.imported:  # else the file, if there is one, is that of an import which was killed
        return _imported_names(folder / FILES_FILE, len(table.rows))
    index = open_index(shards, allow_pipe=allow_pipe)
    if index.sha256 != table.manifest.shards_sha256:
        raise ValueError(f"{folder} was not made from the shards in {shards}, which have the file names; extract anew")
    file = {}
    for shard in index.shards:
        samples = shard_samples(shards, shard, allow_pipe=allow_pipe)
        file.update({sample.row: sample.file for sample in samples})
    return [printable(file[row]) for row in table.rows.tolist()]


def _imported_names(file: Path, count: int) -> list[str]:
    """The photos' paths that an import wrote down.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has not one line for each of `count` rows.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no {file.name} in {file.parent}, although its {MANIFEST_FILE} is there; {REMEDY}")
    names = file.read_text(encoding="utf-8").splitlines()
    if len(names) != count:
        raise ValueError(f"{file} has {len(names):,} lines for {count:,} rows; {REMEDY}")
    return names
