"""Photos that are in two splits: the same file, the same bytes, or boxes of one JPEG."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
from PIL import Image

import backbones
from backbones import PhotoLimits
from backbones.orientation import UPRIGHT, turn
from backbones.photo_format import HEAD_BYTES, photo_format
from backbones.photo_header import open_photo, read_header
from shards import Sample, ShardIndex, shard_samples
from zsl.audit.findings import Finding, fail, ok, warn
from zsl.common.compute import available_cores
from zsl.common.progress import progress_bar
from zsl.datasets.split_file import PARTS
from zsl.datasets.splits import Splits

THUMBNAIL = 16  # pixels a side
DECODED = 64  # pixels a side at least; the perceptual hash uses 32 x 32
BATCH = 64  # photos that are in memory at a time


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Photo:
    """The facts of a sample that checks need: some 600 bytes."""

    row: int
    label: int
    file: str
    box: tuple[int, int, int, int] | None
    sha256: bytes  # 32
    bits: int | None  # perceptual hash, 64 bits as one number; None: the photo cannot be decoded
    thumbnail: bytes | None  # THUMBNAIL² grey values


def read_photos(folder: Path, index: ShardIndex) -> list[Photo]:
    """Hash every sample of the shards in `folder`, on all cores; one core hashes about 400 a second.

    Raises:
        FileNotFoundError, ValueError: a shard is absent or is not the one that the index describes.
    """
    photos: list[Photo] = []
    cores = available_cores()
    bar = progress_bar(total=index.count, what="hash photos", unit=" photos")
    with bar, ThreadPoolExecutor(cores) as pool:  # Pillow decodes without Python's lock
        for shard in index.shards:
            samples = shard_samples(folder, shard)
            while batch := list(islice(samples, BATCH)):
                size = -(-len(batch) // cores)  # a few calls: small photos take no longer than a call
                slices = [batch[start : start + size] for start in range(0, len(batch), size)]
                for some in pool.map(lambda some: [_photo(sample) for sample in some], slices):
                    photos += some
                bar.update(len(batch))
    return photos


def _photo(sample: Sample) -> Photo:
    try:
        grey: Image.Image | None = _small_grey(sample.image)
    # Pillow raises one of these where bytes are no photo.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        grey = None
    small = grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS) if grey else None
    return Photo(
        row=sample.row,
        label=sample.label,
        file=sample.file,
        box=sample.box,
        sha256=hashlib.sha256(sample.image).digest(),
        bits=int.from_bytes(np.packbits(imagehash.phash(grey).hash).tobytes(), "big") if grey else None,
        thumbnail=small.tobytes() if small else None,
    )


def _small_grey(image: bytes) -> Image.Image:
    """The photo in grey, upright and at reduced size: a JPEG is decoded at an eighth, which is most of the speed.

    Other formats go through the one decoder, which knows of 16 bits, transparency and broken chunks of text.

    Raises:
        ValueError, OSError, SyntaxError: as `read_header`, or the photo cannot be decoded.
    """
    if photo_format(image[:HEAD_BYTES]) != "JPEG":
        return Image.fromarray(backbones.decode_image(image).permute(1, 2, 0).numpy()).convert("L")
    header = read_header(image, PhotoLimits())
    with open_photo(image, "JPEG") as opened:
        opened.draft("L", (DECODED, DECODED))
        grey = opened.convert("L")
    return grey if header.orientation == UPRIGHT else Image.fromarray(turn(np.asarray(grey), header.orientation))


def part_of_rows(splits: Splits) -> dict[int, str]:
    """The part of each row: `trainval`, `test_seen` or `test_unseen`."""
    return {row: part.removesuffix("_loc") for part in PARTS for row in getattr(splits, part).tolist()}


def check_rows(photos: Sequence[Photo], left_out: Collection[int] = ()) -> list[Finding]:
    """Whether each row occurs once and each photo can be decoded; one of the rows `left_out` of all features need not.

    A photo that cannot be decoded is compared with others by its name and bytes alone.
    """
    rows = [photo.row for photo in photos]
    if len(set(rows)) < len(rows):
        return [fail("shards", f"{len(rows) - len(set(rows))} rows occur more than once in the shards")]
    broken = [photo for photo in photos if photo.bits is None]
    if not broken:
        return [ok("shards", f"{len(photos):,} photos, each row once, every shard has the index's sha256")]
    message = f"{len(broken)} photos cannot be decoded, the first is {broken[0].file}"
    files = [photo.file for photo in broken[:20]]
    if all(photo.row in left_out for photo in broken):
        return [warn("shards", f"{message}; the features leave them out", files=files)]
    return [fail("shards", message, files=files)]


def check_same_photos(photos: Sequence[Photo], part: dict[int, str]) -> list[Finding]:
    """Whether no file name and no bytes occur in two splits.

    Boxes of one JPEG may lie in two splits; a warning gives their numbers.  part: of each row (`part_of_rows`).
    """
    by_file = _across(photos, part, lambda photo: (photo.file, photo.box))
    by_bytes = _across(photos, part, lambda photo: (photo.sha256, photo.box))
    findings = [
        _same("same file", "file names", by_file, part),
        _same("same bytes", "photos (sha256)", by_bytes, part),
    ]
    shared = [group for group in _across(photos, part, lambda photo: photo.sha256) if any(photo.box for photo in group)]
    if shared:
        findings.append(_shared_jpegs(shared, photos, part))
    return findings


def _across(photos: Sequence[Photo], part: dict[int, str], key: Callable[[Photo], Hashable]) -> list[list[Photo]]:
    """Groups of photos that have an equal key and lie in two or more parts."""
    counts = Counter(key(photo) for photo in photos if photo.row in part)
    repeated = {each for each, count in counts.items() if count > 1}
    groups: dict[Hashable, list[Photo]] = defaultdict(list)
    for photo in photos if repeated else ():  # most have a key of their own: no list for each
        if photo.row in part and (each := key(photo)) in repeated:
            groups[each].append(photo)
    return [group for group in groups.values() if len({part[photo.row] for photo in group}) > 1]


def _same(check: str, what: str, groups: list[list[Photo]], part: dict[int, str]) -> Finding:
    if not groups:
        return ok(check, f"no {what} in two splits")
    first = groups[0]
    where = " and ".join(f"row {photo.row} ({part[photo.row]}, {photo.file})" for photo in first[:3])
    return fail(
        check,
        f"{len(groups)} {what} in two splits, the first: {where}",
        groups=[[[photo.row, part[photo.row], photo.file] for photo in group] for group in groups[:50]],
    )


def _shared_jpegs(shared: list[list[Photo]], photos: Sequence[Photo], part: dict[int, str]) -> Finding:
    numbers = {}
    for test in ("test_seen", "test_unseen"):
        beside = [p for group in shared if any(part[q.row] == "trainval" for q in group) for p in group]
        numbers[test] = (
            sum(part[photo.row] == test for photo in beside),
            sum(part.get(photo.row) == test for photo in photos),
        )
    shares = ", ".join(f"{some:,} of {all_:,} {test} rows" for test, (some, all_) in numbers.items())
    details: dict[str, Any] = {"jpegs": len(shared)} | {test: list(pair) for test, pair in numbers.items()}
    return warn(
        "shared JPEGs",
        f"rows are boxes, and {len(shared):,} of {len({photo.sha256 for photo in photos}):,} JPEGs have boxes in two "
        f"or more splits: {shares} lie in a JPEG that also holds a trainval row. The official splits are made so; crop "
        "to the box, and say so beside results",
        **details,
    )
