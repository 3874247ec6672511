"""Where things lie below `--data`: one function a question, so that no script spells a path."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backbones import find_preset
from shards import Location, ShardIndex, open_index, read_index, write_shards
from zsl.benchmarks import READERS, Benchmark, find_reader, own, read_benchmark
from zsl.benchmarks.attribute_names import find_names, read_names, write_names
from zsl.benchmarks.shapes import write_shapes
from zsl.features import FeatureTable, TestSplit, TrainSplit, split_features
from zsl.pretraining import check_tuned_fold, check_tuned_rows, judge_pretraining
from zsl.progress import progress_bar
from zsl.splits import (
    FOLDS,
    PARTS,
    AttributeKind,
    Splits,
    attributes_hash,
    calibration_folds,
    check_class_lists,
    make_splits,
    read_split_file,
    rows_hash,
    validation_fold,
)

SHAPES = "shapes"
FEATURE_FACTS = ("shards_sha256", "weights_sha256", "precision", "dim", "count", "transform", "encode")


def benchmark_name(benchmark: str) -> str:
    """What `--benchmark` is called below `--data`: a known name as it is, a folder of one's own by its last part.

    Raises:
        ValueError: a folder of one's own has a known benchmark's name.
    """
    if benchmark in READERS or not own.is_own(benchmark):
        return benchmark
    name = own.folder_name(benchmark)
    if name in READERS:
        raise ValueError(f"the folder {benchmark} has the name of a known benchmark; rename it, {name} is another one")
    return name


def check_known(benchmark: str, data: Path) -> None:
    """That `benchmark` has a reader, is a folder of one's own, or was packed below `data` before.

    Raises:
        ValueError: it is none of that, which a typing error most often is.
    """
    if benchmark not in READERS and not own.is_own(benchmark) and not (data / benchmark).is_dir():
        close = get_close_matches(benchmark.lower(), READERS, n=1)
        raise ValueError(
            f"no benchmark {benchmark!r}{f'; did you mean {close[0]!r}?' if close else ''}; there are "
            f"{', '.join(sorted(READERS))}, and a folder of your own by its path"
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


def make_shards(
    benchmark: str, data: Path, *, images: Path | None = None, splits: Path | None = None, allow_missing: bool = False
) -> tuple[ShardIndex, Benchmark]:
    """Shards of `benchmark` below `data`, from its raw folder and split files; `shapes` is drawn where absent.

    A `benchmark` that is a path is a folder of one's own (`zsl.benchmarks.own`), which brings photos and splits.

    Raises:
        ValueError: `images` and `splits` were not both given for a benchmark that cannot be drawn, or were given for
            one of one's own; or class lists and splits contradict each other.
    """
    name = benchmark_name(benchmark)
    if benchmark not in READERS and own.is_own(benchmark):
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
    find_reader(benchmark)
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


def find_features(data: Path, benchmark: str, backbone: str) -> Path:
    """The folder of `backbone`'s feature table: preset, timm model, or full name with weights tag.

    Raises:
        FileNotFoundError: it is not there; the message names the tables that are.
        ValueError: there is no such benchmark.
    """
    check_known(benchmark, data)
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
    benchmark: str,
    data: Path,
    table: FeatureTable,
    folder: Path | None = None,
    *,
    fold: int | None = None,
    attributes: AttributeKind = "att",
    normalise: bool = False,
) -> Splits:
    """The splits that belong to `table`, from `folder` or from the copy that `make_shards` left.

    With `fold`, those of that validation fold, in which no test row occurs; features of a backbone that was fine-tuned
    on its validation classes are refused.  `attributes` and `normalise` say which class attributes are wanted
    (`read_split_file`).

    Raises:
        ValueError: the table is of another benchmark, or was made with other splits, or by a backbone that was
            fine-tuned with other splits; or class lists and splits contradict each other.
    """
    if table.manifest["benchmark"] != benchmark_name(benchmark):
        raise ValueError(f"the features are of {table.manifest['benchmark']}, asked for is --benchmark {benchmark}")
    folder = folder or splits_folder(data, benchmark)
    split_file = read_split_file(folder, attributes=attributes, normalise=normalise)
    made_with = table.manifest["source"]["split_hashes"]
    if made_with != list(split_file.hashes):
        raise ValueError(
            f"the features were made with splits {'/'.join(made_with)}, these are {'/'.join(split_file.hashes)}; "
            "make shards and features anew, or give the right --splits"
        )
    splits = make_splits(split_file, table.rows, table.labels)
    splits = replace(splits, attribute_names=read_names(folder, splits.attributes.shape[1]))
    check_class_lists(splits, folder)
    tuned, name = table.manifest.get("finetuned") or {}, benchmark_name(benchmark)
    check_tuned_rows(tuned, name, split_file.hashes, rows_hash(splits.trainval_loc))
    if fold is None:
        return splits
    of_fold = validation_fold(splits, folder, fold, table.rows, table.labels)
    check_tuned_fold(tuned, name, fold, _names(of_fold, of_fold.unseen))
    return of_fold


def _names(splits: Splits, classes: np.ndarray) -> list[str]:
    return [splits.class_names[class_id] for class_id in classes.tolist()]


def load_folds(
    benchmark: str, data: Path, table: FeatureTable, device: torch.device, numbers: Sequence[int] = FOLDS
) -> dict[int, tuple[TrainSplit, TestSplit]]:
    """The validation folds of these numbers, in whose test parts no test row occurs, on `device`."""
    if not numbers:
        raise ValueError("--folds without any: name at least one")
    folds = {number: load_splits(benchmark, data, table, fold=number) for number in numbers}
    return {number: split_features(table, splits, device) for number, splits in folds.items()}


def load_calibration(
    benchmark: str, data: Path, table: FeatureTable, device: torch.device
) -> dict[int, tuple[TrainSplit, TestSplit]]:
    """`splits.calibration_folds`, on `device`; none where the backbone was fine-tuned, lest it knows their classes."""
    if table.manifest.get("finetuned"):
        return {}
    folds = calibration_folds(load_splits(benchmark, data, table), table.rows, table.labels)
    return {number: split_features(table, splits, device) for number, splits in folds.items()}


def describe_data(table: FeatureTable, splits: Splits) -> dict[str, Any]:
    """What a result says about the data behind it; the first two keys are part of the contract of `results.json`."""
    manifest = table.manifest
    lost = manifest.get("quarantined", 0)
    return {
        "benchmark": manifest["benchmark"],
        "backbone": manifest["backbone"],
        "pretraining": manifest["pretraining"],
        "unseen_classes": judge_pretraining(
            manifest["pretraining"], _names(splits, splits.unseen), manifest.get("finetuned")
        ),
        "data": manifest["source"]["verdict"] + (f"; {lost} photos QUARANTINED" if lost else ""),
        "missing_photos": manifest["source"]["missing"],
        "quarantined_photos": lost,
        "splits": splits.verdict,
        "attributes": splits.attribute_kind,
        "attributes_hash": attributes_hash(splits.attributes),
        "rows": {part: len(getattr(splits, part)) for part in PARTS},
        "classes": {"seen": len(splits.seen), "unseen": len(splits.unseen)},
        "features": describe_features(manifest)["features"],
    }


def describe_features(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What tells a feature table from any other: benchmark, backbone, and the facts of `manifest` behind its values."""
    facts = {key: manifest.get(key) for key in FEATURE_FACTS}
    facts["imported_sha256"] = (manifest.get("imported") or {}).get("sha256")
    return {"benchmark": manifest["benchmark"], "backbone": manifest["backbone"], "features": facts}


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
