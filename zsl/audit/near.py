"""Photos in two splits that look the same: perceptual hash and thumbnail find them, a picture shows them.

Two photos look the same if their hashes (64 bits, `imagehash.phash`) differ in at most MAX_DISTANCE bits and their grey
thumbnails correlate by at least MIN_CORRELATION.

The hash alone is not enough.  Among 2,889 CUB photos, 233 pairs across splits are within 12 bits; none of the nine most
alike is one picture.  MIN_CORRELATION was chosen on these photos.  Across splits the highest correlation is 0.868, of
two different birds.  Inside one split three pairs are one scene (0.914 to 1.000); a fourth, a burst of one scene at
0.865, is missed.

Copies that the two tests together find: all that were encoded again at quality 50 and 0.5 to 0.9 times the size; all
that are 1.2 times as bright; 99 % with 2 % cut off each side; 28 % with 5 % cut off.  They find no mirrored copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import backbones
from shards import ShardIndex, shard_samples
from zsl.audit.findings import Finding, ok, warn
from zsl.audit.photos import Photo
from zsl.common.files import atomic_path

MAX_DISTANCE = 12  # bits of 64
MIN_CORRELATION = 0.9
SHOWN_PAIRS = 40  # in the picture
LISTED_PAIRS = 1000  # in audit.json
CHUNK = 512  # photos compared with all others at a time: 75 MB of distances for AWA2


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two photos that look the same."""

    first: int  # position in the list of photos
    second: int
    distance: int  # bits
    correlation: float


@dataclass(frozen=True, kw_only=True)
class PairFacts:
    """What the report of an audit says about a pair; its lists have one entry for each of the two photos."""

    rows: list[int]
    parts: list[str]
    files: list[str]
    distance: int  # bits
    correlation: float


def find_pairs(photos: Sequence[Photo]) -> list[Pair]:
    """All pairs of photos of different bytes that look the same, the most alike first."""
    hashed = [index for index, photo in enumerate(photos) if photo.bits is not None]
    if not hashed:
        return []
    bits = np.array([photos[i].bits for i in hashed], dtype=np.float32) * 2 - 1  # [n, 64]: x·y = 64 - 2 * distance
    small = np.array([photos[i].thumbnail for i in hashed], dtype=np.uint8)
    pairs = []
    for start in range(0, len(hashed), CHUNK):
        distance = (bits.shape[1] - bits[start : start + CHUNK] @ bits[start:].T) / 2
        for i, j in np.argwhere(np.triu(distance <= MAX_DISTANCE, k=1)).tolist():
            one, other = hashed[start + i], hashed[start + j]
            if photos[one].sha256 == photos[other].sha256:
                continue
            alike = _correlation(small[start + i], small[start + j])
            if alike >= MIN_CORRELATION:
                pairs.append(Pair(first=one, second=other, distance=int(distance[i, j]), correlation=alike))
    return sorted(pairs, key=lambda pair: -pair.correlation)


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation of two thumbnails; 0 where one of them has a single tone."""
    a, b = first - first.mean(), second - second.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm else 0.0


def check_near_duplicates(
    photos: Sequence[Photo], part: dict[int, str], folder: Path, index: ShardIndex, picture: Path
) -> Finding:
    """Whether no two photos that look the same lie in two splits; `picture` shows such pairs side by side.

    part: of each row (`part_of_rows`).
    """
    pairs = [p for p in find_pairs(photos) if {photos[p.first].row, photos[p.second].row} <= set(part)]
    across = [p for p in pairs if part[photos[p.first].row] != part[photos[p.second].row]]
    inside = f"{len(pairs) - len(across)} pairs inside one split"
    if not across:
        picture.unlink(missing_ok=True)
        return ok("near duplicates", f"no two photos that look the same in two splits ({inside})")
    draw_pairs(across[:SHOWN_PAIRS], photos, part, folder, index, picture)
    return warn(
        "near duplicates",
        f"{len(across)} pairs of photos that look the same are in two splits ({inside}); look at {picture}",
        picture=str(picture),
        pairs=[asdict(_describe(pair, photos, part)) for pair in across[:LISTED_PAIRS]],
    )


def _describe(pair: Pair, photos: Sequence[Photo], part: dict[int, str]) -> PairFacts:
    both = [photos[pair.first], photos[pair.second]]
    return PairFacts(
        rows=[photo.row for photo in both],
        parts=[part[photo.row] for photo in both],
        files=[photo.file for photo in both],
        distance=pair.distance,
        correlation=round(pair.correlation, 4),
    )


def draw_pairs(
    pairs: Sequence[Pair],
    photos: Sequence[Photo],
    part: dict[int, str],
    folder: Path,
    index: ShardIndex,
    picture: Path,
    side: int = 200,
) -> None:
    """Write a contact sheet with two pairs a line; below each pair stand its rows, splits and likeness.

    side: of one photo, in pixels.
    """
    images = _images(folder, index, {photos[i].row for pair in pairs for i in (pair.first, pair.second)})
    caption, gap, columns = 46, 12, 2
    lines = -(-len(pairs) // columns)
    sheet = Image.new("RGB", (columns * (2 * side + gap), lines * (side + caption)), "white")
    pen = ImageDraw.Draw(sheet)
    for number, pair in enumerate(pairs):
        left, top = (number % columns) * (2 * side + gap), (number // columns) * (side + caption)
        for position, i in enumerate((pair.first, pair.second)):
            small = Image.fromarray(backbones.decode_image(images[photos[i].row]).permute(1, 2, 0).numpy())
            small.thumbnail((side - 4, side - 4))
            sheet.paste(small, (left + position * side, top))
            pen.text((left + position * side, top + side), f"{photos[i].row} {part[photos[i].row]}", fill="black")
            pen.text((left + position * side, top + side + 14), Path(photos[i].file).name[:30], fill="grey")
        pen.text((left, top + side + 28), f"{pair.distance} bits, correlation {pair.correlation:.3f}", fill="black")
    with atomic_path(picture) as temporary:
        sheet.save(temporary, format="JPEG", quality=85)


def _images(folder: Path, index: ShardIndex, rows: Iterable[int]) -> dict[int, bytes]:
    """The bytes of some rows, from the shards that hold them."""
    wanted = set(rows)
    return {
        sample.row: sample.image
        for shard in index.shards
        if any(shard.first_row <= row <= shard.last_row for row in wanted)
        for sample in shard_samples(folder, shard)
        if sample.row in wanted
    }
