"""The folders and files below `--data`: one function for each, so that no script builds a path itself."""

from __future__ import annotations

import os
from pathlib import Path

from zsl.common.files import atomic_path
from zsl.common.text import did_you_mean
from zsl.datasets import own
from zsl.datasets.class_names import NAMES_FILE
from zsl.datasets.registry import DATASETS

SHAPES = "shapes"
FOLDER_FILE = "folder.txt"  # file with the path of the user's own benchmark


def benchmark_name(benchmark: str) -> str:
    """Return the name of `--benchmark` below `--data`: a known name, or the last part of the user's own folder.

    Raises:
        ValueError: the user's own folder has the name of a known benchmark.
    """
    if benchmark in DATASETS or not own.is_own(benchmark):
        return benchmark
    name = own.folder_name(benchmark)
    if name in DATASETS:
        raise ValueError(f"the folder {benchmark} has the name of a known benchmark; rename it, {name} is another one")
    return name


def note_folder(benchmark: str, data: Path) -> None:
    """Write down the user's own folder from which `data/<name>` is made, for `check_folder`."""
    path = data / benchmark_name(benchmark) / FOLDER_FILE
    with atomic_path(path) as temporary:
        temporary.write_bytes(os.fsencode(Path(benchmark).resolve()))


def check_folder(benchmark: str, data: Path) -> None:
    """Check that `data/<name>` was not made from another of the user's folders with the same last name.

    If the earlier folder no longer exists, the function assumes that it was moved to `benchmark`.

    Raises:
        ValueError: `data/<name>` was made from another folder.
    """
    path = data / benchmark_name(benchmark) / FOLDER_FILE
    if not own.is_own(benchmark) or not path.is_file():
        return
    other, folder = Path(os.fsdecode(path.read_bytes())), Path(benchmark).resolve()
    if other != folder and other.is_dir():
        raise ValueError(
            f"{path.parent} was made from {other}, asked for is {folder}, which has the same last name; rename one of "
            "the two folders, or use another --data"
        )


def check_known(benchmark: str, data: Path) -> None:
    """Check that `benchmark` has a reader, is the user's own folder, or was packed below `data` before.

    Raises:
        ValueError: none of the three is true, most often because of a typing error; or it is another folder of the same
            name.
    """
    if benchmark in ("", ".", ".."):
        raise ValueError(f"--benchmark {benchmark!r}: the name of a benchmark, or the path of a folder of your own")
    check_folder(benchmark, data)
    if benchmark not in DATASETS and not own.is_own(benchmark) and not (data / benchmark).is_dir():
        packed = [path.parent.name for path in data.glob("*/shards")]
        names = sorted({*DATASETS, *packed})
        raise ValueError(
            f"no benchmark {benchmark!r}{did_you_mean(benchmark, names)}; there are {', '.join(names)}, and a folder "
            "of your own by its path"
        )


def shards_folder(data: Path, benchmark: str) -> Path:
    """The folder of the shards: `data/<benchmark>/shards`."""
    return data / benchmark_name(benchmark) / "shards"


def splits_folder(data: Path, benchmark: str) -> Path:
    """The folder with a copy of the split files of the shards: `data/<benchmark>/splits`."""
    return data / benchmark_name(benchmark) / "splits"


def names_file(data: Path, benchmark: str) -> Path:
    """The file with readable names of the classes: `data/<benchmark>/names.csv`."""
    return data / benchmark_name(benchmark) / NAMES_FILE


def features_folder(data: Path, benchmark: str, backbone: str) -> Path:
    """The folder of a feature table: `data/<benchmark>/features/<backbone.weights-tag>`."""
    return data / benchmark_name(benchmark) / "features" / backbone
