"""Where things lie below `--data`: one function a question, so that no script spells a path."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from backbones import find_preset
from shards import ShardIndex, read_index, write_shards
from zsl.benchmarks import Benchmark, find_reader, read_benchmark
from zsl.benchmarks.shapes import write_shapes
from zsl.features import FeatureTable
from zsl.progress import progress_bar
from zsl.splits import PARTS, Splits, make_splits, read_split_file, validation_fold

SHAPES = "shapes"


def shards_folder(data: Path, benchmark: str) -> Path:
    """`data/<benchmark>/shards`."""
    return data / benchmark / "shards"


def splits_folder(data: Path, benchmark: str) -> Path:
    """`data/<benchmark>/splits`: a copy of the split files that the shards were made with."""
    return data / benchmark / "splits"


def features_folder(data: Path, benchmark: str, backbone: str) -> Path:
    """`data/<benchmark>/features/<backbone.weights-tag>`."""
    return data / benchmark / "features" / backbone


def make_shards(
    benchmark: str, data: Path, *, images: Path | None = None, splits: Path | None = None, allow_missing: bool = False
) -> tuple[ShardIndex, Benchmark]:
    """Shards of `benchmark` below `data`, from its raw folder and split files; `shapes` is drawn where absent.

    Raises:
        ValueError: `images` and `splits` were not both given for a benchmark that cannot be drawn.
    """
    if benchmark == SHAPES and images is None:
        images = data / SHAPES / "raw"
        if not images.is_dir():
            write_shapes(images)
        splits = images
    find_reader(benchmark)
    if images is None or splits is None:
        raise ValueError(f"--benchmark {benchmark} needs --images DIR (raw photos) and --splits DIR (att_splits.mat)")
    raw = read_benchmark(benchmark, images, splits, allow_missing=allow_missing)
    _copy_split_files(raw.split_folder, splits_folder(data, benchmark))
    index = write_shards(
        raw.instances,
        raw.images,
        shards_folder(data, benchmark),
        benchmark=benchmark,
        total=raw.split_file.count,
        source={
            "verdict": raw.verdict,
            "split_hashes": list(raw.split_file.hashes),
            "missing": raw.missing,
            "classes_left": len(raw.splits.seen) + len(raw.splits.unseen),
        },
        progress=lambda groups: progress_bar(groups, what="shards", unit=" shards"),
    )
    return index, raw


def find_features(data: Path, benchmark: str, backbone: str) -> Path:
    """The folder of `backbone`'s feature table: preset, timm model, or full name with weights tag.

    Raises:
        FileNotFoundError: it is not there; the message names the tables that are.
    """
    tables = sorted(path.parent for path in features_folder(data, benchmark, "x").parent.glob("*/manifest.json"))
    for table in tables:
        if table.name == backbone:
            return table
    preset = find_preset(backbone)
    folder = features_folder(data, benchmark, preset.full_name)
    if folder not in tables:
        raise FileNotFoundError(
            f"no features of {preset.full_name} for {benchmark} in {folder.parent}; there are "
            f"{', '.join(table.name for table in tables) or 'none'}.  Make them with "
            f"accelerate launch scripts/extract.py --benchmark {benchmark} --backbone {backbone}"
        )
    return folder


def load_splits(
    benchmark: str, data: Path, table: FeatureTable, folder: Path | None = None, *, fold: int | None = None
) -> Splits:
    """The splits that belong to `table`, from `folder` or from the copy that `make_shards` left.

    With `fold`, those of that validation fold, in which no test row occurs.

    Raises:
        ValueError: the table is of another benchmark, or was made with other splits.
    """
    if table.manifest["benchmark"] != benchmark:
        raise ValueError(f"the features are of {table.manifest['benchmark']}, asked for is --benchmark {benchmark}")
    folder = folder or splits_folder(data, benchmark)
    split_file = read_split_file(folder)
    made_with = table.manifest["source"]["split_hashes"]
    if made_with != list(split_file.hashes):
        raise ValueError(
            f"the features were made with splits {'/'.join(made_with)}, these are {'/'.join(split_file.hashes)}; "
            "make shards and features anew, or give the right --splits"
        )
    splits = make_splits(split_file, table.rows, table.labels)
    return splits if fold is None else validation_fold(splits, folder, fold, table.rows, table.labels)


def describe_data(table: FeatureTable, splits: Splits) -> dict[str, Any]:
    """What a result says about the data behind it; the first two keys are part of the contract of `results.json`."""
    manifest = table.manifest
    return {
        "benchmark": manifest["benchmark"],
        "backbone": manifest["backbone"],
        "pretraining": manifest["pretraining"],
        "data": manifest["source"]["verdict"],
        "missing_photos": manifest["source"]["missing"],
        "splits": splits.verdict,
        "rows": {part: len(getattr(splits, part)) for part in PARTS},
        "classes": {"seen": len(splits.seen), "unseen": len(splits.unseen)},
        "features": {key: manifest[key] for key in ("shards_sha256", "weights_sha256", "precision", "dim", "count")},
    }


def _copy_split_files(source: Path, target: Path) -> None:
    """Later stages read the splits from here, byte for byte as given, so that their hashes still tell what they are."""
    target.mkdir(parents=True, exist_ok=True)
    for path in [*source.glob("att_splits.mat"), *source.glob("*classes*.txt")]:
        if path.resolve() != (target / path.name).resolve():
            shutil.copyfile(path, target / path.name)


def open_shards(benchmark: str, data: Path) -> ShardIndex:
    """The index of the benchmark's shards; the shards of `shapes` are made where they are absent."""
    folder = shards_folder(data, benchmark)
    if benchmark == SHAPES and not (folder / "index.json").is_file():
        make_shards(SHAPES, data)
    return read_index(folder)
