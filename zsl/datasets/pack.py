"""Raw photos and split files to shards below `--data`."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from shards import Location, ShardIndex, open_index, read_index, write_shards
from zsl.common.progress import progress_bar
from zsl.datasets import own
from zsl.datasets.attribute_names import find_names, write_names
from zsl.datasets.benchmark import Benchmark, read_benchmark
from zsl.datasets.class_lists import check_class_lists
from zsl.datasets.places import SHAPES, benchmark_name, check_known, shards_folder, splits_folder
from zsl.datasets.registry import DATASETS, find_dataset
from zsl.datasets.shapes import write_shapes


def make_shards(
    benchmark: str, data: Path, *, images: Path | None = None, splits: Path | None = None, allow_missing: bool = False
) -> tuple[ShardIndex, Benchmark]:
    """Shards of `benchmark` below `data`, from its raw folder and split files; `shapes` is drawn where absent.

    A `benchmark` that is a path is a folder of one's own (`zsl.datasets.own`), which brings photos and splits.

    Raises:
        ValueError: `images` and `splits` were not both given for a benchmark that cannot be drawn, or were given for
            one of one's own; or class lists and splits contradict each other.
    """
    name = benchmark_name(benchmark)
    if benchmark not in DATASETS and own.is_own(benchmark):
        if images is not None or splits is not None:
            raise ValueError(
                f"--benchmark {benchmark} is a folder with photos and splits; leave --images and --splits out"
            )
        images, splits = Path(benchmark), splits_folder(data, benchmark)
        own.prepare(images, splits)
        benchmark = SHAPES  # the reader of photos in class folders
    if benchmark == SHAPES and images is None and splits is None:
        images = data / SHAPES / "raw"
        if not images.is_dir():
            write_shapes(images)
        splits = images
    find_dataset(benchmark)
    if images is None or splits is None:
        drawn = "; shapes is drawn where both are left out" if benchmark == SHAPES else ""
        raise ValueError(
            f"--benchmark {benchmark} needs --images DIR (raw photos) and --splits DIR (att_splits.mat){drawn}"
        )
    raw = read_benchmark(benchmark, images, splits, allow_missing=allow_missing)
    raw = replace(raw, name=name)
    check_class_lists(raw.splits, raw.split_folder)
    _copy_split_files(raw.split_folder, splits_folder(data, name))
    if attribute_names := find_names(images, raw.split_file.attributes.shape[1]):
        write_names(splits_folder(data, name), attribute_names)
    index = write_shards(
        raw.instances,
        raw.images,
        shards_folder(data, name),
        benchmark=name,
        total=raw.split_file.count,
        source={
            "verdict": raw.verdict,
            "split_hashes": list(raw.split_file.hashes),
            "missing": raw.missing,
            "classes_left": len(raw.splits.seen) + len(raw.splits.unseen),
        }
        | ({"shared_photos": shared} if (shared := raw.shared_photos) else {}),
        progress=lambda groups: progress_bar(groups, what="shards", unit=" shards"),
    )
    return index, raw


def _copy_split_files(source: Path, target: Path) -> None:
    """Later stages read the splits from here, byte for byte as given, so that their hashes still tell what they are."""
    target.mkdir(parents=True, exist_ok=True)
    for path in [*source.glob("att_splits.mat"), *source.glob("*classes*.txt")]:
        if path.resolve() != (target / path.name).resolve():
            shutil.copyfile(path, target / path.name)


def open_shards(
    benchmark: str, data: Path, location: Location | None = None, *, allow_pipe: bool = False
) -> ShardIndex:
    """The index of the benchmark's shards, below `data` or at `location`; those of `shapes` are made where absent.

    Raises:
        ValueError: there is no such benchmark, or the shards at `location` are of another one.
    """
    if location is not None:
        index = open_index(location, allow_pipe=allow_pipe)
        if index.benchmark != benchmark_name(benchmark):
            raise ValueError(f"the shards at {location} are of {index.benchmark}, asked for is --benchmark {benchmark}")
        return index
    check_known(benchmark, data)
    folder = shards_folder(data, benchmark)
    if benchmark == SHAPES and not (folder / "index.json").is_file():
        make_shards(SHAPES, data)
    return read_index(folder)
