"""Where things lie below `--data`: one function a question, so that no script spells a path."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from zsl.datasets import own
from zsl.datasets.registry import DATASETS

SHAPES = "shapes"


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


def check_known(benchmark: str, data: Path) -> None:
    """That `benchmark` has a reader, is a folder of one's own, or was packed below `data` before.

    Raises:
        ValueError: it is none of that, which a typing error most often is.
    """
    if benchmark not in DATASETS and not own.is_own(benchmark) and not (data / benchmark).is_dir():
        close = get_close_matches(benchmark.lower(), DATASETS, n=1)
        raise ValueError(
            f"no benchmark {benchmark!r}{f'; did you mean {close[0]!r}?' if close else ''}; there are "
            f"{', '.join(sorted(DATASETS))}, and a folder of your own by its path"
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
