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

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import backbones
from shards import ShardIndex, shard_samples
from zsl.audit.findings import Finding, ok, warn
from zsl.audit.hamming import close_pairs
from zsl.audit.photos import THUMBNAIL, Photo
from zsl.common.files import atomic_path
from zsl.datasets.split_file import PARTS

MAX_DISTANCE = 12  # bits of 64
MIN_CORRELATION = 0.9
SHOWN_PAIRS = 40  # in the picture
LISTED_PAIRS = 1000  # in audit.json
CHUNK = 2**13  # pairs whose thumbnails are compared at a time: 16 MB
KEPT = 2**22  # found pairs that are kept before those found twice are struck out
PIXELS = THUMBNAIL**2


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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Looks:
    """What is compared of the photos that can look like another one: all that can be decoded and are not of one tone.

    The correlation of thumbnails a and b of m pixels is (m Σab - Σa Σb) / (spread of a x spread of b), with a spread
    √(m Σa² - (Σa)²).  All sums are whole numbers, so they are exact.
    """

    position: np.ndarray  # [n] in the list of photos
    hashes: np.ndarray  # [n] uint64
    digests: np.ndarray  # [n, 4] uint64, the sha256 of the bytes
    small: np.ndarray  # [n, PIXELS] uint8 thumbnails
    sums: np.ndarray  # [n] int64, of a thumbnail's pixels
    spreads: np.ndarray  # [n] float64

    def distances(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The number of bits in which the hashes of pairs [k] differ."""
        return np.bitwise_count(self.hashes[first] ^ self.hashes[second])

    def correlations(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Pearson's correlations of the thumbnails of pairs [k]."""
        products = [
            np.einsum("kp,kp->k", *(self.small[some[at : at + CHUNK]].astype(np.float32) for some in (first, second)))
            for at in range(0, len(first), CHUNK)
        ]  # below 2^24, up to which float32 holds whole numbers
        inner = np.concatenate([*products, np.zeros(0)]).astype(np.int64)
        covariance = PIXELS * inner - self.sums[first] * self.sums[second]
        return np.minimum(covariance / (self.spreads[first] * self.spreads[second]), 1)

    def alike(self) -> Iterator[np.ndarray]:
        """Yield the pairs of different bytes that look the same, each as `first` * n + `second`, some of them twice."""
        for first, second in close_pairs(self.hashes, MAX_DISTANCE):
            alike = self.correlations(first, second) >= MIN_CORRELATION
            first, second = first[alike], second[alike]
            other = (self.digests[first] != self.digests[second]).any(axis=1)
            yield first[other] * len(self.hashes) + second[other]


def _looks(photos: Sequence[Photo]) -> _Looks:
    varied = [
        (position, photo, photo.thumbnail)
        for position, photo in enumerate(photos)
        if photo.thumbnail is not None and photo.thumbnail.count(photo.thumbnail[:1]) < PIXELS
    ]
    small = np.frombuffer(b"".join(thumbnail for *_, thumbnail in varied), dtype=np.uint8).reshape(-1, PIXELS)
    sums = small.sum(axis=1, dtype=np.int64)
    return _Looks(
        position=np.array([position for position, *_ in varied], dtype=np.int64),
        hashes=np.array([photo.bits for _, photo, _ in varied], dtype=np.uint64),
        digests=np.frombuffer(b"".join(photo.sha256 for _, photo, _ in varied), dtype=np.uint64).reshape(-1, 4),
        small=small,
        sums=sums,
        spreads=np.sqrt(PIXELS * np.einsum("np,np->n", small, small, dtype=np.int64) - sums**2),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Pairs of photos that look the same, the most alike first."""

    first: np.ndarray  # [k] positions in the list of photos
    second: np.ndarray
    distance: np.ndarray  # [k] bits
    correlation: np.ndarray  # [k]

    def at(self, chosen: np.ndarray) -> list[Pair]:
        """The pairs at `chosen` [n]."""
        columns = (column[chosen].tolist() for column in (self.first, self.second, self.distance, self.correlation))
        return [Pair(first=i, second=j, distance=d, correlation=c) for i, j, d, c in zip(*columns, strict=True)]


def find_pairs(photos: Sequence[Photo]) -> Pairs:
    """All pairs of photos of different bytes that look the same, the most alike first."""
    looks = _looks(photos)
    found, waiting = np.zeros(0, dtype=np.int64), [np.zeros(0, dtype=np.int64)]
    for codes in looks.alike():
        waiting.append(codes)
        if sum(map(len, waiting)) > KEPT:
            found, waiting = np.union1d(found, np.concatenate(waiting)), []
    first, second = np.divmod(np.union1d(found, np.concatenate([found, *waiting])), max(len(looks.hashes), 1))
    correlation = looks.correlations(first, second)
    order = np.argsort(-correlation, kind="stable")
    first, second = first[order], second[order]
    return Pairs(
        first=looks.position[first],
        second=looks.position[second],
        distance=looks.distances(first, second),
        correlation=correlation[order],
    )


def check_near_duplicates(
    photos: Sequence[Photo], part: dict[int, str], folder: Path, index: ShardIndex, picture: Path
) -> Finding:
    """Whether no two photos that look the same lie in two splits; `picture` shows such pairs side by side.

    part: of each row (`part_of_rows`).
    """
    photos = [photo for photo in photos if photo.row in part]
    split = np.array([PARTS.index(f"{part[photo.row]}_loc") for photo in photos], dtype=np.int8)
    pairs = find_pairs(photos)
    across = np.flatnonzero(split[pairs.first] != split[pairs.second])
    inside = f"{len(pairs.first) - len(across)} pairs inside one split"
    if not len(across):
        picture.unlink(missing_ok=True)
        return ok("near duplicates", f"no two photos that look the same in two splits ({inside})")
    listed = pairs.at(across[:LISTED_PAIRS])
    draw_pairs(listed[:SHOWN_PAIRS], photos, part, folder, index, picture)
    return warn(
        "near duplicates",
        f"{len(across)} pairs of photos that look the same are in two splits ({inside}); look at {picture}",
        picture=str(picture),
        pairs=[asdict(_describe(pair, photos, part)) for pair in listed],
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
            sheet.paste(_small(images[photos[i].row], side - 4), (left + position * side, top))
            pen.text((left + position * side, top + side), f"{photos[i].row} {part[photos[i].row]}", fill="black")
            pen.text((left + position * side, top + side + 14), Path(photos[i].file).name[:30], fill="grey")
        pen.text((left, top + side + 28), f"{pair.distance} bits, correlation {pair.correlation:.3f}", fill="black")
    with atomic_path(picture) as temporary:
        sheet.save(temporary, format="JPEG", quality=85)


def _small(image: bytes, side: int) -> Image.Image:
    """A photo of at most `side` pixels a side; a grey square for one that the hashes could read, and no one else can.

    Hashing decodes a JPEG at reduced size by Pillow, which passes over damage that the one decoder refuses.
    """
    try:
        small = Image.fromarray(backbones.decode_image(image).permute(1, 2, 0).numpy())
    except ValueError:
        return Image.new("RGB", (side, side), "lightgrey")
    small.thumbnail((side, side))
    return small


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
