"""Where things lie below `--data`: one function a question, so that no script spells a path."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path

from zsl.common.files import atomic_path
from zsl.datasets import own
from zsl.datasets.registry import DATASETS

SHAPES = "shapes"
FOLDER_FILE = "folder.txt"  # the path of a benchmark of one's own


def benchmark_name(benchmark: str) -> str:
    """What `--benchmark` is called below `--data`: a known name as it is, a folder of one's own by its last part.

    Raises:
        ValueError: a folder of one's own has a known benchmark's name.
    """
    if benchmark in DATASETS or not own.is_own(benchmark):
        return benchmark
    name = own.folder_name(benchmark)
    if name in DATASETS:
        raise ValueError(f"the folder {benchmark} has the name of a known benchmark; rename it, {name} is another one")
    return name


def note_folder(benchmark: str, data: Path) -> None:
    """Write which folder of one's own `data/<name>` was made from, for `check_folder`."""
    path = data / benchmark_name(benchmark) / FOLDER_FILE
    with atomic_path(path) as temporary:
        temporary.write_bytes(os.fsencode(Path(benchmark).resolve()))


def check_folder(benchmark: str, data: Path) -> None:
    """That `data/<name>` was not made from another folder of one's own that has the same last name.

    A folder that is not there any more was moved, and this is taken for it.

    Raises:
        ValueError: it was.
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
    """That `benchmark` has a reader, is a folder of one's own, or was packed below `data` before.

    Raises:
        ValueError: it is none of that, which a typing error most often is; or it is another folder of the same name.
    """
    check_folder(benchmark, data)
    if benchmark not in DATASETS and not own.is_own(benchmark) and not (data / benchmark).is_dir():
        packed = [path.parent.name for path in data.glob("*/shards")]
        names = sorted({*DATASETS, *packed})
        close = get_close_matches(benchmark.lower(), names, n=1)
        raise ValueError(
            f"no benchmark {benchmark!r}{f'; did you mean {close[0]!r}?' if close else ''}; there are "
            f"{', '.join(names)}, and a folder of your own by its path"
        )


def shards_folder(data: Path, benchmark: str) -> Path:
    """`data/<benchmark>/shards`."""
    return data / benchmark_name(benchmark) / "shards"


def splits_folder(data: Path, benchmark: str) -> Path:
    """`data/<benchmark>/splits`: a copy of the split files that the shards were made with."""
    return data / benchmark_name(benchmark) / "splits"


def features_folder(data: Path, benchmark: str, backbone: str) -> Path:
    """`data/<benchmark>/features/<backbone.weights-tag>`."""
    return data / benchmark_name(benchmark) / "features" / backbone
