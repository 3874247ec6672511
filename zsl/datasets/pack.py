"""Raw photos and split files to shards below `--data`."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from shards import Location, ShardIndex, open_index, read_index, write_shards
from shards.index import INDEX_FILE
from shards.write import SHARD_SIZE
from zsl.common.locks import FolderInUse, sole_process
from zsl.common.progress import progress_bar
from zsl.datasets import own
from zsl.datasets.attribute_names import NAMES_FILE, find_names, write_names
from zsl.datasets.benchmark import Benchmark, read_benchmark
from zsl.datasets.class_lists import check_class_lists
from zsl.datasets.class_names import update_names
from zsl.datasets.instances import check_files
from zsl.datasets.places import (
    SHAPES,
    benchmark_name,
    check_folder,
    check_known,
    names_file,
    note_folder,
    shards_folder,
    splits_folder,
)
from zsl.datasets.registry import DATASETS, find_dataset
from zsl.datasets.shapes import write_shapes
from zsl.datasets.split_copies import copy_split_files
from zsl.datasets.splits import classes_hash

log = logging.getLogger(__name__)
WAIT_SECONDS = 0.5  # between two looks whether another process has drawn `shapes`


@dataclass(frozen=True, kw_only=True)
class _Raw:
    """Where the photos and the split files of a benchmark lie, and which dataset's reader reads them."""

    dataset: str
    images: Path
    splits: Path


def make_shards(
    benchmark: str,
    data: Path,
    *,
    images: Path | None = None,
    splits: Path | None = None,
    allow_missing: bool = False,
    shard_size: int = SHARD_SIZE,
) -> tuple[ShardIndex, Benchmark]:
    """Write shards of `benchmark` below `data`, from the photos in `images` and the split files in `splits`.

    Without both folders, the benchmark `shapes` is drawn first.  A `benchmark` that is a path is the user's own folder
    with photos and splits (`zsl.datasets.own`).

    Raises:
        ValueError: `images` and `splits` were not both given for a benchmark that cannot be drawn, or were given for
            the user's own folder; or class lists and splits contradict each other.
    """
    name = benchmark_name(benchmark)
    with _draft_folder(splits_folder(data, name)) as draft:
        raw = _find_raw(benchmark, data, images, splits, draft)
        content = replace(read_benchmark(raw.dataset, raw.images, raw.splits, allow_missing=allow_missing), name=name)
        check_class_lists(content.splits, content.split_folder)
        check_files(content.images, content.instances)
        update_names(names_file(data, name), content.split_file.class_names, find_dataset(raw.dataset).readable)
        # All is checked: from here on, an earlier packing is replaced.
        copy_split_files(content.split_folder, splits_folder(data, name))
    if own.is_own(benchmark) and benchmark not in DATASETS:
        note_folder(benchmark, data)
    if attribute_names := find_names(raw.images, content.split_file.attributes.shape[1]):
        write_names(splits_folder(data, name), attribute_names)
    else:  # names of an earlier packing may be of other attributes
        (splits_folder(data, name) / NAMES_FILE).unlink(missing_ok=True)
    index = write_shards(
        content.instances,
        content.images,
        shards_folder(data, name),
        benchmark=name,
        total=content.split_file.count,
        source=_describe_source(content),
        shard_size=shard_size,
        progress=lambda groups: progress_bar(groups, what="shards", unit=" shards"),
    )
    return index, content


@contextmanager
def _draft_folder(target: Path) -> Iterator[Path]:
    """Yield a folder beside `target` for files that are not yet checked; it is removed after the block."""
    draft = target.with_name(f".{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)  # of a killed process
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _find_raw(benchmark: str, data: Path, images: Path | None, splits: Path | None, draft: Path) -> _Raw:
    """The raw folders of `benchmark`; the user's own one is prepared in `draft`, and `shapes` is drawn."""
    if benchmark not in DATASETS and own.is_own(benchmark):
        return _prepare_own(benchmark, data, images, splits, draft)
    if benchmark == SHAPES and images is None and splits is None:
        return _draw_shapes(data)
    find_dataset(benchmark)
    if images is None or splits is None:
        drawn = "; shapes is drawn where both are left out" if benchmark == SHAPES else ""
        raise ValueError(
            f"--benchmark {benchmark} needs --images DIR (raw photos) and --splits DIR (att_splits.mat){drawn}"
        )
    return _Raw(dataset=benchmark, images=images, splits=splits)


def _prepare_own(benchmark: str, data: Path, images: Path | None, splits: Path | None, draft: Path) -> _Raw:
    if images is not None or splits is not None:
        raise ValueError(f"--benchmark {benchmark} is a folder with photos and splits; leave --images and --splits out")
    folder = Path(benchmark)
    check_folder(benchmark, data)
    own.prepare(folder, draft)
    return _Raw(dataset=SHAPES, images=folder, splits=draft)  # photos in class folders, too


def _draw_shapes(data: Path) -> _Raw:
    folder = data / SHAPES / "raw"
    if not folder.is_dir():
        write_shapes(folder)
    return _Raw(dataset=SHAPES, images=folder, splits=folder)


def _describe_source(content: Benchmark) -> dict[str, object]:
    """What the shards' index says about photos and splits; feature tables copy it (`zsl.features.manifest.Source`)."""
    source: dict[str, object] = {
        "verdict": content.verdict,
        "split_hashes": list(content.split_file.hashes),
        "classes_hash": classes_hash(content.split_file.class_names),
        "missing": content.missing,
        "classes_left": len(content.splits.seen) + len(content.splits.unseen),
    }
    return source | ({"shared_photos": shared} if (shared := content.shared_photos) else {})


def open_shards(
    benchmark: str, data: Path, location: Location | None = None, *, allow_pipe: bool = False
) -> ShardIndex:
    """The index of the benchmark's shards, below `data` or at `location`.  Nothing is written.

    Raises:
        FileNotFoundError: there are no shards.
        ValueError: there is no such benchmark, or the shards at `location` are of another one.
    """
    if location is None:
        check_known(benchmark, data)
        return read_index(shards_folder(data, benchmark))
    index = open_index(location, allow_pipe=allow_pipe)
    if index.benchmark != benchmark_name(benchmark):
        raise ValueError(f"the shards at {location} are of {index.benchmark}, asked for is --benchmark {benchmark}")
    return index


def draw_absent_shapes(data: Path) -> None:
    """Draw the benchmark `shapes` and write its shards below `data`, unless `data` has them.

    If another process draws them there, this one waits for it.
    """
    folder, waits = shards_folder(data, SHAPES), False
    while not (folder / INDEX_FILE).is_file():
        try:
            with sole_process(folder.parent):
                if not (folder / INDEX_FILE).is_file():
                    make_shards(SHAPES, data)
        except FolderInUse:
            if not waits:
                log.warning("another process draws %s; this one waits for it", folder)
            waits = True
            time.sleep(WAIT_SECONDS)


def open_or_draw_shards(
    benchmark: str, data: Path, location: Location | None = None, *, allow_pipe: bool = False
) -> ShardIndex:
    """As `open_shards`, after `draw_absent_shapes` where the shards are those of `shapes` below `data`."""
    if benchmark == SHAPES and location is None:
        draw_absent_shapes(data)
    return open_shards(benchmark, data, location, allow_pipe=allow_pipe)
